"""Verdicts as a table for a page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from zkit import foreign, tables
from zkit.claims.claim import Claim, Verdict
from zkit.claims.records import Event, Record, Untested
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


def side_by_side(
    records: Iterable[Record], models: Mapping[str, str], links: Callable[[Event], Html], label: str
) -> Html:
    """HTML table of claims: what was published, and what runs on each of ``models`` (id -> heading) say.

    ``links`` leads from a judgement to its page. Raises ZkitError if there are no records.
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


def _judgement(claim: Claim | Untested, event: Event | None, links: Callable[[Event], Html]) -> Html:
    if event is None:
        return Html.escape("no rule" if isinstance(claim, Untested) else "not run")
    found = Html("<br>").join(breakable(finding.wording) for finding in event.findings)
    return Html("<strong>{}</strong> {}<br>{}").format(event.answer, links(event), found)


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
