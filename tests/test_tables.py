"""Tables on a page: nothing in a cell becomes markup, and what cannot be read is refused."""

import pytest

from zkbook import tables
from zkit.errors import ZkitError


def test_cells_and_heads_are_escaped():
    page = tables.to_html([{"a <b>": "<script>alert(1)</script>", "n": 3}], 'what "it" shows')
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "a &lt;b&gt;" in page and "&quot;it&quot;" in page
    assert '<td dir="auto">3</td>' in page


def test_a_table_needs_rows_a_label_and_the_same_columns():
    for rows, label in (([], "label"), ([{"a": 1}], " "), ([{"a": 1}, {"b": 1}], "label")):
        with pytest.raises(ZkitError):
            tables.to_html(rows, label)
