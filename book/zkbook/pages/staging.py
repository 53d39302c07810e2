"""Put one run's executed chapters where the book reads them; refuse any that is not whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zkbook.pages import notebook, prose, provenance, results
from zkbook.pages.places import results_file
from zkbook.pages.sourcebook import Plan
from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import read_text

ERROR_TAG = "papermill-error-cell-tag"


def folder(root: Path) -> Path:
    """Where ``_toc.yml`` points: staged chapters, and their results in ``results/``."""
    return root / "book" / "executed"


def metadata_of(path: Path) -> dict[str, Any] | None:
    """Metadata of a notebook; None if there is none or it cannot be read."""
    try:
        return dict(notebook.read(path)["metadata"])
    except ZkitError:
        return None


def complaint(executed: dict[str, Any]) -> str:
    """Why an executed copy must not go into the book; "" if it may."""
    if executed["metadata"].get("papermill", {}).get("exception"):
        return "its execution failed"
    for cell in executed["cells"]:
        if ERROR_TAG in cell["metadata"].get("tags", []):
            return "its execution failed"
        if cell["cell_type"] == "code" and "".join(cell["source"]).strip() and cell.get("execution_count") is None:
            return "one of its cells was not executed"
    if provenance.read_stamp(executed["metadata"]) is None:
        return "it carries no stamp: its last cell must be chapter.finish()"
    return ""


def stage(plans: Sequence[Plan], root: Path) -> None:
    """Copy the executed chapters of one run, and their results, into the book; remove what no chapter stands for.

    Raises ZkitError, and stages nothing, if a chapter is missing or is not whole, or the disk is full.
    """
    staged = folder(root)
    contents: dict[Path, str] = {}
    for plan in plans:
        remedy = f"run it again: python -m zkit run {plan.clean.path} --force"
        try:
            objection = complaint(notebook.read(plan.executed))
            found = results_file(plan.out, plan.name)
            results.load(found)
            contents[staged / plan.executed.name] = read_text(plan.executed, notebook.LIMIT)
            contents[results_file(staged, plan.name)] = read_text(found)
        except ZkitError as error:
            raise ZkitError(f"{plan.name} cannot go into the book: {error}; or {remedy}") from error
        if objection:
            raise ZkitError(f"{plan.name} cannot go into the book: {objection}; {remedy}")
    for place in (staged, staged / "results"):
        writing.sweep(place)
    for path, text in contents.items():
        if not _same(path, text):
            writing.write(path, text)
    for stray in [*staged.glob("*.ipynb"), *staged.glob("results/*.json")]:
        if stray not in contents:
            stray.unlink()


def why_not_staged(plan: Plan, root: Path) -> list[str]:
    """Why the book does not hold this run's copy of a chapter with its prose of now; [] if it does."""
    if prose.changed(plan.executed, plan.clean.cells):
        return ["its prose changed: `make book` rebuilds the page"]
    try:
        if (folder(root) / plan.executed.name).read_bytes() == plan.executed.read_bytes():
            return []
    except FileNotFoundError:
        pass
    return ["it is not the copy in the book"]


def _same(path: Path, text: str) -> bool:
    """Unchanged files keep their time, so that a build can tell that nothing happened."""
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False
