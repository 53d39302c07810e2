"""Tiny books, made in a temporary folder: chapters that need no model, so that the machinery is tested by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat

PARAMETERS = """\
alpha: float = 2.0  # factor on the vector
seed: int = 0  # of every draw
profile: str = "embedded"
out: str = ""
"""


def write_chapter(
    folder: Path,
    name: str,
    *body: str,
    parameters: str | None = PARAMETERS,
    needs: tuple[str, ...] = (),
    wants: tuple[str, ...] = (),
    finish: bool = True,
) -> Path:
    """A clean notebook: parameters, ``begin``, the cells of ``body``, ``finish``."""
    first = [] if parameters is None else [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    begin = f'from zkbook import pages\nchapter = pages.begin("{name}", globals())'
    sources = [begin, *body, *(["chapter.finish()"] if finish else [])]
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(f"# {name}"),
            *first,
            *[nbformat.v4.new_code_cell(source) for source in sources],
        ],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            "zkit": {"needs": list(needs), "wants": list(wants)},
        },
    )
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def make_book(root: Path) -> Path:
    """The frame of a book without chapters; its root."""
    (root / "notebooks").mkdir(parents=True)
    (root / "book").mkdir()
    (root / "book" / "intro.md").write_text("# A tiny book\n\nNothing here.\n")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (root / "_config.yml").write_text(
        'title: Tiny\nauthor: ""\nexecute: {execute_notebooks: "off"}\nonly_build_toc_files: true\n'
    )
    return root


def zkit(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m zkit ...`` as a shell would run it; output captured."""
    env = os.environ | environment
    return subprocess.run(
        [sys.executable, "-m", "zkit", *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True
    )
