"""The ledger of the book: the shipped conjectures, and every claim that a staged chapter has judged.

``{zk-ledger} counts``     claims by where they stand
``{zk-ledger} progress``   a figure: the claims of each chapter by where they stand
``{zk-ledger} published``  conjectures that others published, with what came of them here
``{zk-ledger} own``        claims of this book
``{zk-ledger} silent``     conjectures without a rule, and why

The same goes into the built site as ``ledger.json``, for :meth:`zkbook.claims.ledger.Ledger.read`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, get_args

from sphinx.application import Sphinx

from zkbook import tables as html
from zkbook.claims import Claim, Status, Verdict
from zkbook.claims.boards import anchor, breakable, published, published_rule, since
from zkbook.claims.conjectures import shipped
from zkbook.claims.ledger import NO_RULE, Ledger
from zkbook.claims.records import Event, Record, Untested
from zkbook.site import kept, progress, tables
from zkit.foreign import Html

FILE = "ledger.json"
_PARTS = ("counts", "progress", "published", "own", "silent")


def gather(book: Path) -> Ledger:
    """The shipped ledger with the verdicts of all staged chapters and kept pages, in the order of the plan."""
    ledger = shipped()
    for chapter in _plan(book):
        name = chapter["notebook"]
        for run, found in ((name, tables.results(book, name)), (_kept(name), kept.results(book, name))):
            for verdict in found["claims"] if found else []:
                ledger = ledger.add(Verdict.from_dict(verdict), run)
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
    links |= {_kept(chapter["notebook"]): _link(book, chapter, kept.FOLDER) for chapter in _plan(book)}
    return [html.to_html([_row(record, links) for record in theirs], label)] if theirs else []


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


def _row(record: Record, links: dict[str, Html]) -> dict[str, Html]:
    claim = record.claim
    assert isinstance(claim, Claim)
    refined = Html().join(Html('<br>Refined: <a href="#{}">{}</a>').format(anchor(id), id) for id in record.successors)
    said = Html('<strong id="{}">{}</strong> {}<br>Speaks of {}.{}')
    rule = Html("{}{}<br><code>{}</code>{}")
    return {
        "Claim": said.format(anchor(claim.id), claim.id, claim.sentence, _model(claim.model), refined),
        "Verdict": _status(record) + published(claim),
        "Rule, and since when": rule.format(
            claim.says, since(claim), breakable(claim.rule.wording), published_rule(claim)
        ),
        "Found": Html().join(_found(event, links) for event in record.judgements.values()) + _history(record, links),
    }


def _status(record: Record) -> Html:
    judged = "" if record.claim.model in record.judgements else ": not judged"
    lines = [Html("<strong>{}</strong>{}").format(record.status, judged)]
    lines += [
        Html("<strong>{}</strong> on {}").format(status, _model(model)) for model, status in record.analogues.items()
    ]
    return Html("<br>").join(lines)


def _found(event: Event, links: dict[str, Html]) -> Html:
    findings = Html("<br>").join(breakable(finding.wording) for finding in event.findings)
    return Html("<p>{}<br>On {}.</p>").format(findings, _where(event, links))


def _history(record: Record, links: dict[str, Html]) -> Html:
    """All events, folded; "" where they would only repeat the row."""
    told = [event for event in record.history if event.status or event.says != record.claim.sentence]
    if len(told) == len(record.judgements):
        return Html()
    items = Html().join(Html("<li><em>{}</em>, {}</li>").format(event.kind, _told(event, links)) for event in told)
    return Html("<details><summary>History of {}</summary><ul>{}</ul></details>").format(record.id, items)


def _told(event: Event, links: dict[str, Html]) -> Html:
    if event.status:
        return Html("on {}: {}").format(_where(event, links), event.status)
    return Html("{}: {}").format(event.source, event.says)


def _where(event: Event, links: dict[str, Html]) -> Html:
    return Html("{}, in {}").format(_model(str(event.model)), links[str(event.run)])


def _plan(book: Path) -> list[dict[str, Any]]:
    return tables.read(book / "chapters.yml")["chapters"]


def _kept(notebook: str) -> str:
    """The run of a chapter's kept page, apart from that of the chapter."""
    return f"{kept.FOLDER}/{notebook}"


def _link(book: Path, chapter: dict[str, Any], folder: str = "executed") -> Html:
    """A link from the page in ``book/``; only the name of a chapter that has no page."""
    name = f"{chapter['notebook'].split('_')[0]} {chapter['title']}"
    there = (book / folder / f"{chapter['notebook']}.ipynb").is_file()
    link = Html('<a href="{}/{}.html">{}</a>').format(folder, chapter["notebook"], name)
    return link if there else Html.escape(name)


def _model(name: str) -> str:
    return "the embedded model" if name == "embedded" else name
