"""Tables for a page: escaped, with a name, and scrolling by themselves on a narrow screen."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from zkit.errors import ZkitError


def to_html(rows: Sequence[Mapping[str, object]], label: str) -> str:
    """An HTML table with one row per record and the first record's keys as heads; every cell is escaped.

    ``label`` names the table to a screen reader. Raises ZkitError if there are no rows, the records' keys differ, or
    the label is empty.
    """
    if not rows or not label.strip():
        raise ZkitError("a table needs at least one row, and a label that says what it shows")
    heads = list(rows[0])
    if any(list(row) != heads for row in rows):
        raise ZkitError(f"every row of the table {label!r} must have the columns {', '.join(heads)}, in this order")
    return raw(
        [html.escape(head) for head in heads],
        [[html.escape(str(cell)) for cell in row.values()] for row in rows],
        label,
    )


def raw(heads: Sequence[str], rows: Sequence[Sequence[str]], label: str) -> str:
    """The same of cells that are HTML already. On a narrow screen a column keeps a width that can be read."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join("<tr>" + "".join(f'<td dir="auto">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    # The wrapper scrolls on a narrow screen; being focusable lets the keyboard scroll it.
    width = f"min-width:{9 * len(heads)}em"
    return (
        f'<div class="zk-table" style="overflow-x:auto" tabindex="0" role="region" aria-label="{html.escape(label)}">'
        f'<table class="table" style="{width}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def show(rows: Sequence[Mapping[str, object]], label: str) -> None:
    """Display the table. Raises as :func:`to_html` does."""
    from IPython.display import display

    plain = "\n".join(" | ".join(str(cell) for cell in row.values()) for row in rows)
    display({"text/html": to_html(rows, label), "text/plain": plain}, raw=True)
