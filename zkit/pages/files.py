"""Files that are whole or not there."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zkit.errors import ZkitError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
)


def write(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` by way of a temporary file beside it: after any failure the old file stands.

    Raises ZkitError if the disk is full or the folder cannot be written to.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(content)
            os.chmod(name, 0o644)  # mkstemp makes files that only their owner can read
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write at ``path`` into a message with the remedy."""
    try:
        yield
    except OSError as error:
        if no_room(error):
            raise ZkitError(
                f"no room on the disk while writing {path}: nothing was half-written; free some space "
                "and give the same command again, finished chapters are kept"
            ) from error
        if error.errno in _NO_PLACE:
            raise ZkitError(
                f"{path} cannot be written: {error.strerror}; choose another folder with -p out=FOLDER"
            ) from error
        raise


def no_room(error: BaseException | None) -> bool:
    """Whether ``error`` is a full disk, a quota or a limit on the size of files."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM
