"""What a chapter found stands at its top: the cell tagged ``finding``, which runs last, moves under the question."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

TAG = "tag_finding"
_OPEN = '<div class="zk-finding" role="region" aria-label="The finding"><p class="zk-finding-title">The finding</p>'


def move(app: Sphinx, doctree: nodes.document) -> None:
    """Put the cell behind the first paragraph of the page, in a box. Warns where a page has several."""
    found = [node for node in doctree.findall(nodes.container) if TAG in node.get("classes", [])]
    question = next(iter(doctree.findall(nodes.paragraph)), None)
    if not found or question is None:
        return
    if len(found) > 1:
        message = "%s has %d cells tagged finding; a page has one box at its top"
        logging.getLogger(__name__).warning(message, app.env.docname, len(found))
        return
    cell = found[0]
    cell.parent.remove(cell)
    place = question.parent.index(question) + 1
    box = [nodes.raw("", _OPEN, format="html"), cell, nodes.raw("", "</div>", format="html")]
    question.parent.children[place:place] = box
    for node in box:
        node.parent = question.parent


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", move, priority=400)  # before figures are numbered in the order of the page
