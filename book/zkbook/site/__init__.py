"""The book's side of Sphinx: what is computed at build time, and what keeps pages free of other hosts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from zkbook.site import finding, folds, gallery, kept, ledger, markup, numbers, scripts, tables, vendor


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", lambda app, _: vendor.vendor(vendor.place(Path(app.srcdir))))
    for part in (scripts, finding, folds, numbers, tables, kept, ledger, gallery, markup):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
