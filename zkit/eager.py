"""Run without torch.compile, because compiled code may bypass the hooks of a model."""

from __future__ import annotations

from threading import RLock
from typing import Any

import torch

from zkit.errors import ZkitError
from zkit.held import Held

_lock = RLock()
_open: set[Held] = set()
"""The blocks in this process that need uncompiled code."""
_switch: list[Any] = []
"""The context of ``torch.compiler.set_stance`` while it is on, else empty. The stance is the same for all threads, so
the last block that closes restores it, in whichever thread it runs."""


def begin(block: Held) -> None:
    """Run compiled functions as uncompiled code, with their hooks, until :func:`end`; this is slower.

    Raises ZkitError inside a compiled function.
    """
    _open.add(block)
    _locked_settle()


def end(block: Held) -> None:
    """The block no longer needs uncompiled code. It need not have begun."""
    _open.discard(block)
    _locked_settle()


def _locked_settle() -> None:
    # On one line, so that no interruption can fall between the call and the release of the lock.
    with _lock: _settle()  # noqa: E701  # fmt: skip


def _settle() -> None:
    """Turn the stance on or off as the open blocks require, whatever state an interruption has left."""
    _open.difference_update([block for block in list(_open) if not block.in_force])
    if _open and _switch in ([], [None]):
        _switch[:] = [None]  # noted first: an interruption may fall between the call and the assignment
        try:
            _switch[0] = torch.compiler.set_stance("force_eager")
        except RuntimeError as error:
            _switch.clear()
            raise ZkitError(
                "hooks cannot be put in force inside a function under torch.compile; open the block around its call"
            ) from error
    elif not _open and _switch:
        if _switch[0] is None:
            torch.compiler.set_stance("default")
        else:
            _switch[0].__exit__(None, None, None)
        _switch.clear()
