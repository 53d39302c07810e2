"""Verdicts as a table for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from zkbook import tables
from zkbook.claims.claim import Claim, Verdict
from zkbook.claims.records import Event, Record, Untested
from zkit import foreign
from zkit.foreign import Html


def board(verdicts: Sequence[Verdict]) -> Html:
    """HTML table of verdicts: claim, status and rule, both beside the published ones, when the rule came, findings."""
    rows = [
        {
            "Claim": Html("<strong>{}</strong> {}").format(v.claim.id, v.claim.sentence),
            "Verdict": Html("<strong>{}</strong> on {}").format(v.status, v.model) + published(v.claim),
            "Rule, and since when": Html.escape(v.claim.says) + since(v.claim) + published_rule(v.claim),
            "Found": Html("<br>").join(finding.wording for finding in v.findings),
        }
        for v in verdicts
    ]
    return tables.to_html(rows, "Claims and verdicts")


def show(verdicts: Sequence[Verdict]) -> None:
    """Display the board. Raises ZkitError if there are no verdicts."""
    foreign.show(board(verdicts), "\n".join(verdict.sentence for verdict in verdicts))


def expect(expected: Sequence[Claim]) -> None:
    """Display what a chapter expects before it looks: its claims, what their authors made of them, and the rules.

    Raises ZkitError if there are none.
    """
    rows = [
        {
            "Claim": Html("<strong>{}</strong> {}").format(claim.id, claim.sentence),
            "Published": Html.escape(claim.published or "a claim of this book"),
            "Rule": Html.escape(claim.says) + (since(claim) if claim.added else Html()),
        }
        for claim in expected
    ]
    lines = [f"{claim.id}: {claim.sentence} ({claim.stated})" for claim in expected]
    foreign.show(tables.to_html(rows, "What we expect"), "\n".join(lines))


Links = Callable[[Event], Mapping[str, str]]
"""From a judgement to where it can be read: words -> address."""


def side_by_side(records: Iterable[Record], models: Mapping[str, str], links: Links, label: str) -> Html:
    """HTML table of claims: what was published, and what runs on each of ``models`` (id -> heading) say.

    Raises ZkitError if there are no records.
    """
    rows = []
    for record in records:
        claim = record.claim
        if isinstance(claim, Claim):
            name = Html('<a href="../ledger.html#{}"><strong>{}</strong></a> {}{}').format(
                anchor(claim.id), claim.id, claim.sentence, since(claim) if claim.added else ""
            )
        else:
            name = Html("<strong>{}</strong> {}").format(claim.id, claim.sentence or claim.reason)
        row = {
            "Claim": name,
            "Published": Html("{} <em>{}</em>").format(
                claim.published or f"no status, {claim.source}", f"({claim.note})" if claim.note else ""
            ),
        }
        judged = record.judgements
        rows.append(row | {heading: _judgement(claim, judged.get(id), links) for id, heading in models.items()})
    return tables.to_html(rows, label)


def show_side_by_side(
    records: Sequence[Record], models: Mapping[str, str], links: Links, label: str, folded: bool = False
) -> None:
    """Display :func:`side_by_side`. Raises as it does."""
    answers = {r.id: {heading: r.judgements.get(id) for id, heading in models.items()} for r in records}
    lines = [
        f"{id}: " + ", ".join(f"{heading} {event.answer if event else 'not run'}" for heading, event in row.items())
        for id, row in answers.items()
    ]
    page = side_by_side(records, models, links, label)
    foreign.show(tables.folded(page, label) if folded else page, "\n".join(lines))


def show_open(records: Sequence[Record], model: str, label: str) -> None:
    """Display, folded, claims that a run on ``model`` leaves open, with the statistics that decide nothing."""
    items = []
    for record in records:
        open_ones = [finding for finding in record.judgements[model].findings if finding.holds is None]
        found = Html("<br>").join(dict.fromkeys(breakable(finding.wording) for finding in open_ones))
        items.append(Html("<li><strong>{}</strong> {}<br>{}</li>").format(record.id, record.claim.sentence, found))
    page = Html("<ul>{}</ul>").format(Html().join(items))
    foreign.show(tables.folded(page, label), f"{label}: {', '.join(record.id for record in records)}")


def _judgement(claim: Claim | Untested, event: Event | None, links: Links) -> Html:
    if event is None:
        return Html.escape("no rule" if isinstance(claim, Untested) else "not run")
    found = Html("<br>").join(breakable(finding.wording) for finding in event.findings)
    lead = Html(", ").join(Html('<a href="{}">{}</a>').format(to, words) for words, to in links(event).items())
    return Html("<strong>{}</strong>{}<br>{}").format(event.answer, Html(" ({})").format(lead) if lead else "", found)


def anchor(id: str) -> str:
    """Where a claim stands on the page of the ledger."""
    return "claim-" + re.sub(r"[^a-z0-9]+", "-", id.lower())


def breakable(text: str) -> Html:
    """Names of statistics may break after an underscore, so that a column stays narrow."""
    return Html("_<wbr>").join(text.split("_"))


def since(claim: Claim) -> Html:
    """When the claim's rule came, as another line of a cell."""
    return Html("<br><em>{}</em>").format(claim.since)


def published(claim: Claim) -> Html:
    """The status that the claim's authors gave it, as another line of a cell; "" if none."""
    note = Html(" <em>({})</em>").format(claim.note) if claim.note else Html()
    return Html("<br>published: {}{}").format(claim.published, note) if claim.published else Html()


def published_rule(claim: Claim) -> Html:
    """The rule that the claim's authors printed, as another line of a cell; "" if none."""
    return Html("<br>published rule: {}").format(claim.published_rule) if claim.published_rule else Html()
