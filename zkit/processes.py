"""Processes that end together: no child outlives the one that started it, and an interruption is told once."""

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
"""Seconds in which further signals are the same wish: keys are pressed twice, and a group is signalled besides."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A thread that waits for the end of stdin, a pipe that is never written to: it is closed when its writer is gone.
_WATCH = "import os, threading; threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start(); "


@contextmanager
def python(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs ``code``; it ends with the block, and with this process however that ends.

    ``options`` as ``subprocess.Popen`` takes them; stdin is a pipe that must be left open.
    """
    command = [sys.executable, "-c", _WATCH + code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, errors="replace", **options) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                end(process.pid)


def peak_bytes() -> int:
    """The most memory that this process has held so far (resident, without that of graphics processors)."""
    try:
        import resource
    except ImportError:  # Windows, where psutil tells it
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def end(*pids: int) -> None:
    """Kill processes and all that they started, from the top down; one that is gone is passed over."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(pid)
            for process in (top, *top.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def end_all(status: int) -> NoReturn:
    """End this process and all that it started, at once."""
    end(*(child.pid for child in psutil.Process().children()))
    os._exit(status)


def end_with_parent() -> None:
    """To be called first in a worker of ``multiprocessing``: it and all below it end when its parent is gone.

    Ctrl-C, which a terminal sends to every process, is left to the parent.
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
    """Ctrl-C waits until the block ends; processes started in it do not hear it until they ask to."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def interruptible(action: Callable[[], int], words: str) -> int:
    """What ``action`` returns; INTERRUPTED after SIGINT or SIGTERM, when ``words`` have been printed to stderr.

    The first signal raises KeyboardInterrupt in the action. Signals in the GRACE after it change nothing; a later one,
    when something did not let itself be interrupted, ends this process and all below it at once.
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
