"""Where things are: the book's root, run folders, results. Nothing here depends on the working directory."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zkit
from zkit.errors import ZkitError

CHECKOUT = Path(__file__).resolve().parents[3]
"""The repository that this package is part of."""
PACKAGES = {"zkit": Path(zkit.__file__).parent, "zkbook": Path(__file__).parents[1]}
"""The library and the book's own package: their folders."""
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?")


def is_root(folder: Path) -> bool:
    """A book's root holds ``notebooks/`` and a table of contents."""
    return (folder / "notebooks").is_dir() and (folder / "_toc.yml").is_file()


def root_of(notebook: Path) -> Path | None:
    """The root of the book that a notebook belongs to, or None for a notebook of its own."""
    return next((folder for folder in notebook.resolve().parents if is_root(folder)), None)


def book_root(given: str | Path | None = None) -> Path:
    """The book to build: ``given``, else the checkout that this package is part of.

    Raises ZkitError if that is no book.
    """
    folder = CHECKOUT if given is None else Path(given).expanduser().resolve()
    if is_root(folder):
        return folder
    what = "zkit is installed without its book" if given is None else f"{folder} holds no book"
    raise ZkitError(f"{what}; give the folder that holds notebooks/ and _toc.yml with --root")


def from_root(path: str) -> str:
    """A path inside the checkout as seen from its root, which is the same on every machine; any other as it is."""
    root = CHECKOUT
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def folder_of(chapter: str) -> Path:
    """The folder of a notebook that is being run: that of the book's chapters, or else the kernel's."""
    folder = CHECKOUT / "notebooks"
    return folder if (folder / f"{chapter}.ipynb").is_file() else Path.cwd()


def chapters(root: Path) -> list[Path]:
    """The clean chapters, in order of their numbers."""
    return sorted(path for path in (root / "notebooks").glob("*.ipynb"))


def run_folder(notebook: Path, profile: str, model: str) -> Path:
    """``runs/<profile>-<model>`` in the book's root, or beside a notebook that belongs to no book.

    Every model has a folder of its own: a hub id ``org/name`` is ``org--name``, a path its last name and a hash.
    """
    return (root_of(notebook) or notebook.resolve().parent) / "runs" / f"{profile}-{_named(model)}"


def local_folder() -> Path:
    """Where a chapter leaves its results when no ``out`` is given (Jupyter, plain papermill).

    ``runs/local`` of the checkout; for an installed zkit ``zkit/runs/local`` in the user's data folder
    (``$XDG_DATA_HOME``, by default ``~/.local/share``).
    """
    if is_root(CHECKOUT):
        return CHECKOUT / "runs" / "local"
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "zkit" / "runs" / "local"


def out_folder(out: str) -> Path:
    """The folder that parameter ``out`` means. Raises ZkitError for a relative path: relative to what, varies."""
    if not out:
        return local_folder()
    folder = Path(os.path.expanduser(out))
    if not folder.is_absolute():
        raise ZkitError(f'out = {out!r} must be an absolute path (or "" for {local_folder()})')
    return folder


def _named(model: str) -> str:
    """A model's name as part of a file name, another one for every other model."""
    if _HUB_ID.fullmatch(model) and "--" not in model:
        return model.replace("/", "--")
    last = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").rsplit("/", 1)[-1])[:60].strip("-")
    return f"{last or 'model'}@{hashlib.sha256(model.encode()).hexdigest()[:10]}"


def results_file(out: Path, chapter: str) -> Path:
    return out / "results" / f"{chapter}.json"


def command(chapter: str, parameters: Mapping[str, Any], out: Path) -> str:
    """The command that makes the results of ``chapter`` in ``out``."""
    words = ["python", "-m", "zkit", "run", f"notebooks/{chapter}.ipynb"]
    profile, model = parameters.get("profile", "embedded"), parameters.get("model", "embedded")
    words += ["--profile", profile] * (profile != "embedded")
    words += ["--model", model] * (model != "embedded")
    if out != run_folder(CHECKOUT / "notebooks" / chapter, profile, model):
        words += ["-p", f"out={out}"]
    return shlex.join(words)
