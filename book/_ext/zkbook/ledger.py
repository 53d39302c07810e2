"""The ledger of the book: the shipped conjectures, and every claim that a staged chapter has judged.

``{zk-ledger} counts``     claims by where they stand
``{zk-ledger} progress``   a figure: the claims of each chapter by where they stand
``{zk-ledger} published``  conjectures that others published, with what came of them here
``{zk-ledger} own``        claims of this book
``{zk-ledger} silent``     conjectures without a rule, and why

The same goes into the built site as ``ledger.json``, for :meth:`zkit.claims.ledger.Ledger.read`.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from pathlib import Path
from typing import Any, get_args

from sphinx.application import Sphinx

from zkbook import progress, tables
from zkit import tables as html
from zkit.claims import Claim, Status, Verdict
from zkit.claims.boards import published, published_rule, since
from zkit.claims.conjectures import shipped
from zkit.claims.ledger import NO_RULE, Ledger
from zkit.claims.records import Event, Record, Untested

FILE = "ledger.json"
_PARTS = ("counts", "progress", "published", "own", "silent")


def gather(book: Path) -> Ledger:
    """The shipped ledger with the verdicts of all staged chapters, in the order of the plan."""
    ledger = shipped()
    for chapter in _plan(book):
        for verdict in (tables.results(book, chapter["notebook"]) or {"claims": []})["claims"]:
            ledger = ledger.add(Verdict.from_dict(verdict), chapter["notebook"])
    return ledger


def part(book: Path, name: str) -> list[str]:
    """The Markdown lines of one part of the page. Raises KeyError for an unknown part."""
    if name not in _PARTS:
        raise KeyError(f"no part {name!r}; the parts are {', '.join(_PARTS)}")
    ledger = gather(book)
    judged = [record for record in ledger if isinstance(record.claim, Claim)]
    if name == "counts":
        return [*_warning(book), *_counts(ledger)]
    if name == "progress":
        return [progress.draw(_statuses(book))]
    if name == "silent":
        return _silent(ledger)
    theirs = [record for record in judged if (record.claim.published is not None) == (name == "published")]
    label = "Published conjectures" if name == "published" else "Claims of this book"
    links = {chapter["notebook"]: _link(book, chapter) for chapter in _plan(book)}
    head = ("Claim", "Verdict", "Rule, and since when", "Found")
    return [html.raw(head, [_row(record, links) for record in theirs], label)] if theirs else []


def write(app: Sphinx, error: Exception | None) -> None:
    """Leave the ledger beside the pages of a whole build."""
    if error is None and app.builder.format == "html":
        gather(Path(app.srcdir) / "book").save(Path(app.outdir) / FILE)


def setup(app: Sphinx) -> None:
    app.add_directive("zk-ledger", type("zk-ledger", (tables.Computed,), {"compute": staticmethod(part)}))
    app.connect("build-finished", write)


def _counts(ledger: Ledger) -> list[str]:
    here = ledger.counts()
    printed = Counter(record.claim.published for record in ledger if record.claim.published)
    rows = [(status, str(here.get(status, 0)), str(printed.get(status, ""))) for status in (*get_args(Status), NO_RULE)]
    rows.append(("all", str(len(ledger)), str(sum(printed.values()))))
    return tables.table(("Status", "Here", "As published"), rows, widths=(50, 25, 25))


def _statuses(book: Path) -> dict[str, list[str]]:
    """Number and title of each chapter -> the statuses of its claims; none for one that has not been run."""
    return {
        f"{chapter['notebook'].split('_')[0]} {chapter['title']}": [
            claim["status"] for claim in (tables.results(book, chapter["notebook"]) or {"claims": []})["claims"]
        ]
        for chapter in _plan(book)
    }


def _warning(book: Path) -> list[str]:
    found = [tables.results(book, chapter["notebook"]) for chapter in _plan(book)]
    smoke = any(results["parameters"].get("profile") == "smoke" for results in found if results)
    return [f"**A {tables.SMOKE}.** The figures below only show that the code runs.", ""] if smoke else []


def _silent(ledger: Ledger) -> list[str]:
    """One item for all conjectures of which the same is to be said."""
    groups: dict[str, list[str]] = {}
    for record in ledger:
        claim = record.claim
        if isinstance(claim, Untested):
            said = "; ".join(filter(None, (claim.sentence, claim.reason, claim.note)))
            groups.setdefault(said, []).append(claim.id)
    return [f"- **{', '.join(ids)}**: {said}." for said, ids in groups.items()]


def _row(record: Record, links: dict[str, str]) -> tuple[str, ...]:
    claim = record.claim
    assert isinstance(claim, Claim)
    speaks = f"Speaks of {escape(_model(claim.model))}."
    refined = "".join(f'<br>Refined: <a href="#{_anchor(id)}">{escape(id)}</a>' for id in record.successors)
    return (
        f'<strong id="{_anchor(claim.id)}">{escape(claim.id)}</strong> {escape(claim.sentence)}<br>{speaks}{refined}',
        _status(record) + published(claim),
        f"{escape(claim.says)}{since(claim)}<br><code>{_breakable(claim.rule.wording)}</code>" + published_rule(claim),
        "".join(_found(event, links) for event in record.judgements.values()) + _history(record, links),
    )


def _status(record: Record) -> str:
    lines = [f"<strong>{record.status}</strong>" + ("" if record.claim.model in record.judgements else ": not judged")]
    lines += [f"<strong>{status}</strong> on {escape(_model(model))}" for model, status in record.analogues.items()]
    return "<br>".join(lines)


def _found(event: Event, links: dict[str, str]) -> str:
    findings = "<br>".join(_breakable(finding.wording) for finding in event.findings)
    return f"<p>{findings}<br>On {_where(event, links)}.</p>"


def _history(record: Record, links: dict[str, str]) -> str:
    """All events, folded; "" where they would only repeat the row."""
    told = [event for event in record.history if event.status or event.says != record.claim.sentence]
    if len(told) == len(record.judgements):
        return ""
    items = "".join(f"<li><em>{event.kind}</em>, {_told(event, links)}</li>" for event in told)
    return f"<details><summary>History of {escape(record.id)}</summary><ul>{items}</ul></details>"


def _told(event: Event, links: dict[str, str]) -> str:
    if event.status:
        return f"on {_where(event, links)}: {event.status}"
    return f"{escape(event.source)}: {escape(event.says)}"


def _where(event: Event, links: dict[str, str]) -> str:
    return f"{escape(_model(str(event.model)))}, in {links[str(event.run)]}"


def _plan(book: Path) -> list[dict[str, Any]]:
    return tables.read(book / "chapters.yml")["chapters"]


def _link(book: Path, chapter: dict[str, Any]) -> str:
    """A link from the page in ``book/``; only the name of a chapter that has no page."""
    name = escape(f"{chapter['notebook'].split('_')[0]} {chapter['title']}")
    staged = (book / "executed" / f"{chapter['notebook']}.ipynb").is_file()
    return f'<a href="executed/{chapter["notebook"]}.html">{name}</a>' if staged else name


def _model(name: str) -> str:
    return "the embedded model" if name == "embedded" else name


def _anchor(id: str) -> str:
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", id.lower())


def _breakable(text: str) -> str:
    """Names of statistics may break after an underscore, so that a column stays narrow."""
    return escape(text).replace("_", "_<wbr>")
