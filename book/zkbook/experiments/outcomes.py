"""What a text answers, in which language, and whether two answers are the same.

The specification reads the first number of the first line; the repaired reader takes what a text ends with.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from zkit.errors import ZkitError
from zkit.replies import repeats, scripts

READERS = ("first", "last")
LANGUAGES = ("en", "zh", "mixed", "none", "degenerate")
"""Of a text: a language by the share of its words in a script; none of either, such as a bare number; fallen apart."""
SHARE = 0.2
"""Of a text's words: from this share on a second script makes it mixed."""

_NUMBER = r"[-−]?\d+(?:,\d{3})+(?:\.\d+)?(?!\d)|[-−]?\d+\s*/\s*\d+|[-−]?\d*\.\d+|[-−]?\d+"
_FRAC = re.compile(r"\\d?frac\{(\d+)\}\{(\d+)\}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?=[0-9A-Fa-f]*[A-Fa-f])[0-9A-Fa-f]{2,})(?![0-9A-Za-z])")
_AND = re.compile(rf"({_NUMBER})((?:\s*(?:,|，|、|and|和|与|or|或)\s*(?:{_NUMBER}))*)")


def read_answer(text: str, how: str) -> str | None:
    """The answer in a text, None if there is none.

    how: ``"first"``, the first number of the first line, as the published code does; ``"last"``, the last number,
    fraction, list of numbers or hexadecimal word of the text. Raises ZkitError for another way.
    """
    if how not in READERS:
        raise ZkitError(f"unknown way {how!r} to read an answer; choose one of {', '.join(READERS)}")
    if how == "first":
        line = text.strip().split("\n", 1)[0]
        found = re.search(r"-?\d+(?:\.\d+)?", line)
        return found[0] if found else None
    plain = _FRAC.sub(r"\1/\2", text)
    numbers, words = list(_AND.finditer(plain)), list(_HEX.finditer(plain))
    last = max(numbers + words, key=lambda match: match.end(), default=None)
    if last is None:
        return None
    return last[1] if last.re is _HEX else last[0]


def same_answer(one: str | None, other: str | None) -> bool:
    """Whether two answers are the same numbers, in any order: 27/216 and 1/8, "2, 3" and "3 and 2", FF and ff.

    Text that is no number is compared without regard to case. No answer is the same as none, not even as another none.
    """
    if one is None or other is None:
        return False
    return _values(one) == _values(other)


def _values(answer: str) -> Counter[Fraction | str]:
    plain = _FRAC.sub(r"\1/\2", answer)
    if _HEX.fullmatch(plain.strip()):
        return Counter([plain.strip().lower().removeprefix("0x")])
    found = [number.replace("−", "-") for number in re.findall(_NUMBER, plain)]
    if not found:
        return Counter([plain.strip().lower()])
    return Counter(_fraction(number) for number in found)


def _fraction(number: str) -> Fraction | str:
    compact = re.sub(r"\s", "", number)
    if "/" not in compact:
        return Fraction(compact.replace(",", ""))
    above, below = compact.split("/")
    return Fraction(int(above), int(below)) if int(below) else compact


def language_of(text: str) -> str:
    """One of :data:`LANGUAGES`: by the scripts of the words, each hanzi being one; degenerate if blank or repeating.

    A formula is in no language, so single Latin letters do not count.
    """
    if not text.strip() or repeats(text):
        return "degenerate"
    found = scripts(re.sub(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])|\\[A-Za-z]+", " ", text))
    latin, hanzi = found["LATIN"], found["CJK"]
    if latin + hanzi == 0:
        return "none"
    share = hanzi / (latin + hanzi)
    return "zh" if share > 1 - SHARE else "en" if share < SHARE else "mixed"


def published_language(text: str) -> str:
    """The specification's rule: by the share of CJK characters among letters; "zh" above half, "en" below a tenth."""
    letters = [c for c in text if c.isalpha()]
    share = sum("一" <= c <= "鿿" for c in letters) / len(letters) if letters else 0.0
    return "zh" if share > 0.5 else "en" if share < 0.1 else "mixed"


def tokens_by_script(words: Sequence[str]) -> dict[str, list[int]]:
    """Which of a tokenizer's words, given in their order, are of English ("en") and which of Chinese ("zh").

    By the script of their letters; words of both scripts or of neither are in no list, so leave special tokens blank.
    Raises ZkitError if a script has no word.
    """
    found: dict[str, list[int]] = {"en": [], "zh": []}
    for token, word in enumerate(words):
        latin, hanzi = re.search("[A-Za-z]", word) is not None, re.search("[一-鿿]", word) is not None
        if latin != hanzi:
            found["en" if latin else "zh"].append(token)
    missing = [language for language, tokens in found.items() if not tokens]
    if missing:
        raise ZkitError(f"none of {len(words)} tokens is written in the script of {' or '.join(missing)}")
    return found
