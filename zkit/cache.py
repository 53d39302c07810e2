"""The user's cache folder, and the digests of large files, which are kept there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from zkit import writing
from zkit.errors import ZkitError

VARIABLE = "ZKIT_CACHE"
_SETTLED = 2_000_000_000
"""Nanoseconds: coarsest resolution of file times. A change to a file older than this shows in the file's times."""


def folder() -> Path:
    """``$ZKIT_CACHE``, else ``zkit`` in ``$XDG_CACHE_HOME`` (by default ``~/.cache``). ZkitError if it is relative."""
    if given := os.environ.get(VARIABLE):
        chosen = Path(given).expanduser()
        if not chosen.is_absolute():
            raise ZkitError(f"{VARIABLE} is {given!r}; it must be an absolute path")
        return chosen
    base = Path(os.environ.get("XDG_CACHE_HOME") or ".")  # the XDG standard ignores a relative path
    return (base if base.is_absolute() else Path.home() / ".cache") / "zkit"


def check_room(place: Path, size: int) -> None:
    """Raise ZkitError if the disk of the folder ``place`` has no room for ``size`` bytes."""
    free = shutil.disk_usage(place).free
    if free < size:
        raise ZkitError(
            f"{place} has room for {free / 1e9:.1f} GB and {size / 1e9:.1f} GB are needed; "
            f"make room, or set {VARIABLE} to a folder on another disk"
        )


def file_sha256(path: Path) -> str:
    """The sha256 of a file. A note in the cache folder saves computing it again.

    The note is valid as long as the file has the same size, inode, device and times of change. It is not written while
    these times are so recent that a later change might not alter them. Raises ZkitError for a file that is
    missing or may not be read, and for one that changes while it is read.
    """
    path = path.resolve()
    note = folder() / "digests" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"
    try:
        before = _state(path)
    except OSError as error:
        raise ZkitError(f"{path} cannot be read ({error.strerror}); put it back") from error
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["state"] == before:
            return str(known["sha256"])
    now = time.time_ns()
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ZkitError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    if _state(path) != before:
        raise ZkitError(f"{path} changed while it was read; wait until it is whole")
    if now - max(before[1:3]) > _SETTLED:
        with suppress(ZkitError):  # without a note the next call reads the file again
            writing.write(note, json.dumps({"path": str(path), "state": before, "sha256": found}))
    return found


def _state(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev]
