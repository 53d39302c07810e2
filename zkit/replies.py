"""What kind of reply a text is, by properties of the text and by what was measured of it elsewhere.

Every reply has one class. Where several would fit, the first of :data:`CLASSES` counts: a text that repeats itself is
no refusal whatever it repeats, and a refusal that ran into the limit is a refusal.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

CLASSES = ("empty", "repetition", "other language", "refusal", "incoherent", "cut off", "answer")
"""From the first that counts to the last: no text; fewer than half of its pairs of words are different ones; in another
script than the prompt and the usual answer; declines or evades (:mod:`zkit.refusals`); too unlikely to be the model's
own (:func:`zkit.steering.judge_texts`); an answer that ran into the limit; an answer that ended by itself."""

ANSWERS = ("cut off", "answer")
"""The classes whose words, changes and topics are counted. Of a text that was cut off the words are a lower bound."""

BROKEN = ("empty", "repetition", "incoherent")
"""The classes of texts that have fallen apart."""

LONG = 20  # characters: a longer "word" is no word of a script with spaces
SHARE = 0.1  # of its words: a script that holds fewer is a quotation


def reply(
    text: str,
    *,
    truncated: bool = False,
    refusal: bool = False,
    incoherent: bool = False,
    expected: Sequence[str] = (),
) -> str:
    """The class of a reply: one of :data:`CLASSES`.

    truncated: it ran into the limit of new tokens; refusal, incoherent: what a model's likelihoods said of it;
    expected: texts in the languages that a reply may have, such as the prompt and the usual answer. Languages are told
    apart by script alone, so that French for English is not seen. Without ``expected`` any language will do.
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
    """The words of a text in lower case. Scripts without spaces, and runs of over 20 characters, count by character."""
    found: list[str] = []
    for word in text.lower().split():
        whole = len(word) <= LONG and all(_script(character) not in _UNSPACED for character in word)
        found += [word] if whole else list(word)
    return found


def distinct(text: str, n: int = 2) -> float:
    """Share of different ones among the runs of ``n`` words (distinct-n, Li et al. 2016); 1 if there are none.

    Words are :func:`units`.
    """
    found = units(text)
    runs = [tuple(found[i : i + n]) for i in range(len(found) - n + 1)]
    return len(set(runs)) / len(runs) if runs else 1.0


def repeats(text: str) -> bool:
    """Whether a text says little but the same: fewer than half of its pairs of words are different ones."""
    return distinct(text) < 0.5


def foreign(text: str, expected: Sequence[str]) -> bool:
    """Whether more than half of the words of a text are in scripts that are not at home in any of the expected texts.

    A script is at home where it holds at least a tenth of the words. False where there are no letters on either side.
    """
    counts = [scripts(other) for other in expected]
    home = {script for count in counts for script, n in count.items() if n >= SHARE * count.total()}
    found = scripts(text)
    return bool(home) and sum(n for script, n in found.items() if script not in home) > found.total() / 2


def scripts(text: str) -> Counter[str]:
    """How many words of a text are in each Unicode script, such as ``LATIN`` or ``CJK``, by their first letter."""
    letters = (next(filter(str.isalpha, word), None) for word in units(text))
    return Counter(_script(letter) for letter in letters if letter)


_UNSPACED = {"CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR"}


def _script(character: str) -> str:
    """The script of a letter, the first word of its Unicode name; of others no script."""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0] if character.isalpha() else ""
