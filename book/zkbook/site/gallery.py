"""The gallery: what the executed chapters let a reader move, on one page.

``{zk-gallery} <key> ...``  every explorable of the staged chapters; of the static figures, those with these keys
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from zkbook.site import tables
from zkit.foreign import Html

_FIGURE = re.compile(r'<figure class="(zk-figure[^"]*)" id="fig-([a-z0-9-]+)">')
NOTHING = "Nothing is here yet: no chapter that has such a figure was run."


def figures(notebook: Path, keys: Collection[str]) -> dict[str, str]:
    """HTML of the explorables of an executed chapter, and of the static figures among ``keys``, by key.

    Each gets an id of the gallery's: ``fig-<key>`` is the label of the figure in its chapter.
    """
    if not notebook.is_file():
        return {}
    found = {}
    for cell in json.loads(notebook.read_text(encoding="utf-8")).get("cells", []):
        for output in cell.get("outputs", []):
            html = "".join(output.get("data", {}).get("text/html", ""))
            figure = _FIGURE.search(html)
            if figure and ("zk-explorable" in figure[1].split() or figure[2] in keys):
                opening = Html('<figure class="{}" id="{}">').format(figure[1], anchor(figure[2]))
                found[figure[2]] = html[: figure.start()] + str(opening) + html[figure.end() :]
    return found


def anchor(name: str) -> str:
    return nodes.make_id(f"gallery-{name}")


class Gallery(SphinxDirective):
    """A section for each chapter that has something to show: its question, its figures, where they come from."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # a chapter may be executed, or staged, without the page changing
        book, keys = Path(self.env.srcdir) / "book", " ".join(self.arguments).split()
        sections: list[nodes.Node] = []
        seen: set[str] = set()
        try:
            for chapter in tables.read(book / "chapters.yml")["chapters"]:
                shown = figures(book / "executed" / f"{chapter['notebook']}.ipynb", keys)
                if twice := seen & set(shown):
                    raise ValueError(f"two chapters have a figure {', '.join(sorted(twice))}")
                seen |= set(shown)
                if shown:
                    smoke = _smoke(tables.results(book, chapter["notebook"]))
                    sections.append(self._section(chapter, shown, smoke))
        except (KeyError, OSError, ValueError) as error:
            raise self.error(f"{self.name}: {error}") from error
        return sections or self._parsed(NOTHING)

    def _section(self, chapter: dict[str, Any], shown: dict[str, str], smoke: bool) -> nodes.section:
        name = f"{chapter['notebook'].split('_')[0]} {chapter['title']}"
        section = nodes.section(ids=[anchor(chapter["notebook"])])
        section += nodes.title("", name)
        section += self._parsed(chapter["asks"] + (f" *({tables.SMOKE})*" if smoke else ""))
        for key, html in shown.items():
            section += _output(html)
            section += self._parsed(f"{{ref}}`fig-{key}` of {{doc}}`{name} </book/executed/{chapter['notebook']}>`")
        return section

    def _parsed(self, line: str) -> list[nodes.Node]:
        container = nodes.container()
        self.state.nested_parse(StringList([line], self.get_source_info()[0]), self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> None:
    app.add_directive("zk-gallery", Gallery)


def _output(html: str) -> nodes.container:
    """The containers of an output in a chapter: the style sheets know them by their classes."""
    cell = nodes.container(classes=["cell_output"])
    cell += nodes.container("", nodes.raw("", html, format="html"), classes=["output", "text_html"])
    return cell


def _smoke(found: dict[str, Any] | None) -> bool:
    return found is not None and found["parameters"].get("profile") == "smoke"
