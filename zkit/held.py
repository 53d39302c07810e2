"""Context managers whose effects end with their `with` statement, wherever a signal or another thing strikes.

Python may raise KeyboardInterrupt between any two instructions: inside an entry that has done half its work, and before
the first line of an exit, which then never runs. What cannot be missed is the end of an object's life. A `with`
statement takes the exit of its block before it enters it, keeps it to itself, and lets go of it however it ends. So a
block is in force exactly as long as that exit exists, and what is left to undo then is undone as it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self
from weakref import ref

import torch


class _Exit:
    """The exit of a block: a new object for each `with` statement that asks, which alone holds it."""

    def __get__(self, block: Held | None, kind: type[Held]) -> Callable[..., None]:
        if block is None:  # contextlib.ExitStack takes the function, and the block
            return kind._leave
        leave = partial(kind._leave, block)  # not a method: a traceback keeps what the frames of its functions hold
        block._next = ref(leave, block._lost)
        return leave


class Held:
    """What :meth:`_open` does holds inside a `with` statement, and nowhere else.

    :meth:`_close` undoes it: whatever part of it was done, and as often as it is called. What acts while the block is
    open asks for `in_force`, which needs nothing to be run to become false. Entered by hand (``__enter__()``) or by an
    ExitStack, a block is in force until its exit is called.
    """

    _held: Callable[[], Any] | None = None
    """Says what holds the block open, or None if nothing does any more; itself None outside of a block."""
    _next: ref[Any] | None = None

    __exit__ = _Exit()

    @property
    def in_force(self) -> bool:
        held = self._held
        return held is not None and held() is not None

    def __enter__(self) -> Self:
        try:
            waiting = self._next is not None and self._next() is not None
            self._held = self._next if waiting else object  # by hand: always there
            self._open()
            return self
        except BaseException:
            self._end()
            raise

    def _open(self) -> None:
        """What the block does."""

    def _close(self) -> None:
        """Undo it."""

    def _left(self, kind: type[BaseException] | None) -> None:
        """What follows once the block is closed; ``kind`` is that of the exception that ended it."""

    def _leave(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        self._left(kind)

    def _end(self) -> None:
        self._close()
        self._held = self._next = None  # last: until then the work is to be done

    def _lost(self, gone: ref[Any]) -> None:
        """The `with` statement let go of the block's exit; there is nothing to do if that was run to its end."""
        if self._held is gone:
            self._end()


class no_grad(Held):
    """``torch.no_grad``, whose exit a signal cannot skip."""

    _before: bool | None = None

    def _open(self) -> None:
        self._before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)

    def _close(self) -> None:
        if self._before is not None:
            torch.set_grad_enabled(self._before)
