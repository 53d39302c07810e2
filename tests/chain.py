"""The chain of checks on notebooks: all chapters executed once on profile smoke, in a throw-away copy of the book;
then nbval on throw-away copies of what was executed, and the book built from it for the browser."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
from papermill.parameterize import parameterize_notebook
from tiny_book import zkit

from zkit.pages import places
from zkit.pages.worker import limited

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = Path(__file__).with_name("sanitize.cfg")
CELL_TIMEOUT = 120
_BOOK = ("notebooks", "book", "_config.yml", "_toc.yml")


@dataclass(frozen=True)
class Made:
    """A copy of the book and the command that was run on it."""

    root: Path
    done: subprocess.CompletedProcess[str]

    @property
    def folder(self) -> Path:
        """The run folder: executed copies, and results in ``results/``."""
        return self.root / "runs" / "smoke-embedded"

    @property
    def html(self) -> Path:
        return self.root / "_build" / "html"


@functools.cache
def smoke_run() -> Made:
    """All chapters, executed on profile smoke and staged; once a session. Look at ``done`` before anything else."""
    root = Path(tempfile.mkdtemp(prefix="zkit-smoke-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name in _BOOK:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("executed", "__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, root / name)
    return Made(root, zkit("book", "--root", root, "--profile", "smoke", "--no-build"))


@functools.cache
def smoke_book() -> Made:
    """The HTML book of :func:`smoke_run`; once a session. Look at ``done`` before anything else."""
    root = smoke_run().root
    return Made(root, zkit("book", "--root", root, "--profile", "smoke"))


def throw_away(executed: Path, folder: Path) -> Path:
    """A copy of an executed notebook in ``folder`` that writes its results there, with the results it reads."""
    notebook = nbformat.read(executed, as_version=4)
    results = folder / "out" / "results"
    shutil.copytree(executed.parent / "results", results)
    (results / f"{executed.stem}.json").unlink(missing_ok=True)
    parameters = dict(notebook.metadata["papermill"]["parameters"]) | {"out": str(folder / "out")}
    copy = folder / executed.name
    nbformat.write(parameterize_notebook(notebook, parameters), copy)
    return copy


def nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    """Run an executed notebook again and compare every output with the one it holds."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", notebook.parent),
            *("--nbval", "--nbval-current-env", "--nbval-sanitize-with", SANITIZE),
            *(f"--nbval-cell-timeout={CELL_TIMEOUT}", notebook),
        ],
        cwd=notebook.parent,
        env=os.environ | limited(1) | {"PYTHONPATH": str(places.PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
