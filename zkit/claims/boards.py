"""Verdicts as a table for a page."""

from __future__ import annotations

from collections.abc import Sequence

from zkit import foreign, tables
from zkit.claims.claim import Claim, Verdict
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
