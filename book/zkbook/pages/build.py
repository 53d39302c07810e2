"""Build the HTML from staged chapters and prose; the last good build stands until a new one is whole."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zkit import processes, writing
from zkit.errors import ZkitError
from zkit.yaml_files import read_yaml

_TOOLS = ("jupyter-book", "sphinx", "myst-nb", "plotly", "sphinx-mathjax-offline")
_ENTRY = "from jupyter_book.cli.main import main; main()"


def html(root: Path) -> Path:
    return root / "_build" / "html"


def build(root: Path) -> bool:
    """Build ``_build/html``, warnings being errors; False if nothing changed since the last build.

    Always all pages: a page cites figures of others, and Sphinx does not see that it must be built again with them.

    Raises ZkitError if the build fails, warns or leaves out a page; its messages have then been printed.
    """
    inputs = fingerprint(root)
    mark = root / "_build" / "fingerprint"
    if mark.is_file() and mark.read_bytes() == inputs.encode() and not _missing(root, html(root)):
        return False
    room, last = root / "_build" / "next", _last(root)
    shutil.rmtree(room, ignore_errors=True)
    if last.exists() and not html(root).exists():  # a build was killed while it put the new one in the place of the old
        os.replace(last, html(root))
    try:
        with writing.writing(room):
            room.mkdir(parents=True)
        _sphinx(root, room)
        fresh = room / "_build" / "html"
        missing = _missing(root, fresh)
        if missing:
            raise ZkitError(f"the build made no {', '.join(missing)}; see the messages above")
        _replace(fresh, html(root), last, mark)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    writing.write(mark, inputs)
    return True


def _last(root: Path) -> Path:
    return root / "_build" / "last"


def fingerprint(root: Path) -> str:
    """Hash of everything that a build reads: configuration, pages, assets, extension, staged chapters, tools."""
    digest = hashlib.sha256()
    try:
        tools = [f"{tool} {importlib.metadata.version(tool)}\n" for tool in _TOOLS]
    except importlib.metadata.PackageNotFoundError as error:
        raise ZkitError(f"{error.name} is not installed; pip install -r requirements.txt brings it") from error
    digest.update("".join(tools).encode())
    for file in _sources(root):
        digest.update(f"{file.relative_to(root)}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _sources(root: Path) -> list[Path]:
    """Files under book/, listed pages elsewhere, configuration, and the embedded model's card.

    Not the scripts that the build itself puts there: they are those of the tools.
    """
    found = {file for file in (root / "book").rglob("*") if not {"__pycache__", "vendor"} & {*file.parts}}
    for page in _files(_contents(root)):
        found |= {root / f"{page}{suffix}" for suffix in ("", ".md", ".ipynb")}
    found |= {root / "_config.yml", root / "_toc.yml", *(root / "zkit" / "embedded" / "weights").glob("*.json")}
    return sorted(file for file in found if file.is_file())


def _sphinx(root: Path, room: Path) -> None:
    arguments = ["build", str(root), "--path-output", str(room), "--all", "-n", "-W", "--keep-going", "-q"]
    full = False
    with tempfile.TemporaryFile("w+") as chatter:  # jupyter-book's own; Sphinx's warnings and errors are on stderr
        with processes.python(_ENTRY, *arguments, stdout=chatter, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for line in process.stderr:
                full = full or "No space left on device" in line
                sys.stderr.write(line)
            status = process.wait()
        if status:
            chatter.seek(0)
            sys.stderr.write(chatter.read())
    if full:
        raise ZkitError("no room on the disk for the book; free some space and give the same command again")
    if status:
        raise ZkitError("the book was not built: see the messages above; the last good build still stands")


def _replace(fresh: Path, built: Path, last: Path, mark: Path) -> None:
    """Put a whole new build in the place of the old; in between, no fingerprint vouches for it."""
    with writing.writing(built):
        mark.unlink(missing_ok=True)
        if built.exists():
            shutil.rmtree(last, ignore_errors=True)
            os.replace(built, last)
        os.replace(fresh, built)
        shutil.rmtree(last, ignore_errors=True)


def _missing(root: Path, built: Path) -> list[str]:
    """Pages of the table of contents that were not built. jupyter-book 2 builds none and calls that a success."""
    pages = [f"{page.removesuffix('.md').removesuffix('.ipynb')}.html" for page in _files(_contents(root))]
    return [page for page in ["index.html", *pages] if not (built / page).is_file()]


def _contents(root: Path) -> Any:
    return read_yaml(root / "_toc.yml")


def _files(entry: Any) -> Iterator[str]:
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("file", "root"):
                yield str(value)
            else:
                yield from _files(value)
    elif isinstance(entry, list):
        for item in entry:
            yield from _files(item)
