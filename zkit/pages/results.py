"""The results of a chapter: one JSON file, the only thing that other chapters and the prose read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

from zkit.errors import ZkitError
from zkit.pages import files

SCHEMA = 1
"""``{"schema", "parameters", "model": {"id", "sha256"} | null, "versions", "stats": {key: {"value", "n", "ci",
"unit"}}, "claims": [...]}``; ``n``, ``ci`` ([low, high]) and ``unit`` are null where they do not apply."""


def save(path: Path, results: dict[str, Any]) -> None:
    """Write results atomically. Raises ZkitError if the disk is full."""
    files.write(path, json.dumps({"schema": SCHEMA} | results, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def load(path: Path) -> dict[str, Any]:
    """Read results. Raises FileNotFoundError, or ZkitError if the file is of another schema or no JSON."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ZkitError(f"{path} is not JSON; delete it and run its chapter again") from error
    if not isinstance(results, dict) or results.get("schema") != SCHEMA:
        raise ZkitError(f"{path} is not of results schema {SCHEMA}; run its chapter again")
    return results


def read(path: Path) -> dict[str, Any]:
    """Like :func:`load`, for a file that a user names: ZkitError for all that are no results of a chapter."""
    try:
        found = load(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ZkitError(f"there are no results at {path}; a chapter leaves them in <out>/results/") from error
    if not {"stats", "parameters"} <= found.keys():
        raise ZkitError(f"{path} holds no results of a chapter; a chapter leaves them in <out>/results/")
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
    if not re.fullmatch(r"[\w./-]+", key):
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
