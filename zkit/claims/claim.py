"""A claim, and the verdict that its rule gives on the results of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from zkit.claims.rules import Finding, Rule, rule_from_dict
from zkit.errors import ZkitError

Published = Literal["confirmed", "refuted", "open"]
Status = Literal["confirmed", "refuted", "open", "analogue holds", "analogue fails", "not testable"]


@dataclass(frozen=True)
class Claim:
    """A sentence that can turn out to be wrong.

    ``model`` is the id the sentence speaks of ("embedded", "Qwen/Qwen3-0.6B"); ``source`` says who claims it
    and where; ``says`` puts the rule in words; ``published`` is the status its authors gave it and
    ``published_rule`` their rule in words, None where they gave none; ``note`` says what a reader must know of the two.
    """

    id: str
    sentence: str
    source: str
    model: str
    rule: Rule
    says: str
    published: Published | None = None
    published_rule: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "sentence", "source", "model", "says"):
            if not getattr(self, name):
                raise ZkitError(f"claim {self.id or self.sentence!r}: {name!r} is empty")
        check_published(self.id, self.published)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "rule": self.rule.to_dict()}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Claim:
        return cls(**{**record, "rule": rule_from_dict(record["rule"])})


@dataclass(frozen=True)
class Verdict:
    """A claim judged on the results of one model.

    On the model the claim speaks of, the status is confirmed, refuted or open. On any other model it is
    "analogue holds", "analogue fails" or "not testable", and the claim itself stays open.
    """

    claim: Claim
    model: str
    status: Status
    findings: tuple[Finding, ...]

    @property
    def decided(self) -> bool:
        return self.status not in ("open", "not testable")

    @property
    def reason(self) -> str:
        """Each statistic against its bound, in one line."""
        return "; ".join(finding.wording for finding in self.findings)

    @property
    def sentence(self) -> str:
        return f"{self.claim.id}: {self.status} on {self.model}. {self.claim.sentence} ({self.reason})"

    def to_dict(self) -> dict[str, Any]:
        findings = [finding.to_dict() for finding in self.findings]
        return {"claim": self.claim.to_dict(), "model": self.model, "status": self.status, "findings": findings}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Verdict:
        findings = tuple(map(Finding.from_dict, record["findings"]))
        return cls(Claim.from_dict(record["claim"]), record["model"], record["status"], findings)


def judge(claim: Claim, stats: Mapping[str, Any], model: str) -> Verdict:
    """Judge a claim on the statistics of one run on ``model``.

    ``stats`` is {name: {"value", "n", "ci", "unit"}}, as in a results file.

    Raises ZkitError for a statistic that is not such a record.
    """
    truth, findings = claim.rule.judge(stats)
    own: dict[bool | None, Status] = {True: "confirmed", False: "refuted", None: "open"}
    other: dict[bool | None, Status] = {True: "analogue holds", False: "analogue fails", None: "not testable"}
    return Verdict(claim, model, (own if model == claim.model else other)[truth], findings)


def check_published(id: str, status: str | None) -> None:
    """Raises ZkitError for a published status that is none."""
    if status is not None and status not in get_args(Published):
        raise ZkitError(f"claim {id}: published status {status!r} is none of {', '.join(get_args(Published))}")
