"""Lenses: the words of one world each, and how many of them a text holds.

Source: the lens evaluation of the qwen3-steering project; the vocabularies in lenses.yml are our own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regex

from zkit.errors import ZkitError
from zkit.reading import located
from zkit.steering.texts import words
from zkit.yaml_files import read_yaml

SECONDS = 1.0
"""Of processor time that a lens may take for one text; a text of a thousand words takes a thousandth of it."""
LONGEST_PATTERN = 10_000
"""Characters of a pattern."""
# Four separators that re, and str.split, take for spaces, and regex does not.
_SPACES = dict.fromkeys(range(0x1C, 0x20), "\x85")
FILE = Path(__file__).with_name("lenses.yml")
_HOW = "write `name: {about: ..., words: [...]}` or `name: {pattern: ...}`"
_ENDING = re.compile(r"\((\w+)\)(?=\s|$)")  # team(s): letters that may be absent at the end of a word


@dataclass(frozen=True)
class Lens:
    """A world by the words that betray it: ``pattern`` matches one of them.

    ``about`` is what a request calls the world ("" if there is none: then no positive control can ask for it). The
    pattern belongs to the package regex, which reads what re does and can be given a limit of time (to its words also
    belong combining marks, and no fractions or raised digits); one of re is compiled again.
    Raises ZkitError for a lens without a name or with a pattern that matches the empty text.
    """

    name: str
    pattern: regex.Pattern[str]
    about: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ZkitError("a lens needs a name")
        if isinstance(self.pattern, re.Pattern):
            flags = self.pattern.flags & (re.I | re.M | re.S | re.X) | (regex.A if self.pattern.flags & re.A else 0)
            object.__setattr__(self, "pattern", regex.compile(self.pattern.pattern, flags))
        if self.pattern.search("", timeout=SECONDS) is not None:
            raise ZkitError(f"the pattern of lens {self.name!r} matches the empty text, so it would match anywhere")

    @classmethod
    def of_words(cls, name: str, words: Sequence[str], about: str = "") -> Lens:
        """The lens of whole words or phrases, in either case; the longest that fits counts once.

        Letters in brackets at the end of a word may be absent: ``team(s)`` is team or teams. No other form is guessed,
        and a part of a compound is no whole word (``build`` is not found in build-up).
        Raises ZkitError for an empty vocabulary, an empty word, brackets elsewhere, and as the class does.
        """
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise ZkitError(
                f"the words of lens {name!r} must be a list of texts; put 'yes', 'no' or a number in quotes"
            )
        if not words:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; give it at least one word")
        return cls._compiled(name, f"(?i:{_whole(name, words)})", about)

    @classmethod
    def of_pattern(cls, name: str, pattern: str, about: str = "") -> Lens:
        """The lens of a regular expression, used as it stands: write ``(?i)`` in front to ignore case.

        Raises ZkitError for an empty pattern, one that does not compile, and as the class does.
        """
        if not isinstance(pattern, str) or not pattern:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; its pattern must be a regular expression")
        if len(pattern) > LONGEST_PATTERN:
            raise ZkitError(
                f"the pattern of lens {name!r} has {len(pattern):,} characters; write words, or several lenses"
            )
        return cls._compiled(name, pattern, about)

    @classmethod
    def _compiled(cls, name: str, pattern: str, about: str) -> Lens:
        try:
            compiled = regex.compile(pattern)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise ZkitError(f"the pattern of lens {name!r} is no regular expression: {error}") from error
        return cls(name, compiled, about)


def count(text: str, lens: Lens) -> tuple[int, int]:
    """The matches of a lens in a text and the text's words. Raises ZkitError for a lens that takes above SECONDS."""
    try:
        return sum(1 for _ in lens.pattern.finditer(text.translate(_SPACES), timeout=SECONDS)), words(text)
    except TimeoutError as error:
        raise ZkitError(
            f"the pattern of lens {lens.name!r} takes more than {SECONDS:g} s for a text of {len(text):,} characters; "
            "write it without repeats that can match the same letters in many ways, such as (a|aa)+"
        ) from error


@cache
def lenses() -> Mapping[str, Lens]:
    """The twelve lenses that ship with the library, by name."""
    return read_lenses(FILE)


def read_lenses(path: str | Path) -> dict[str, Lens]:
    """The lenses of a YAML file, by name: ``name: {about: ..., words: [...]}``, or ``pattern: ...`` for ``words``.

    Raises ZkitError for a missing or unreadable file, one that holds no lenses, an unknown or missing field, a lens
    named twice, and as :meth:`Lens.of_words` and :meth:`Lens.of_pattern` do.
    """
    table = read_yaml(located(path, "file of lenses", _HOW))
    if not isinstance(table, dict) or not table:
        raise ZkitError(f"{path} holds no lenses; {_HOW}")
    return {name: _lens(name, entry, path) for name, entry in table.items()}


def _lens(name: str, entry: Any, path: str | Path) -> Lens:
    if not isinstance(entry, dict) or ("words" in entry) == ("pattern" in entry):
        raise ZkitError(f"lens {name!r} in {path} needs words or a pattern, one of them; {_HOW}")
    if unknown := set(entry) - {"about", "words", "pattern"}:
        raise ZkitError(f"lens {name!r} in {path} has the unknown field {sorted(map(str, unknown))[0]!r}; {_HOW}")
    about = entry.get("about", "")
    if not isinstance(about, str):
        raise ZkitError(f"what lens {name!r} in {path} is about must be a text, got {ascii(about)[:60]}")
    try:
        if "pattern" in entry:
            return Lens.of_pattern(name, entry["pattern"], about)
        return Lens.of_words(name, [] if entry["words"] is None else entry["words"], about)
    except ZkitError as error:
        raise ZkitError(f"{path}: {error}") from error


def _whole(name: str, words: Sequence[str]) -> str:
    """One pattern for whole words, the longest first, so that a phrase is not cut by a word in it."""
    found = []
    for word in sorted(words, key=len, reverse=True):
        bare = _ENDING.sub("", word)
        if not bare.strip() or bare != bare.strip() or re.search(r"[()]", bare):
            raise ZkitError(
                f"lens {name!r} has the word {word!r}: a word has letters, no space around it, and brackets only about "
                "an ending that may be absent, as in team(s)"
            )
        found.append(
            re.sub(r"\s+", r"\\s+", _ENDING.sub(r"(?:\1)?", re.sub(r"[^\w\s()]", lambda m: re.escape(m[0]), word)))
        )
    return rf"(?<![\w-])(?:{'|'.join(found)})(?!-?\w)"
