"""What a text is like, each quality by itself: length, repetition, and whether it is still about its topic."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

from zkit.errors import ZkitError
from zkit.generation import log_probs
from zkit.models import Model
from zkit.prompts import Prompt

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKDOWN = re.compile(r"^\s*(?:#{1,6} |[-*+] |\d+\. |> |```)|\*\*[^*]+\*\*|`[^`]+`", re.MULTILINE)


def words(text: str) -> int:
    """Number of words: what white space separates."""
    return len(text.split())


def sentences(text: str) -> int:
    """Number of sentence ends: ``.``, ``!`` or ``?``."""
    return len(re.findall(r"[.!?]", text))


def markdown(text: str) -> int:
    """Number of Markdown marks: headings, list items, quotes, fences, bold and code."""
    return len(_MARKDOWN.findall(text))


def longest_repeat(text: str) -> int:
    """Words in the longest run of words that occurs again later in the text, overlaps included."""
    found = text.lower().split()
    best, above = 0, [0] * (len(found) + 1)
    for i in range(1, len(found) + 1):
        row = [0] * (len(found) + 1)
        for j in range(i + 1, len(found) + 1):
            if found[i - 1] == found[j - 1]:
                row[j] = above[j - 1] + 1
        best, above = max(best, max(row)), row
    return best


def topic_cosines(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Cosine of each text with the reference at its place: tf-idf over words, the idf from the references.

    A word that half of the references hold says little about a topic; one that is in no reference counts as in one.
    0 for a text without words. Raises ZkitError for lists of different lengths and fewer than two references.
    """
    if len(texts) != len(references) or len(references) < 2:
        raise ZkitError(f"{len(texts)} texts but {len(references)} references; give one for each, at least two")
    bags = [Counter(_WORD.findall(text.lower())) for text in references]
    held = Counter(word for bag in bags for word in bag)

    def weights(bag: Counter[str]) -> dict[str, float]:
        return {word: count * math.log((1 + len(bags)) / max(held[word], 1)) for word, count in bag.items()}

    return [_cosine(weights(Counter(_WORD.findall(t.lower()))), weights(b)) for t, b in zip(texts, bags, strict=True)]


def surprise(model: Model, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float | None]:
    """Mean negative log-probability (nats per token) of each text after its prompt; None for an empty text.

    The perplexity is its exponential. Outside any block that steers, this is how unlikely the un-steered model finds
    what was written. Raises ZkitError as :func:`zkit.generation.log_probs` does.
    """
    kept = [i for i, text in enumerate(texts) if text]
    found: list[float | None] = [None] * len(texts)
    if kept:
        for i, row in zip(kept, log_probs(model, [prompts[i] for i in kept], [texts[i] for i in kept]), strict=True):
            found[i] = -float(row.mean())
    return found


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    dot = sum(weight * other.get(word, 0.0) for word, weight in one.items())
    size = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
    return dot / size if size else 0.0
