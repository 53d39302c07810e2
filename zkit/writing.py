"""Write files atomically.

Contents go into a new file in the same folder, which then replaces the old one, so that after any failure the old file
is still there. Every refusal of the operating system becomes a ZkitError that names the file and the cause.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zkit.errors import ZkitError, first_line

ROOM = 2**12
"""Bytes that are written to test whether a place can be written to."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file, and make the folders above it that are missing. A text is written in UTF-8.

    Raises ZkitError if the disk is full or the file cannot be written; an old file is then still there.
    """
    try:
        data = content.encode() if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        raise ZkitError(f"{path} cannot be written ({first_line(error)}); write the text again") from error
    with writing(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(data)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """The path of a new file, which replaces ``path`` if the block ends without an exception and is else removed.

    A link is followed; a device or pipe is written to directly. Raises ZkitError if the file cannot be written.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            yield target
            return
        part = _beside(target)
        try:
            yield part
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """A new folder, which replaces ``path`` if the block ends without an exception and is else removed.

    Raises ZkitError if the disk is full or the folder cannot be written; an old folder is then still there.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name[:40]}.", suffix=".part", dir=target.parent) as room:
            new, old = Path(room, "new"), Path(room, "old")
            new.mkdir()
            yield new
            try:
                if target.exists():
                    os.replace(target, old)
                os.replace(new, target)
            except BaseException:
                if old.exists() and not target.exists():
                    os.replace(old, target)
                raise


def check_place(path: str | Path) -> None:
    """Raise ZkitError unless a file can now be written at ``path``; leaves no file behind.

    Call it before a long computation whose result is to be written there.
    """
    with writing(path):
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            os.close(os.open(target, os.O_WRONLY))
        else:
            _probe(target.parent)


def check_folder(path: str | Path) -> None:
    """Raise ZkitError unless files can now be written into the folder ``path``, which need not exist yet."""
    with writing(path):
        _probe(Path(os.path.realpath(path)))


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turn errors of the operating system in the block, which writes at ``path``, into a ZkitError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ZkitError) or not (isinstance(error, OSError) or _code(error)):
            raise
        raise complaint(path, error) from error


def complaint(path: str | Path, error: BaseException) -> ZkitError:
    """The ZkitError for a ``path`` that could not be written."""
    code = _code(error)
    why = os.strerror(code) if code else first_line(error)
    if code in _NO_ROOM:
        return ZkitError(
            f"no room on the disk for {path} ({why}); free some space and try again: nothing was half-written, and "
            "what stood there before still stands"
        )
    return ZkitError(f"{path} cannot be written ({why}): what stood there before still stands; choose another place")


def is_refusal(error: BaseException) -> bool:
    """Whether ``error`` says that the disk is full, or that a place cannot be written to."""
    return _code(error) in (*_NO_ROOM, *_NO_PLACE)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written from a folder to which no process is writing."""
    with writing(folder):
        for part in folder.glob(".*.part"):
            if part.is_dir():  # of :func:`folder`
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)


def _code(error: BaseException) -> int | None:
    """The errno of an error of the operating system, which libraries in Rust give only in the message."""
    if isinstance(error, OSError):
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def _probe(folder: Path) -> None:
    """Write a file in the folder, or in the nearest existing folder above it, and remove it."""
    above = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    probe = _beside(above / "probe")
    try:
        probe.write_bytes(bytes(ROOM))
    finally:
        probe.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")
