"""Number the figures of a page in their order, and let ``{ref}`fig-<key>``` refer to one.

A page kept from a real model has the figures of its chapter once more; a reference means the chapter's.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

from zkbook.pages.executions import FIGURE

_NUMBER = '<span class="zk-number"></span>'


def number(app: Sphinx, doctree: nodes.document) -> None:
    """Write "Figure 3. " into captions and register the figures as labels of their page."""
    domain = app.env.get_domain("std")
    count = 0
    for raw in list(doctree.findall(nodes.raw)):
        text = raw.astext()
        found = FIGURE.search(text)
        if not found:
            continue
        count += 1
        title = f"Figure {count}"
        written = text.replace(_NUMBER, f'<span class="zk-number">{title}. </span>', 1)
        raw.replace_self(nodes.raw("", written, **raw.attributes))
        if app.env.docname.startswith("book/field/"):
            continue
        key = found[1]
        domain.anonlabels[key] = app.env.docname, key  # type: ignore[attr-defined]
        domain.labels[key] = app.env.docname, key, title  # type: ignore[attr-defined]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", number)
