"""A progress bar for long calls, shown only if somebody can see it."""

from __future__ import annotations

import sys

from tqdm import tqdm

DELAY = 3.0
"""Seconds before a bar appears."""


def progress(total: float, unit: str, what: str) -> tqdm:
    """A bar on stderr that appears after DELAY seconds and disappears when done; none unless :func:`watched`."""
    return tqdm(
        total=total, unit=unit, desc=what, delay=DELAY, leave=False, disable=not watched(), file=sys.stderr,
        unit_scale=True, dynamic_ncols=True,
    )  # fmt: skip


def watched() -> bool:
    """Whether output to stderr is seen at once: stderr is a terminal, or this is an interactive notebook.

    A notebook that a program executes (papermill, Jupyter Book, nbconvert) would keep the bar in its page. It is
    recognised by its kernel, which then does not allow input.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return sys.stderr is not None and sys.stderr.isatty()
