"""Pages kept from runs on a real model, in ``book/field/``: what they were run on, and links there and back.

``{zk-kept} <chapter>``  a note: the model, when, and whether the chapter has changed since
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from zkbook.pages import notebook, provenance
from zkbook.site import finding, tables
from zkit.errors import ZkitError
from zkit.foreign import code

FOLDER = "field"
CHANGED = "**The code of the chapter has changed since: these figures are those of an earlier version.**"


def note(book: Path, chapter: str) -> list[str]:
    """The Markdown lines of a kept page's note."""
    stamp = _stamp(book, chapter)
    if stamp is None:
        raise ValueError(f"{chapter} in book/{FOLDER} carries no stamp; keep it again")
    weights = "; ".join(f"{code(model)}, sha256 {code(sha256)}" for model, sha256 in stamp.weights.items())
    weights = weights or code(stamp.parameters.get("model", ""))  # a chapter that sums up others loads no model
    lines = [
        f"This page was kept from a run of {stamp.executed[:10]} on {weights}. Its figures are those of this file and "
        f"of no other model. The same chapter on the embedded model: {{doc}}`/book/executed/{chapter}`."
    ]
    try:
        now = provenance.cells_digest(notebook.read(book.parent / "notebooks" / f"{chapter}.ipynb")["cells"])
    except ZkitError:
        now = ""
    return [":::{note}", *lines, *([] if now == stamp.cells else ["", CHANGED]), ":::"]


def page(book: Path, chapter: str) -> str | None:
    """The model of a chapter's kept page; None if there is no such page."""
    stamp = _stamp(book, chapter)
    return next(iter(stamp.weights), stamp.parameters.get("model")) if stamp else None


def results(book: Path, chapter: str) -> dict[str, Any] | None:
    """Results of a kept page, None if there is none."""
    path = book / FOLDER / "results" / f"{chapter}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def link(app: Sphinx, doctree: nodes.document) -> None:
    """Under the finding of a chapter, or its question, say where it stands on a real model."""
    folder, _, chapter = app.env.docname.rpartition("/")
    model = page(Path(app.srcdir) / "book", chapter) if folder == "book/executed" else None
    asked = finding.question(doctree)
    if model is None or asked is None:
        return
    target = nodes.reference("", "", nodes.literal(text=model), refuri=f"../{FOLDER}/{chapter}.html", internal=True)
    said = nodes.paragraph("", "", nodes.Text("The same chapter on a real model: "), target, nodes.Text("."))
    said["classes"].append("zk-kept")
    asked.parent.insert(asked.parent.index(asked) + 1, said)


def setup(app: Sphinx) -> None:
    directive = type("zk-kept", (tables.Computed,), {"compute": staticmethod(note)})
    app.add_directive("zk-kept", directive)
    app.connect("doctree-read", link, priority=300)  # before the finding moves under the question


def _stamp(book: Path, chapter: str) -> provenance.Stamp | None:
    path = book / FOLDER / f"{chapter}.ipynb"
    return provenance.read_stamp(notebook.read(path)["metadata"]) if path.is_file() else None
