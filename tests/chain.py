"""The chain of checks on notebooks: all chapters executed once on profile smoke, in a throw-away copy of the book;
then nbval on throw-away copies of what was executed, and the book built from it for the browser."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
from filelock import FileLock
from papermill.parameterize import parameterize_notebook
from tiny_book import zkit

from zkbook.pages import places
from zkbook.pages.worker import limited
from zkit import sources

ROOT = Path(__file__).resolve().parent.parent
SANITIZE = Path(__file__).with_name("sanitize.cfg")
CELL_TIMEOUT = 120
SHARED = "ZKIT_TESTS_FOLDER"
"""Environment variable: the folder of a test run, which conftest.py makes and takes away."""
_BOOK = ("notebooks", "book", "_config.yml", "_toc.yml")


@dataclass(frozen=True)
class Made:
    """A copy of the book and the command that was run on it."""

    root: Path
    done: subprocess.CompletedProcess[str]
    folder: Path
    """The run folder: executed copies, and results in ``results/``."""

    @property
    def html(self) -> Path:
        return self.root / "_build" / "html"


def _room(name: str) -> Path:
    """A folder that is gone when the test run ends."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ[SHARED]))


def _once(name: str, make: Callable[[], Made]) -> Made:
    """What ``make`` gives, made by the first process of a test run that asks; the others wait for it."""
    kept = Path(os.environ[SHARED]) / f"{name}.pickle"
    with FileLock(kept.with_suffix(".lock")):
        if not kept.is_file():
            kept.write_bytes(pickle.dumps(make()))
        return pickle.loads(kept.read_bytes())


def _run(model: str) -> Made:
    root = _room("smoke")
    for name in _BOOK:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("executed", "__pycache__", ".ipynb_checkpoints")
            shutil.copytree(ROOT / name, root / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, root / name)
    done = zkit("book", "--root", root, "--profile", "smoke", "--model", model, "--no-build")
    return Made(root, done, places.run_folder(root / "notebooks" / "any.ipynb", "smoke", model))


@functools.cache
def smoke_run() -> Made:
    """All chapters, executed on profile smoke and staged. Look at ``done`` before anything else."""
    return _once("smoke", lambda: _run("embedded"))


@functools.cache
def another_run() -> Made:
    """The same on the embedded weights in a folder of another name: a model about which nothing special is known."""
    return _once("another", lambda: _run(_another()))


def _another() -> str:
    return str(shutil.copytree(sources.resolve("embedded").folder(), _room("another") / "another"))


@functools.cache
def smoke_book() -> Made:
    """The HTML book of :func:`smoke_run`. Look at ``done`` before anything else."""
    made = smoke_run()
    return _once("book", lambda: replace(made, done=zkit("book", "--root", made.root, "--profile", "smoke")))


def throw_away(executed: Path, folder: Path) -> Path:
    """A copy of an executed notebook in ``folder`` that writes its results there, with what it reads of others."""
    notebook = nbformat.read(executed, as_version=4)
    results = folder / "out" / "results"
    shutil.copytree(executed.parent / "results", results)
    (results / f"{executed.stem}.json").unlink(missing_ok=True)
    for other in executed.parent.glob("*.ipynb"):
        (folder / "out" / other.name).symlink_to(other)
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
        env=os.environ | limited(1),
        capture_output=True,
        text=True,
    )
