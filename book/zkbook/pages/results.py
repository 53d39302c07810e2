"""The results of a chapter: one JSON file, the only thing that other chapters and the prose read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import Checked, Count, Ends, Finite, check, parse_json, read_json

SCHEMA = 1
"""``{"schema", "parameters", "model": {"id", "sha256"} | null, "versions", "stats": {key: {"value", "n", "ci",
"unit"}}, "claims": [...]}``; ``n``, ``ci`` ([low, high]) and ``unit`` are null where they do not apply."""


LIMIT = 2**20
"""Bytes of a results file: some thousand figures."""
_KEY = r"^[\w./-]+$"
_REMEDY = "a chapter leaves its results in <out>/results/; run it again"


class _Stat(Checked):
    value: Finite
    n: Count | None
    ci: Ends | None
    unit: str | None


class _Model(Checked):
    id: str
    sha256: str


class _Judged(Checked):
    """What a page shows of a claim; there is more."""

    model_config = ConfigDict(extra="allow")
    id: str
    sentence: str
    says: str


class _Verdict(Checked):
    model_config = ConfigDict(extra="allow")
    claim: _Judged
    model: str
    status: str
    findings: Annotated[list[dict[str, Any]], Field(fail_fast=True)]


class _Parameters(Checked):
    """Those that are read as evidence; a chapter may have any others."""

    model_config = ConfigDict(extra="allow")
    model: Annotated[str, Field(pattern=r"\S")] = "embedded"
    profile: str = "embedded"


class _Results(Checked):
    parameters: _Parameters
    model: _Model | None
    versions: dict[str, str]
    stats: dict[Annotated[str, Field(pattern=_KEY)], _Stat]
    claims: Annotated[list[_Verdict], Field(fail_fast=True)]


def save(path: Path, results: dict[str, Any]) -> None:
    """Write results atomically. Raises ZkitError if they could not be read again, and if they cannot be written."""
    text = json.dumps({"schema": SCHEMA} | results, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    if len(text.encode("utf-8", "replace")) > LIMIT:
        raise ZkitError(
            f"{path} would have {len(text):,} characters; keep fewer figures, and tables in files of their own"
        )
    _check(parse_json(text, f"what is to be kept in {path}"), path)
    writing.write(path, text)


def load(path: Path) -> dict[str, Any]:
    """Read results. Raises ZkitError, naming file and entry, for all that are no results of a chapter."""
    if not path.is_file():
        raise ZkitError(f"there are no results at {path}; {_REMEDY}")
    return _check(read_json(path, LIMIT), path)


def _check(found: Any, path: Path) -> dict[str, Any]:
    if not isinstance(found, dict) or type(found.get("schema")) is not int or found["schema"] != SCHEMA:
        raise ZkitError(f"{path} is not of results schema {SCHEMA}; {_REMEDY}")
    check(_Results, {name: value for name, value in found.items() if name != "schema"}, str(path), _REMEDY)
    return found


def digest(results: dict[str, Any]) -> str:
    """Hash of what a dependent chapter can see; versions are left out, so an upgrade that changes no figure counts
    as no change."""
    return json_digest({key: value for key, value in results.items() if key != "versions"})


def json_digest(value: Any) -> str:
    """sha256 of ``value`` as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def stat(key: str, value: Any, n: Any = None, ci: Any = None, unit: str | None = None) -> dict[str, Any]:
    """One entry of ``stats``. ``value`` is a number (numpy and torch scalars too) or an interval with ``.value``,
    ``.low``, ``.high`` and ``.n``.

    Raises ZkitError, naming ``key``, for anything else, for NaN or infinity, and for a key that prose cannot cite.
    """
    if not re.search(_KEY, key):
        raise ZkitError(f"stat key {key!r}: use letters, digits, _, -, . and / only; prose cites figures by their key")
    if hasattr(value, "low") and hasattr(value, "high"):
        n = value.n if n is None else n
        ci = (value.low, value.high) if ci is None else ci
        value = value.value
    bounds = None
    if ci is not None:
        bounds = [_number(key, bound) for bound in ci]
        if len(bounds) != 2 or bounds[0] > bounds[1]:
            raise ZkitError(f"stat {key!r}: ci must be (low, high) with low <= high, not {tuple(bounds)}")
    count = None if n is None else _number(key, n)
    if count is not None and (count != int(count) or count < 0):
        raise ZkitError(f"stat {key!r}: n must be a count, not {count}")
    return {"value": _number(key, value), "n": None if count is None else int(count), "ci": bounds, "unit": unit}


def _number(key: str, value: Any) -> int | float:
    try:
        item = value.item() if hasattr(value, "item") else value
    except (ValueError, RuntimeError):  # several elements
        item = value
    if isinstance(item, bool):
        return int(item)
    if not isinstance(item, int | float):
        raise ZkitError(f"stat {key!r} must be a number, not {type(value).__name__}")
    if not math.isfinite(item):
        raise ZkitError(f"stat {key!r} is {item}: a figure that is not finite is a bug upstream, find where it arises")
    return item
