"""Verdicts as a table for a page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from zkit import tables
from zkit.claims.claim import Claim, Verdict


def board(verdicts: Iterable[Verdict]) -> str:
    """HTML table of verdicts: claim, status and rule, both beside the published ones, when the rule came, findings."""
    head = ("Claim", "Verdict", "Rule, and since when", "Found")
    rows = [
        (
            f"<strong>{escape(v.claim.id)}</strong> {escape(v.claim.sentence)}",
            f"<strong>{escape(v.status)}</strong> on {escape(v.model)}" + published(v.claim),
            escape(v.claim.says) + since(v.claim) + published_rule(v.claim),
            "<br>".join(escape(finding.wording) for finding in v.findings),
        )
        for v in verdicts
    ]
    return tables.raw(head, rows, "Claims and verdicts")


def since(claim: Claim) -> str:
    """When the claim's rule came, as another line of a cell."""
    return f"<br><em>{escape(claim.since)}</em>"


def published(claim: Claim) -> str:
    """The status that the claim's authors gave it, as another line of a cell; "" if none."""
    note = f" <em>({escape(claim.note)})</em>" if claim.note else ""
    return f"<br>published: {escape(claim.published)}{note}" if claim.published else ""


def published_rule(claim: Claim) -> str:
    """The rule that the claim's authors printed, as another line of a cell; "" if none."""
    return f"<br>published rule: {escape(claim.published_rule)}" if claim.published_rule else ""
