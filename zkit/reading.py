"""Read untrusted files, with one reader for each format: text, JSON and JSON Lines, and check their contents.

Every error is a ZkitError that names file, entry and remedy. The limits below are far above the sizes that the library
writes and far below those that would exhaust memory or time.
YAML is read by :mod:`zkit.yaml_files`, tensors by :mod:`zkit.tensor_files`.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from zkit.errors import ZkitError

TEXT_LIMIT = 32 * 2**20
"""Most bytes of a JSON file. The longest that zkit writes lists every neuron of a 70B model and has half as many."""
LINES_LIMIT = 2**29
"""Most bytes of a JSON Lines file, which grows with its data."""
DEPTH_LIMIT = 64
"""Most levels of nested lists or objects: enough for every file of zkit, and far below a RecursionError."""
NAMES_LIMIT = 100_000
"""Most names in one object: pydantic records every wrong one before the first can be reported."""
MOST_LAYERS = 10_000
"""Layer numbers must be below this, far above those of any model: a larger one could exhaust the memory."""

# Byte order marks. UTF-32 comes first, because the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_LAYER = re.compile(r"0|[1-9][0-9]{0,5}")

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 3

_Kind = TypeVar("_Kind")


def _ordered(ends: list[float]) -> list[float]:
    if ends[0] > ends[1]:
        raise PydanticCustomError("interval", "should be [low, high], the lower end first")
    return ends


Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Ends = Annotated[list[Finite], Field(min_length=2, max_length=2, fail_fast=True), AfterValidator(_ordered)]
"""An interval, [low, high]."""


class Checked(BaseModel):
    """Base class for the entries of a file: they hold exactly the declared fields, of exactly the declared types."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def located(path: str | Path, what: str, remedy: str) -> Path:
    """``path`` if it is an existing file; raises ZkitError, which names ``what`` and ``remedy``, otherwise."""
    if isinstance(path, str | os.PathLike) and os.path.isfile(path):
        return Path(path)
    raise ZkitError(f"there is no {what} at {path}; {remedy}")


def size_of(path: str | Path, limit: int) -> int:
    """Bytes of a file. Raises ZkitError unless it is a regular file (a pipe could block) of at most ``limit`` bytes."""
    if not isinstance(path, str | os.PathLike):  # os.stat would take a number for an open file
        raise ZkitError(f"{path!r} cannot be read (it is no path); give the path of a file")
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise ZkitError(f"{path} cannot be read ({_reason(error)}); check the path") from error
    if not stat.S_ISREG(found.st_mode):
        raise ZkitError(f"{path} cannot be read (it is no plain file); give a file")
    if found.st_size > limit:
        raise ZkitError(
            f"{path} has {found.st_size:,} bytes, more than the {limit:,} that are read; split it, or give another"
        )
    return found.st_size


def read_text(path: str | Path, limit: int = TEXT_LIMIT) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 if it begins with their byte order mark.

    Raises ZkitError for other encodings, binary contents, and a file that is missing or too large.
    """
    size_of(path, limit)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise ZkitError(f"{path} cannot be read ({_reason(error)}); check the path and its permissions") from error
    mark = next((mark for mark in _MARKS if raw.startswith(mark)), b"")
    try:
        found = raw[len(mark) :].decode(_MARKS.get(mark, "utf-8"))
    except UnicodeDecodeError as error:
        raise ZkitError(
            f"{path} cannot be read as text (byte {error.start + len(mark)} is no {error.encoding.upper()}); "
            "save it in UTF-8"
        ) from error
    if "\0" in found:
        raise ZkitError(f"{path} cannot be read as text (it holds NUL, as binary files do); save it as text in UTF-8")
    return found


def parse_json(text: str, where: str) -> Any:
    """One JSON value; ``where`` is its name in error messages.

    Raises ZkitError for a text that is not JSON, an object with a key twice, NaN, Infinity, integers of more than 64
    bits, lone surrogates, and values that are nested too deeply or have too many names.
    """
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: unique(pairs, where))
    except ZkitError:
        raise
    except RecursionError as error:
        raise ZkitError(f"{where} nests deeper than {DEPTH_LIMIT} lists or objects; write it flat") from error
    except ValueError as error:  # bad JSON, or an integer of more digits than Python reads
        raise ZkitError(f"{where} is not JSON ({error}); copy it again or take it away") from error
    return plain(found, where)


def read_json(path: str | Path, limit: int = TEXT_LIMIT) -> Any:
    """The JSON value of a file.

    Raises ZkitError for a file that is missing, too large or not text, and for a text that :func:`parse_json` refuses.
    """
    return parse_json(read_text(path, limit), str(path))


def read_lines(path: str | Path) -> Iterator[tuple[str, Any]]:
    """The JSON values of a file with one on each line, each with its name in error messages: "line 3 of texts.jsonl".

    Empty lines are skipped. Raises ZkitError for a file that cannot be read as text, and for a line that is not JSON.
    """
    for number, line in enumerate(read_text(path, LINES_LIMIT).split("\n"), 1):
        if line.strip():
            where = f"line {number} of {path}"
            yield where, parse_json(line, where)


def plain(value: Any, where: str) -> Any:
    """``value``, after a check of all its entries; ``where`` is its name in error messages.

    Raises ZkitError, naming the entry, for lone surrogates (which cannot be written or tokenized), numbers that are not
    finite, integers of more than 64 bits, and more than DEPTH_LIMIT levels or NAMES_LIMIT names.
    """
    _plain(value, where, [])
    return value


def check(kind: type[_Kind], value: Any, where: str, remedy: str) -> _Kind:
    """``value`` checked to be of the type ``kind``, any type that pydantic knows, without conversions.

    Raises ZkitError, which names ``where``, the entry, the expected and the actual value, and ``remedy``.
    """
    try:
        return cast(_Kind, _adapter(cast(Any, kind)).validate_python(value, strict=True))
    except ValidationError as error:
        # for a union, the error of the member that matched furthest is the most helpful
        first = max(error.errors(include_url=False, include_context=False), key=lambda found: len(found["loc"]))
        place, got = _at(where, first["loc"]), _short(first["input"])
        match first["type"]:
            case "missing":
                problem = f"{where} lacks {_dotted(first['loc'])!r}"
            case "extra_forbidden":
                problem = f"{where} has the unknown field {_dotted(first['loc'])!r}"
            case "dict_type" | "model_type":
                problem = f"{place} should hold one JSON object; it holds a {type(first['input']).__name__}"
            case _:
                problem = f"{place}: {first['msg'].replace('Input should', 'should')}, got {got}"
        raise ZkitError(f"{problem}; {remedy}") from error


def unique(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """The pairs as a dict. Raises ZkitError for a key that occurs twice, of which ``dict`` would drop the first."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ZkitError(f"{where}: {key[:60]!r} stands twice; keep one of them")
        found[key] = value
    return found


def shown(value: Any) -> str:
    """``value`` for an error message: abbreviated to a few dozen characters."""
    brief = repr(value[:60]) if isinstance(value, str) else _BRIEF.repr(value)
    return brief.encode("ascii", "backslashreplace").decode()


def layer_number(text: str, where: str) -> int:
    """The number of a layer, counted from 0. Raises ZkitError unless it is a plain decimal ("3", not "03")."""
    if not _LAYER.fullmatch(text) or int(text) >= MOST_LAYERS:
        raise ZkitError(f"{where} names the layer {text[:20]!r}; layers are 0, 1, 2 and so on below {MOST_LAYERS:,}")
    return int(text)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(item: Any, where: str, path: list[Any]) -> None:
    if isinstance(item, dict | list):
        if len(path) >= DEPTH_LIMIT:
            raise ZkitError(f"{where} nests deeper than {DEPTH_LIMIT} lists or objects; write it flat")
        if isinstance(item, dict) and len(item) > NAMES_LIMIT:
            raise ZkitError(f"{_at(where, path)} has {len(item):,} names; give it at most {NAMES_LIMIT:,}")
        for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
            path.append(key)
            _plain(key, where, path)
            _plain(inner, where, path)
            path.pop()
    elif isinstance(item, str):
        if not item.isascii() and re.search("[\ud800-\udfff]", item):
            raise ZkitError(f"{_at(where, path)} holds half a character ({item[:40]!a}); write the text again")
    elif isinstance(item, float) and not math.isfinite(item):
        raise ZkitError(f"{_at(where, path)} is {item}; write a finite number, or null")
    elif isinstance(item, int) and abs(item) >= 2**64:
        raise ZkitError(f"{_at(where, path)} is an integer of {item.bit_length()} bits; write one of at most 64")


def _at(where: str, path: Sequence[Any]) -> str:
    return f"{where}: {_dotted(path)}" if path else where


def _dotted(path: Sequence[Any]) -> str:
    """The path of an entry, for example history.3.says, in ASCII with other characters escaped."""
    return ".".join(ascii(str(key)[:60])[1:-1] for key in path)


def _short(value: Any) -> str:
    return f"a {type(value).__name__}" if isinstance(value, dict | list) else ascii(value)[:60]


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
