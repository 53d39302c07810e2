"""What a chapter found stands at its top: the cell tagged ``finding``, which runs last, moves under the question."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

TAG = "tag_finding"
_OPEN = '<div class="zk-finding" role="region" aria-label="The finding"><p class="zk-finding-title">The finding</p>'


def question(doctree: nodes.document) -> nodes.paragraph | None:
    """The first paragraph of the page's text; those of a notebook's metadata come before and are no text."""
    return next((p for p in doctree.findall(nodes.paragraph) if isinstance(p.parent, nodes.section)), None)


def move(app: Sphinx, doctree: nodes.document) -> None:
    """Put the cell behind the first paragraph of the page, in a box. Warns of several cells, and of no paragraph."""
    found = [node for node in doctree.findall(nodes.container) if TAG in node.get("classes", [])]
    asked = question(doctree)
    if not found:
        return
    if len(found) > 1 or asked is None:
        message = "%s has %d cells tagged finding, and %s for a box to stand under; a page has one of each"
        logging.getLogger(__name__).warning(message, app.env.docname, len(found), "a paragraph" if asked else "nothing")
        return
    cell = found[0]
    cell.parent.remove(cell)
    place = asked.parent.index(asked) + 1
    box = [nodes.raw("", _OPEN, format="html"), cell, nodes.raw("", "</div>", format="html")]
    asked.parent.children[place:place] = box
    for node in box:
        node.parent = asked.parent


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", move, priority=400)  # before figures are numbered in the order of the page
