"""A folded cell says what it holds: the first line of its code, ``# Code: Figure 2``, is the name of the fold."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

OPENING = "# Code: "
_UNNAMED = ' aria-label="Toggle hidden content"'


def name(app: Sphinx, doctree: nodes.document) -> None:
    """Give every folded cell whose code begins with OPENING its name."""
    for cell in doctree.findall(nodes.container):
        code = next(iter(cell.findall(nodes.literal_block)), None) if cell.get("hide_mode") else None
        first = code.astext().partition("\n")[0] if code else ""
        if first.startswith(OPENING):
            cell["prompt_show"] = cell["prompt_hide"] = first.removeprefix("# ")


def speak(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Let a screen reader say the name in place of the label that all folds share."""
    if "body" in context:
        context["body"] = context["body"].replace(_UNNAMED, "")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", name)
    app.connect("html-page-context", speak)
