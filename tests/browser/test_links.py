"""Links inside the built book: every page, file and anchor they name is there. Needs no browser and no network."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from visit import pages

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


def leads_somewhere(address: str, page: Path, root: Path) -> bool:
    parts = urlsplit(address)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(root.resolve()) or not target.is_file():
        return False
    return not parts.fragment or target.suffix != ".html" or unquote(parts.fragment) in Links(target).anchors


@pytest.mark.parametrize("path", OWN)
def test_links_lead_somewhere(built_book, path):
    links = Links(built_book / path)
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
