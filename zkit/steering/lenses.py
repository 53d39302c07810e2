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

import yaml

from zkit.errors import ZkitError
from zkit.steering.texts import words

FILE = Path(__file__).with_name("lenses.yml")
_HOW = "write `name: {about: ..., words: [...]}` or `name: {pattern: ...}`"
_ENDING = re.compile(r"\((\w+)\)(?=\s|$)")  # team(s): letters that may be absent at the end of a word


@dataclass(frozen=True)
class Lens:
    """A world by the words that betray it: ``pattern`` matches one of them.

    ``about`` is what a request calls the world ("" if there is none: then no positive control can ask for it).
    Raises ZkitError for a lens without a name or with a pattern that matches the empty text.
    """

    name: str
    pattern: re.Pattern[str]
    about: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ZkitError("a lens needs a name")
        if self.pattern.search("") is not None:
            raise ZkitError(f"the pattern of lens {self.name!r} matches the empty text, so it would match anywhere")

    @classmethod
    def of_words(cls, name: str, words: Sequence[str], about: str = "") -> Lens:
        """The lens of whole words or phrases, in either case; the longest that fits counts once.

        Letters in brackets at the end of a word may be absent: ``team(s)`` is team or teams. No other form is guessed,
        and a part of a compound is no whole word (``build`` is not found in build-up).
        Raises ZkitError for an empty vocabulary, an empty word, brackets elsewhere, and as the class does.
        """
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise ZkitError(
                f"the words of lens {name!r} must be a list of texts; put 'yes', 'no' or a number in quotes"
            )
        if not words:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; give it at least one word")
        return cls.of_pattern(name, f"(?i:{_whole(name, words)})", about)

    @classmethod
    def of_pattern(cls, name: str, pattern: str, about: str = "") -> Lens:
        """The lens of a regular expression, used as it stands: write ``(?i)`` in front to ignore case.

        Raises ZkitError for an empty pattern, one that does not compile, and as the class does.
        """
        if not isinstance(pattern, str) or not pattern:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; its pattern must be a regular expression")
        try:
            return cls(name, re.compile(pattern), about)
        except re.error as error:
            raise ZkitError(f"the pattern of lens {name!r} is no regular expression: {error}") from error


def count(text: str, lens: Lens) -> tuple[int, int]:
    """The matches of a lens in a text and the text's words."""
    return sum(1 for _ in lens.pattern.finditer(text)), words(text)


@cache
def lenses() -> Mapping[str, Lens]:
    """The twelve lenses that ship with the library, by name."""
    return read_lenses(FILE)


def read_lenses(path: str | Path) -> dict[str, Lens]:
    """The lenses of a YAML file, by name: ``name: {about: ..., words: [...]}``, or ``pattern: ...`` for ``words``.

    Raises ZkitError for a missing or unreadable file, one that holds no lenses, an unknown or missing field, a lens
    named twice, and as :meth:`Lens.of_words` and :meth:`Lens.of_pattern` do.
    """
    if not Path(path).is_file():
        raise ZkitError(f"there is no file of lenses at {path}; {_HOW}")
    try:
        table = yaml.load(Path(path).read_text(encoding="utf-8"), _OnceOnly)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ZkitError(f"{path} is not readable YAML ({error})") from error
    if not isinstance(table, dict) or not table:
        raise ZkitError(f"{path} holds no lenses; {_HOW}")
    return {str(name): _lens(str(name), entry, path) for name, entry in table.items()}


def _lens(name: str, entry: Any, path: str | Path) -> Lens:
    if not isinstance(entry, dict) or ("words" in entry) == ("pattern" in entry):
        raise ZkitError(f"lens {name!r} in {path} needs words or a pattern, one of them; {_HOW}")
    if unknown := set(entry) - {"about", "words", "pattern"}:
        raise ZkitError(f"lens {name!r} in {path} has the unknown field {sorted(map(str, unknown))[0]!r}; {_HOW}")
    about = entry.get("about", "")
    if not isinstance(about, str):
        raise ZkitError(f"what lens {name!r} in {path} is about must be a text, got {about!r}")
    if "pattern" in entry:
        return Lens.of_pattern(name, entry["pattern"], about)
    return Lens.of_words(name, [] if entry["words"] is None else entry["words"], about)


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
            _ENDING.sub(r"(?:\1)?", re.sub(r"[^\w\s()]", lambda m: re.escape(m[0]), word)).replace(" ", r"\s+")
        )
    return rf"(?<![\w-])(?:{'|'.join(found)})(?!-?\w)"


class _OnceOnly(yaml.SafeLoader):
    """YAML in which no key stands twice: of two lenses of one name the first would be lost without a word."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := next((key for i, key in enumerate(keys) if key in keys[:i]), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)
