"""Run without torch.compile: compiled code may go by every hook of a model."""

from __future__ import annotations

from threading import RLock
from typing import Any

import torch

from zkit.errors import ZkitError
from zkit.held import Held

_lock = RLock()
_open: set[Held] = set()
"""Blocks in the process that need plain code."""
_switch: list[Any] = []
"""The switch of torch while it is on. It is one for all threads, so the last block to close puts it back, whichever
thread it runs in."""


def begin(block: Held) -> None:
    """Until :func:`end` everything that was compiled runs as plain code, hooks included, at the speed of plain code.

    ZkitError inside a compiled function.
    """
    _open.add(block)
    _locked_settle()


def end(block: Held) -> None:
    """The block no longer needs it; nor does one that was never begun."""
    _open.discard(block)
    _locked_settle()


def _locked_settle() -> None:
    # On one line: between a statement inside and the release there is no place for an interruption.
    with _lock: _settle()  # noqa: E701  # fmt: skip


def _settle() -> None:
    """Bring the switch to where it belongs, wherever an interruption may have left it."""
    _open.difference_update([block for block in list(_open) if not block.in_force])
    if _open and _switch in ([], [None]):
        _switch[:] = [None]  # noted first: the switch may be on and not yet in hand
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
