"""Processes that end together: no child outlives its parent, and an interruption is reported once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

import psutil

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""
GRACE = 3.0
"""Seconds after a signal in which further ones are ignored, such as a second Ctrl-C or one to the process group."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A thread that exits at the end of stdin: a pipe that is never written to, and is closed when the parent is gone.
_WATCH = "import os, threading; threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "


@contextmanager
def python(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs ``code``. It ends with the block, and also when this process ends in any way.

    ``options`` are those of ``subprocess.Popen``; stdin is a pipe that must be left open.
    """
    command = [sys.executable, "-c", _WATCH + code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, errors="replace", **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                end(process.pid)


def peak_bytes() -> int:
    """Peak resident memory of this process so far, in bytes, without GPU memory."""
    try:
        import resource
    except ImportError:  # Windows, where psutil has it
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def end(*pids: int) -> None:
    """Kill processes and all their descendants, parents first; processes that are gone are skipped."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            for process in (top, *top.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def end_all(status: int) -> NoReturn:
    """Kill all descendants of this process and exit at once with ``status``."""
    end(*(child.pid for child in psutil.Process().children()))
    os._exit(status)


def end_with_parent() -> None:
    """Call this first in a worker of ``multiprocessing``: it and its descendants then end when its parent ends.

    Ctrl-C, which a terminal sends to every process, is ignored here and handled by the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            end_all(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def deaf() -> Iterator[None]:
    """Delay Ctrl-C until the block ends. Processes started in the block do not receive it until they unblock it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def interruptible(action: Callable[[], int], words: str) -> int:
    """Run ``action``; returns its result, or after SIGINT or SIGTERM prints ``words`` to stderr, returns INTERRUPTED.

    The first signal raises KeyboardInterrupt in the action. Signals within GRACE seconds after it are ignored. A later
    signal, for the case that the action does not stop, ends this process and its descendants at once.
    """
    asked = 0.0

    def hear(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if not asked:
            asked = time.monotonic()
            raise KeyboardInterrupt
        if time.monotonic() - asked > GRACE:
            os.write(2, f"{words}\n".encode())
            end_all(INTERRUPTED)

    before: dict[signal.Signals, Any] = {number: signal.signal(number, hear) for number in _SIGNALS}
    try:
        return action()
    except KeyboardInterrupt:
        if asked:  # another signal must not break the interpreter's shutdown
            before = dict.fromkeys(_SIGNALS, signal.SIG_IGN)
        print(words, file=sys.stderr)
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
