"""New prose in an executed copy: its text cells become those of the clean notebook, its code and outputs stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zkbook.pages import notebook
from zkbook.pages.parameters import text
from zkbook.pages.provenance import INJECTED, cells_digest, tags
from zkit import writing
from zkit.errors import ZkitError, first_line

Cell = Mapping[str, Any]


def changed(executed: Path, cells: Sequence[Cell]) -> bool:
    """Whether the text cells of an executed copy, or their places between its code cells, are not those of ``cells``.

    False for a copy that cannot be read.
    """
    try:
        found = notebook.read(executed)["cells"]
    except ZkitError:
        return False
    return _layout(found) != _layout(cells)


def refresh(executed: Path, cells: Sequence[Cell]) -> bool:
    """Give an executed copy the text cells of ``cells``, whose code it must have; False if it has them already.

    Raises ZkitError if somebody edited the code of the copy, and if the disk is full; the older copy then stands.
    """
    if not changed(executed, cells):
        return False
    import nbformat

    try:
        copy = nbformat.read(executed, as_version=4)
    except Exception as error:  # a damaged notebook makes it raise all kinds
        raise ZkitError(f"{executed} is damaged ({first_line(error)}); delete it and run it again") from error
    if cells_digest(cell for cell in copy.cells if INJECTED not in tags(cell)) != cells_digest(cells):
        raise ZkitError(f"{executed} was edited: its code is not that of its notebook; delete it and run it again")
    runs = _runs(copy.cells)
    merged = runs.pop(0)
    for cell in cells:
        if _is_code(cell):
            merged += runs.pop(0)
        else:
            merged.append(nbformat.from_dict({**cell, "source": text(cell["source"])}))
    copy.cells = merged
    try:
        whole = nbformat.writes(copy)
    except Exception as error:
        raise ZkitError(f"{executed} is damaged ({first_line(error)}); delete it and run it again") from error
    writing.write(executed, whole)
    return True


def _is_code(cell: Cell) -> bool:
    return cell["cell_type"] == "code" and INJECTED not in tags(cell)


def _runs(cells: Sequence[Cell]) -> list[list[Any]]:
    """What papermill put before the first code cell, then each code cell with what papermill put after it."""
    runs: list[list[Any]] = [[]]
    for cell in cells:
        if _is_code(cell):
            runs.append([cell])
        elif INJECTED in tags(cell):
            runs[-1].append(cell)
    return runs


def _layout(cells: Sequence[Cell]) -> list[Any]:
    """Text cells by kind, source, tags and attachments; code cells only by their places."""
    return [
        None
        if _is_code(cell)
        else [cell["cell_type"], text(cell["source"]), sorted(tags(cell)), cell.get("attachments", {})]
        for cell in cells
        if INJECTED not in tags(cell)
    ]
