"""Roles that docutils gives to bibliography entries and browsers no longer know."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Entries stand in an element of role "list": make them its items."""
    if "body" in context:
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", mend)
