"""Context managers whose effects end with their `with` statement, even if a signal interrupts its entry or exit.

Python may raise KeyboardInterrupt between any two instructions: in the middle of ``__enter__``, or before the first
line of ``__exit__``, which then never runs. The deletion of an object cannot be skipped in this way. A `with` statement
looks up the ``__exit__`` of its block before it calls ``__enter__``, holds the only reference to it, and drops the
reference however it ends. Here ``__exit__`` is therefore a new object at each look-up. A block is in force as long as
this object exists, and its deletion undoes what has not been undone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self
from weakref import ref

import torch


class _Exit:
    """The ``__exit__`` of a block: a new object for each `with` statement, which holds the only reference to it."""

    def __get__(self, block: Held | None, kind: type[Held]) -> Callable[..., None]:
        if block is None:  # contextlib.ExitStack looks it up on the class, and passes the block
            return kind._leave
        leave = partial(kind._leave, block)  # no bound method: a traceback would keep alive what its frame holds
        block._next = ref(leave, block._lost)
        return leave


class Held:
    """A block: what :meth:`_open` does is in force only inside a `with` statement.

    :meth:`_close` undoes it. It must work after an :meth:`_open` that was interrupted, and when it is called twice.
    Hooks and other things that act while the block is open check `in_force`, which becomes false without any code being
    run. A block entered by hand (``__enter__()``) or by an ExitStack is in force until its ``__exit__`` is called.
    """

    _held: Callable[[], Any] | None = None
    """Returns the object that holds the block open, or None if it is gone; not set (None) outside of a block."""
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
        """Put the block in force."""

    def _close(self) -> None:
        """Undo :meth:`_open`."""

    def _left(self, kind: type[BaseException] | None) -> None:
        """Called after the block is closed; ``kind`` is the type of the exception that ended it, or None."""

    def _leave(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        self._left(kind)

    def _end(self) -> None:
        self._close()
        self._held = self._next = None  # last, so that an interrupted _close is repeated

    def _lost(self, gone: ref[Any]) -> None:
        """Called when the `with` statement has dropped the block's exit: close the block if the exit did not."""
        if self._held is gone:
            self._end()


class no_grad(Held):
    """``torch.no_grad`` whose exit a signal cannot skip."""

    _before: bool | None = None

    def _open(self) -> None:
        self._before = torch.is_grad_enabled()
        torch.set_grad_enabled(False)

    def _close(self) -> None:
        if self._before is not None:
            torch.set_grad_enabled(self._before)
