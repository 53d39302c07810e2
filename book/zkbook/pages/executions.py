"""What the executed copy of a chapter says of its execution: how long, how much memory, where its finding is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from zkbook.pages import notebook, provenance
from zkit.errors import ZkitError

FIGURE = re.compile(r'<figure class="zk-figure[^"]*" id="(fig-[a-z0-9-]+)">')


@dataclass(frozen=True)
class Execution:
    """seconds: wall time of the cells. peak_bytes: the most memory that the kernel held, 0 where nobody looked.

    figure: the id of the figure of the finding on the chapter's page, or of its first figure; "" if there is none.
    """

    seconds: float
    peak_bytes: int
    figure: str


def seconds(executed: Path) -> float | None:
    """Wall time of the cells of an executed copy; None if there is no whole copy that says it."""
    try:
        copy = notebook.read(executed) if executed.is_file() else None
    except ZkitError:
        return None
    found = copy["metadata"].get("papermill", {}).get("duration") if copy else None
    return float(found) if isinstance(found, int | float) else None


def read(folder: Path, chapter: str) -> Execution | None:
    """That of a chapter in a run folder or among the pages that the book keeps; None if no whole copy is there."""
    path = folder / f"{chapter}.ipynb"
    try:
        copy = notebook.read(path) if path.is_file() else None
    except ZkitError:
        return None
    stamp = provenance.read_stamp(copy["metadata"]) if copy else None
    seconds = copy["metadata"].get("papermill", {}).get("duration") if copy else None
    if copy is None or stamp is None or not isinstance(seconds, int | float):
        return None
    finding = [cell for cell in copy["cells"] if "finding" in provenance.tags(cell)]
    shown = (str(cell.get("outputs")) for cell in finding or copy["cells"])
    found = next((match[1] for match in map(FIGURE.search, shown) if match), "")
    return Execution(float(seconds), stamp.peak_bytes, found)
