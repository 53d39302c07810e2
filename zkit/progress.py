"""A bar with the time left for calls that last, where somebody watches."""

from __future__ import annotations

import sys

from tqdm import tqdm

DELAY = 3.0
"""Seconds before a bar appears."""


def progress(total: float, unit: str, what: str) -> tqdm:
    """A bar on stderr that appears after DELAY seconds and goes when it is done; none where nobody is watching."""
    return tqdm(
        total=total, unit=unit, desc=what, delay=DELAY, leave=False, disable=not watched(), file=sys.stderr,
        unit_scale=True, dynamic_ncols=True,
    )  # fmt: skip


def watched() -> bool:
    """Whether somebody looks on: stderr is a terminal, or the notebook is open before a person.

    A notebook that a program executes (papermill, Jupyter Book, nbconvert) keeps all that is written to stderr in its
    page; there nobody can answer a question either, which is what the kernel knows.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    kernel = getattr(shell, "kernel", None)
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return sys.stderr is not None and sys.stderr.isatty()
