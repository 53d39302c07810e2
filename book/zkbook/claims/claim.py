"""A claim, when its rule came, and the verdict that the rule gives on the results of one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

from zkbook.claims.rules import Finding, Rule, asked, rule_from_dict
from zkit.errors import ZkitError
from zkit.reading import shown

Published = Literal["confirmed", "refuted", "open"]
BEFORE = "fixed before the run"
Status = Literal["confirmed", "refuted", "open", "analogue holds", "analogue fails", "undecided", "not testable"]


@dataclass(frozen=True)
class Added:
    """That a rule, or a part of it, was put down or changed after first results had been seen: on which day, and why.

    ``day`` is an ISO date ("2026-11-21"). Raises ZkitError for another form of date and for an empty reason.
    """

    day: str
    why: str

    def __post_init__(self) -> None:
        try:
            well_formed = date.fromisoformat(self.day).isoformat() == self.day
        except (TypeError, ValueError):
            well_formed = False
        if not well_formed:
            raise ZkitError(f'the day on which a rule was added is written like "2026-11-21", not {shown(self.day)}')
        if not (isinstance(self.why, str) and self.why):
            raise ZkitError(f"a rule that was added on {self.day} needs a text that says 'why'")

    @classmethod
    def from_dict(cls, record: Any) -> Added:
        """Raises ZkitError where the record is none."""
        if not isinstance(record, Mapping) or set(record) != {"day", "why"}:
            raise ZkitError(f"'added' has the keys 'day' and 'why', not {shown(record)}")
        return cls(record["day"], record["why"])


@dataclass(frozen=True)
class Claim:
    """A sentence that can turn out to be wrong.

    ``model`` is the id the sentence speaks of ("embedded", "Qwen/Qwen3-0.6B"); ``source`` says who claims it
    and where; ``says`` puts the rule in words; ``published`` is the status its authors gave it and
    ``published_rule`` their rule in words, None where they gave none; ``note`` says what a reader must know of the two.
    ``added`` is None only if the rule stood, as it is, before any of its results had been seen.
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
    added: Added | None = None

    def __post_init__(self) -> None:
        for name in ("id", "sentence", "source", "model", "says"):
            if not getattr(self, name):
                raise ZkitError(f"claim {self.id or self.sentence!r}: {name!r} is empty")
        check_published(self.id, self.published)

    @property
    def since(self) -> str:
        """When the rule was put down, in words."""
        return f"as it is since {self.added.day}, after first results: {self.added.why}" if self.added else BEFORE

    @property
    def stated(self) -> str:
        """The rule in words; where it was added after first results, with the day and the reason."""
        return f"{self.says} ({self.since})" if self.added else self.says

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "rule": self.rule.to_dict(), "added": vars(self.added) if self.added else None}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Claim:
        """Raises ZkitError for what is no rule, and for a date or reason that is none."""
        added = None if record.get("added") is None else Added.from_dict(record["added"])
        return cls(**{**record, "rule": rule_from_dict(record["rule"]), "added": added})


@dataclass(frozen=True)
class Verdict:
    """A claim judged on the results of one model.

    On the model the claim speaks of, the status is confirmed, refuted or open. On any other model it is
    "analogue holds", "analogue fails", "undecided" where an interval contains its bound, or "not testable" where a
    statistic is missing; and the claim itself stays open.
    """

    claim: Claim
    model: str
    status: Status
    findings: tuple[Finding, ...]

    @property
    def decided(self) -> bool:
        return self.status not in ("open", "undecided", "not testable")

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
    other: dict[bool | None, Status] = {True: "analogue holds", False: "analogue fails"}
    other[None] = "undecided" if asked(findings) else "not testable"
    return Verdict(claim, model, (own if model == claim.model else other)[truth], findings)


def check_published(id: str, status: str | None) -> None:
    """Raises ZkitError for a published status that is none."""
    if status is not None and status not in get_args(Published):
        raise ZkitError(f"claim {id}: published status {status!r} is none of {', '.join(get_args(Published))}")
