"""Read untrusted YAML: texts, numbers, true and false, null, lists and mappings; no tags, and few alias copies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from zkit.errors import ZkitError
from zkit.reading import DEPTH_LIMIT, plain, read_text, unique

SIZE_LIMIT = 2**20
"""Most bytes of a file: these are written by hand, and reading them is slow."""
ENTRIES_LIMIT = 100_000
"""Most entries, each counted as often as aliases repeat it: a dozen lines of nested aliases can make a billion."""
LONG = 100
"""Every so many characters of a text count as one more entry, because an alias repeats them too."""

# libyaml reads ten times faster, but not every wheel of PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None} | dict.fromkeys(("true", "yes", "on"), True)
_WORDS |= dict.fromkeys(("false", "no", "off"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400


def read_yaml(path: str | Path) -> Any:
    """The YAML document of a file.

    Raises ZkitError for a file that is missing, too large or not text, and for a text that :func:`parse_yaml` refuses.
    """
    return parse_yaml(read_text(path, SIZE_LIMIT), str(path))


def parse_yaml(text: str, where: str) -> Any:
    """One YAML document; ``where`` is its name in error messages.

    Keys are texts, exactly as written. A plain word is true, false or null as in YAML 1.1 (``yes`` and ``no`` too), an
    integer or decimal number as in JSON (``010`` is ten), else a text: there are no dates, and 12:30 is no number.
    Aliases and merge keys (``<<``) are followed.
    Raises ZkitError for text that is not YAML, more than ENTRIES_LIMIT entries, tags, a key that occurs twice or is no
    text, several documents, and values that :func:`zkit.reading.plain` refuses, such as an integer of over 64 bits.
    """
    try:
        return plain(_Document(text, where).value, where)
    except (yaml.YAMLError, UnicodeError) as error:
        said = " ".join(str(error).split())
        raise ZkitError(f"{where} is not YAML ({said}); mend or quote what stands there") from error


class _Document:
    """The document, built from the parser's events, which come one by one and do not expand aliases."""

    def __init__(self, text: str, where: str) -> None:
        self.events, self.where, self.entries = yaml.parse(text, Loader=_LOADER), where, 0
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.value: Any = None
        starts = [self.value_of(next(self.events), 1) for event in self.events if _is(event, "DocumentStart")]
        if len(starts) > 1:
            raise ZkitError(f"{where} holds several documents; write one, without '---'")
        self.value = starts[0] if starts else None

    def value_of(self, event: Any, depth: int) -> Any:
        before = self.entries
        self.entries += 1
        if _is(event, "Alias"):
            if event.anchor not in self.anchors:
                raise ZkitError(f"{self.line(event)} has the alias *{event.anchor}, which stands for nothing before it")
            found, size = self.anchors[event.anchor]
            self.entries += size
        elif event.tag is not None:
            raise ZkitError(f"{self.line(event)} has the tag {event.tag}; leave tags out, and put a text in quotes")
        elif _is(event, "Scalar"):
            found = self.word(event) if event.implicit[0] else event.value
            self.entries += len(event.value) // LONG
        elif depth > DEPTH_LIMIT:
            raise ZkitError(f"{self.where} nests deeper than {DEPTH_LIMIT} lists or mappings; write it flat")
        else:
            found = self.items(depth) if _is(event, "SequenceStart") else self.mapping(depth)
        if self.entries > ENTRIES_LIMIT:
            raise ZkitError(f"{self.where} has more than {ENTRIES_LIMIT:,} entries, its aliases unfolded; write fewer")
        if not _is(event, "Alias") and event.anchor is not None:
            self.anchors[event.anchor] = found, self.entries - before
        return found

    def items(self, depth: int) -> list[Any]:
        found = []
        while not _is(event := next(self.events), "SequenceEnd"):
            found.append(self.value_of(event, depth + 1))
        return found

    def mapping(self, depth: int) -> dict[str, Any]:
        pairs = []
        while not _is(key := next(self.events), "MappingEnd"):
            if not _is(key, "Scalar") or key.tag is not None:
                raise ZkitError(f"{self.line(key)} has a key that is no text; write one")
            pairs.append((key.value, self.value_of(next(self.events), depth + 1)))
        own = unique(pairs, self.where)
        merged = own.pop("<<", {})
        if not isinstance(merged, dict):
            raise ZkitError(f"{self.where} has << before something else than one mapping; write the keys out")
        return merged | own

    def word(self, event: Any) -> Any:
        word = event.value
        if word in (word.lower(), word.capitalize(), word.upper()) and word.lower() in _WORDS:
            return _WORDS[word.lower()]
        if not _DECIMAL.fullmatch(word):
            return word
        if len(word) > _LONGEST_NUMBER:
            raise ZkitError(
                f"{self.line(event)} has a number of {len(word)} characters; write fewer, or put it in quotes"
            )
        return int(word) if _INTEGER.fullmatch(word) else float(word)

    def line(self, event: Any) -> str:
        return f"line {event.start_mark.line + 1} of {self.where}"


def _is(event: Any, kind: str) -> bool:
    return isinstance(event, getattr(yaml, f"{kind}Event"))
