"""Which scripts a page gets: plotly where there is a plot, nothing twice, nothing of thebe.

sphinx-thebe cannot be left out of jupyter-book; it puts an inline script with a constant on every page twice, which
is an error in every console, and serves a feature that needs another host.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PLOTS = ('class="zk-plot"', 'class="zk-plotly"')


def select(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is not None and has_plot(doctree):
        app.add_js_file("vendor/plotly.min.js", loading_method="defer")
    # Reassigned, not edited: the list is shared between pages.
    context["script_files"] = without_repeats(context["script_files"])
    context["css_files"] = [file for file in context["css_files"] if "thebe" not in str(file)]


def has_plot(doctree: nodes.document) -> bool:
    return any(mark in raw.astext() for raw in doctree.findall(nodes.raw) for mark in PLOTS)


def without_repeats(scripts: list[Any]) -> list[Any]:
    kept: dict[str, Any] = {}
    for script in scripts:
        body = getattr(script, "attributes", {}).get("body") or ""
        name = body or str(getattr(script, "filename", None) or script)
        if "thebe" not in name.lower():
            kept.setdefault(name, script)
    return list(kept.values())


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", select, priority=9999)
