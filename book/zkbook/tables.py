"""Tables for a page: escaped, with a name, and scrolling by themselves on a narrow screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zkit import foreign
from zkit.errors import ZkitError
from zkit.foreign import Html


def to_html(rows: Sequence[Mapping[str, object]], label: str) -> Html:
    """An HTML table with one row per record and the first record's keys as heads; every cell is escaped but Html.

    ``label`` names the table to a screen reader. On a narrow screen a column keeps a width that can be read. Raises
    ZkitError if there are no rows, the records' keys differ, or the label is empty.
    """
    if not rows or not label.strip():
        raise ZkitError("a table needs at least one row, and a label that says what it shows")
    heads = list(rows[0])
    if any(list(row) != heads for row in rows):
        raise ZkitError(f"every row of the table {label!r} must have the columns {', '.join(heads)}, in this order")
    top = Html().join(Html('<th scope="col">{}</th>').format(head) for head in heads)
    body = Html().join(
        Html("<tr>{}</tr>").format(Html().join(Html('<td dir="auto">{}</td>').format(cell) for cell in row.values()))
        for row in rows
    )
    # The wrapper scrolls on a narrow screen; being focusable lets the keyboard scroll it.
    return Html(
        '<div class="zk-table" style="overflow-x:auto" tabindex="0" role="region" aria-label="{}">'
        '<table class="table" style="min-width:{}em"><thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(label, 9 * len(heads), top, body)


def folded(page: Html, summary: str) -> Html:
    """``page`` behind a line to open it by."""
    return Html("<details><summary>{}</summary>{}</details>").format(summary, page)


def show(rows: Sequence[Mapping[str, object]], label: str, fold: bool = False) -> None:
    """Display the table; with ``fold`` behind its label. Raises as :func:`to_html` does."""
    page = folded(to_html(rows, label), label) if fold else to_html(rows, label)
    foreign.show(page, "\n".join(" | ".join(str(cell) for cell in row.values()) for row in rows))
