"""Links inside the built book: every page, file and anchor they name is there. Needs no browser and no network."""

import functools
import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chain
import pytest
from visit import pages

from zkbook.pages import places

OWN = [*pages(), "genindex.html", "search.html"]
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


class Links(HTMLParser):
    """Addresses a page links to, those it loads, and the anchors it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.linked: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag == "a" and values.get("href"):
            self.linked.append(values["href"])
        if tag in LOADED and values.get(LOADED[tag]) and values.get("rel") not in ("index", "search", "next", "prev"):
            self.loaded.append(values[LOADED[tag]])


@functools.cache
def links_of(path: Path) -> Links:
    return Links(path)


def leads_somewhere(address: str, page: Path, root: Path) -> bool:
    parts = urlsplit(address)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(root.resolve()) or not target.is_file():
        return False
    return not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in links_of(target).anchors


@pytest.mark.parametrize("path", OWN)
def test_links_lead_somewhere(built_book, path):
    links = links_of(built_book / path)
    addresses = links.linked + links.loaded
    assert addresses
    assert [a for a in addresses if not leads_somewhere(a, built_book / path, built_book)] == []


def test_index_leads_to_the_first_page(built_book):
    assert f'url={pages()[0]}"' in (built_book / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", OWN)
def test_nothing_is_loaded_from_another_host(built_book, path):
    assert [address for address in Links(built_book / path).loaded if urlsplit(address).netloc] == []


@pytest.mark.parametrize("path", pages())
def test_plotly_is_loaded_exactly_where_there_is_a_plot(built_book, path):
    text = (built_book / path).read_text(encoding="utf-8")
    has_plot = 'class="zk-plot"' in text or 'class="zk-plotly"' in text
    assert ("plotly.min.js" in text) == has_plot
    assert text.count("plotly.min.js") <= 1


def tagged(tag):
    """Chapters with a cell of this tag."""
    found = ((path.stem, json.loads(path.read_text(encoding="utf-8"))["cells"]) for path in places.chapters(chain.ROOT))
    return [name for name, cells in found if any(tag in cell["metadata"].get("tags", []) for cell in cells)]


@pytest.mark.parametrize("name", tagged("finding"))
def test_the_finding_stands_under_the_question(built_book, name):
    page = (built_book / "book" / "executed" / f"{name}.html").read_text(encoding="utf-8")
    assert page.count('class="zk-finding"') == 1
    article = page.index("<article")
    assert article < page.index('class="zk-finding"') < page.index("<h2>", article)


@pytest.mark.parametrize("name", tagged("finding"))
def test_folds_have_names(built_book, name):
    page = (built_book / "book" / "executed" / f"{name}.html").read_text(encoding="utf-8")
    assert '<p class="collapsed admonition-title">Code: the finding</p>' in page
    assert page.count("Show code cell source") <= 2  # what opens and what closes a chapter
    assert "Toggle hidden content" not in page  # a label that would hide the names from a screen reader
