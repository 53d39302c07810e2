"""Classes of replies, by properties of the text and by measurements that are made elsewhere.

Every reply has one class. If several fit, the first of :data:`CLASSES` counts: a text that repeats itself is not a
refusal, whatever it repeats, and a refusal that reached the limit of new tokens is a refusal.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

CLASSES = ("empty", "repetition", "other language", "refusal", "incoherent", "cut off", "answer")
"""In order of precedence: no text; fewer than half of the pairs of neighbouring words are distinct; in another script
than the prompt and the usual answer; declines or evades (:mod:`zkit.refusals`); too unlikely under the un-steered model
(:func:`zkit.steering.judge_texts`); an answer that reached the limit of new tokens; an answer that ended by itself."""

ANSWERS = ("cut off", "answer")
"""The classes whose words, changes and topics are counted. The length of a text that was cut off is a lower bound."""

BROKEN = ("empty", "repetition", "incoherent")
"""The classes of texts that count as broken."""

LONG = 20  # characters: a longer "word" is treated as a script without spaces
SHARE = 0.1  # of a text's words: a script with a smaller share is taken for a quotation


def reply(
    text: str,
    *,
    truncated: bool = False,
    refusal: bool = False,
    incoherent: bool = False,
    expected: Sequence[str] = (),
) -> str:
    """The class of a reply: one of :data:`CLASSES`.

    truncated: whether it reached the limit of new tokens. refusal, incoherent: whether a model's likelihoods class it
    so. expected: texts in the languages that a reply may have, such as the prompt and the usual answer (none: any
    language). Languages are told apart by script alone, so French in place of English is not detected.
    """
    if not text.strip():
        return "empty"
    if repeats(text):
        return "repetition"
    if foreign(text, expected):
        return "other language"
    if refusal:
        return "refusal"
    if incoherent:
        return "incoherent"
    return "cut off" if truncated else "answer"


def units(text: str) -> list[str]:
    """The words of a text in lower case; in scripts without spaces, and in words above LONG, each character is one."""
    found: list[str] = []
    for word in text.lower().split():
        whole = len(word) <= LONG and all(_script(character) not in _UNSPACED for character in word)
        found += [word] if whole else list(word)
    return found


def distinct(text: str, n: int = 2) -> float:
    """Share of distinct ones among the runs of ``n`` words (distinct-n, Li et al. 2016); 1 if there are no runs.

    Words are :func:`units`.
    """
    found = units(text)
    runs = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def repeats(text: str) -> bool:
    """Whether a text repeats itself: fewer than half of its pairs of neighbouring words are distinct."""
    return distinct(text) < 0.5


def foreign(text: str, expected: Sequence[str]) -> bool:
    """Whether more than half of the words of a text are in scripts that none of the expected texts uses.

    A text uses a script if at least a tenth (SHARE) of its words are in it. False if the text or the expected texts
    have no letters.
    """
    counts = [scripts(other) for other in expected]
    home = {script for count in counts for script, n in count.items() if n >= SHARE * count.total()}
    found = scripts(text)
    return bool(home) and sum(n for script, n in found.items() if script not in home) > found.total() / 2


def scripts(text: str) -> Counter[str]:
    """Number of words of a text in each Unicode script, such as ``LATIN`` or ``CJK``, by their first letter."""
    letters = (next(filter(str.isalpha, word), None) for word in units(text))
    return Counter(_script(letter) for letter in letters if letter)


_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"}


def _script(character: str) -> str:
    """The script of a letter, the first word of its Unicode name; empty for other characters."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0] if character.isalpha() else ""
