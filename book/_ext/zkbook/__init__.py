"""The book's side of Sphinx: what is computed at build time, and what keeps pages free of other hosts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import vendor

from zkbook import finding, folds, gallery, kept, ledger, markup, numbers, scripts, tables


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", lambda *_: vendor.vendor())
    for part in (scripts, finding, folds, numbers, tables, kept, ledger, gallery, markup):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
