"""Run without torch.compile: compiled code may go by every hook of a model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch

from zkit.errors import ZkitError

_lock = Lock()
_open: list[Any] = []
"""Blocks that are open in the process. The switch of torch is one for all threads, so the last block to close puts it
back, whichever thread it runs in."""


@contextmanager
def uncompiled() -> Iterator[None]:
    """Inside the block everything that was compiled runs as plain code, hooks included, at the speed of plain code.

    ZkitError inside a compiled function.
    """
    with _lock:
        try:
            _open.append(torch.compiler.set_stance("force_eager") if not _open else _open[-1])
        except RuntimeError as error:
            raise ZkitError(
                "hooks cannot be put in force inside a function under torch.compile; open the block around its call"
            ) from error
    try:
        yield
    finally:
        with _lock:
            stance = _open.pop()
            if not _open:
                stance.__exit__(None, None, None)
