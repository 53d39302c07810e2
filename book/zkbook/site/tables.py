"""Directives whose content is computed at build time from results, published figures and configurations.

``{zk-answers}``  the questions of the book, each with the verdicts of the chapters that were run
``{zk-chapters}``  the index: question, chapter, verdict
``{zk-published} <topic>``  published figures of a topic
``{zk-claims}``  published conjectures with their rules, of the ledger that ships with zkit
``{zk-models}``  the published models beside the embedded one
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import zkit
from zkbook import shapes
from zkbook.claims.conjectures import shipped
from zkit.foreign import code, markdown

PREPARING = "in preparation"
SMOKE = "smoke run: no verdict"
# libyaml reads ten times faster; not every wheel of PyYAML has it.
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def answers(book: Path) -> list[str]:
    """One section of a definition list per question: the verdicts of its chapters, or that there are none yet."""
    plan, lines = read(book / "chapters.yml"), []
    for key, question in plan["questions"].items():
        chapters = [chapter for chapter in plan["chapters"] if chapter["question"] == key]
        found = [line for chapter in chapters for line in _verdict_lines(book, chapter)]
        lines += [f"**{question['says']}** ({question['source']})", ""]
        lines += found or [f"- {PREPARING}: no chapter on this question has been written yet"]
        lines += [""]
    return lines


def chapters(book: Path) -> list[str]:
    plan = read(book / "chapters.yml")
    rows = [
        (chapter["asks"], _link(book, chapter) + _kept(book, chapter), verdict_of(results(book, chapter["notebook"])))
        for chapter in plan["chapters"]
    ]
    return table(("Question", "Chapter", "Verdict"), rows, widths=(50, 25, 25))


def published(book: Path, topic: str) -> list[str]:
    record = read(book / "published.yml")
    if topic not in record["topics"]:
        raise KeyError(f"no topic {topic!r} in published.yml")
    rows = []
    for figure in record["figures"].values():
        if figure["topic"] == topic:
            note = f" *{figure['note']}*" if "note" in figure else ""
            name = record["models"][figure["model"]]["id"].split("/")[-1]
            source = record["sources"][figure["source"]]
            rows.append((figure["says"] + note, value_of(figure), figure["unit"], name, source))
    used = dict.fromkeys(f["source"] for f in record["figures"].values() if f["topic"] == topic)
    sources = ", ".join(f"{record['sources'][key]} {{cite:p}}`{key}`" for key in used)
    head = ("Quantity", "Value", "Unit", "Model", "Source")
    return [f"Sources: {sources}.", "", *table(head, rows, widths=(32, 30, 13, 12, 13))]


def claims(book: Path) -> list[str]:
    """Those of the shipped conjectures that have a published status."""
    rows = [
        (
            claim.id,
            str(claim.sentence or getattr(claim, "reason", "")),
            claim.published_rule or "none printed",
            claim.published + (f" *({claim.note})*" if claim.note else ""),
        )
        for claim in (record.claim for record in shipped())
        if claim.published
    ]
    return table(("Claim", "Sentence", "Published rule", "Published status"), rows, widths=(10, 35, 30, 25))


def models(book: Path) -> list[str]:
    """Shapes side by side; the embedded model's are read from the configuration that ships with it."""
    record = list(read(book / "published.yml")["models"].values())
    config = Path(zkit.__file__).parent / "embedded" / "weights" / "config.json"
    if config.is_file():
        record.append(shapes.from_config(json.loads(config.read_text(encoding="utf-8"))))
    rows = [
        ("architecture", *(m["architecture"] for m in record)),
        ("layers", *(f"{m['layers']}" for m in record)),
        ("width of the residual stream", *(f"{m['d_model']:,}" for m in record)),
        ("query heads, key-value heads", *(f"{m['heads']}, {m['kv_heads']}" for m in record)),
        ("width of a head", *(f"{m['d_head']}" for m in record)),
        ("feed-forward neurons per layer", *(f"{m['d_ffn']:,}" for m in record)),
        ("gates: neurons in all layers", *(f"{m['layers'] * m['d_ffn']:,}" for m in record)),
        ("vocabulary", *(f"{m['vocabulary']:,}" for m in record)),
        ("distinct parameters", *(f"{shapes.parameters(m):,}" for m in record)),
    ]
    return table(("Shape", *(m["id"].split("/")[-1] for m in record)), rows)


def verdict_of(found: dict[str, Any] | None) -> str:
    """The verdicts of one chapter in a cell: its claims by status, or why there are none."""
    if found is None:
        return PREPARING
    if found["parameters"].get("profile") == "smoke":
        return SMOKE
    by_status: dict[str, list[str]] = {}
    for verdict in found["claims"]:
        by_status.setdefault(verdict["status"], []).append(verdict["claim"]["id"])
    found_out = "; ".join(f"{status}: {', '.join(ids)}" for status, ids in by_status.items())
    return markdown(found_out or "no claim to judge")


def results(book: Path, notebook: str) -> dict[str, Any] | None:
    """Results of a staged chapter, None if it has none."""
    path = book / "executed" / "results" / f"{notebook}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def value_of(figure: dict[str, Any]) -> str:
    if "range" in figure:
        return " to ".join(map(_number, figure["range"]))
    if "along" not in figure:
        return _number(figure["value"])
    ((name, places),) = figure["along"].items()
    pairs = zip(places, figure["value"], strict=True)
    return f"{name} " + "; ".join(f"{place}: **{_number(value)}**" for place, value in pairs)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int] | None = None) -> list[str]:
    """A list-table in MyST, whose cells may hold roles and links."""
    lines = ["````{list-table}", ":header-rows: 1", ":class: zk-table"]
    lines += [f":widths: {' '.join(map(str, widths))}"] if widths else []
    for row in (head, *rows):
        for number, cell in enumerate(row):
            lines.append(f"{'* -' if number == 0 else '  -'} {cell}".rstrip())
    return [*lines, "````"]


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_YAML)


def _verdict_lines(book: Path, chapter: dict[str, Any]) -> list[str]:
    found = results(book, chapter["notebook"])
    if found is None:
        return []
    link = _link(book, chapter)
    if found["parameters"].get("profile") == "smoke":
        return [f"- {link}: {SMOKE}"]
    lines = [
        f"- **{markdown(verdict['status'].capitalize())}** on {_model(verdict['model'])}: "
        f"{markdown(verdict['claim']['sentence'])} ({markdown(verdict['claim']['id'])})"
        for verdict in found["claims"]
    ]
    return [*lines, f"- The figures are in {link}."]


def _model(name: str) -> str:
    return "the embedded model" if name == "embedded" else code(name)


def _link(book: Path, chapter: dict[str, Any]) -> str:
    number, title = chapter["notebook"].split("_")[0], chapter["title"]
    staged = (book / "executed" / f"{chapter['notebook']}.ipynb").is_file()
    return f"{{doc}}`{number} {title} </book/executed/{chapter['notebook']}>`" if staged else f"{number} {title}"


def _kept(book: Path, chapter: dict[str, Any]) -> str:
    """A link to the chapter's page kept from a real model, where there is one."""
    there = (book / "field" / f"{chapter['notebook']}.ipynb").is_file()
    return f"; {{doc}}`on a real model </book/field/{chapter['notebook']}>`" if there else ""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


class Computed(SphinxDirective):
    """A directive that parses the Markdown lines a function returns."""

    optional_arguments = 1
    compute: Callable[..., list[str]]

    def run(self) -> list[nodes.Node]:
        book = Path(self.env.srcdir) / "book"
        self.env.note_reread()  # what it reads may change without the page changing
        try:
            lines = type(self).compute(book, *self.arguments)
        except (KeyError, OSError, ValueError) as error:
            raise self.error(f"{self.name}: {error}") from error
        container = nodes.container()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, container)
        return container.children


def setup(app: Sphinx) -> None:
    directives: dict[str, Callable[..., list[str]]] = {
        "zk-answers": answers,
        "zk-chapters": chapters,
        "zk-published": published,
        "zk-claims": claims,
        "zk-models": models,
    }
    for name, function in directives.items():
        app.add_directive(name, type(name, (Computed,), {"compute": staticmethod(function)}))
