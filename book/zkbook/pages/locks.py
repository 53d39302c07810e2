"""Locks between runs. The operating system holds them for a process, so that none outlives it, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from zkit import writing
from zkit.errors import ZkitError


@contextmanager
def held(file: Path, does: str, remedy: str) -> Iterator[None]:
    """Hold the lock of ``file`` while this process ``does`` ("writes to FOLDER") something.

    Raises ZkitError, which names the process that holds it and since when, if there is one, and if the file cannot be
    written or its disk has no locks.
    """
    with writing.writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("a+", encoding="utf-8", errors="replace")
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            holder = stream.readline(100).strip() or "another process"
            raise ZkitError(f"{holder} {does}; wait for it to end, {remedy}") from error
        except OSError as error:
            raise ZkitError(f"{file} cannot be locked ({error.strerror}); {remedy}") from error
        with writing.writing(file):
            stream.truncate(0)
            stream.write(f"process {os.getpid()} (since {datetime.now():%Y-%m-%d %H:%M:%S})\n")
            stream.flush()
        yield
