"""A ledger of claims: what is said, the rule fixed before the run, and what the results say about it.

A rule is data, not code: bounds on named statistics joined by "all of" and "any of". It can therefore be
printed beside its verdict, stored with it and judged again. Judging follows Kleene's three-valued logic: a
statistic that is missing, not a number, or whose interval contains the bound decides nothing, and the verdict
says so.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from zkit import tables
from zkit.errors import ZkitError

Operator = Literal["<", "<=", ">", ">="]
Published = Literal["confirmed", "refuted", "open"]
Status = Literal["confirmed", "refuted", "open", "analogue holds", "analogue fails", "not testable"]

# The last digits of a statistic differ between processors: a value this close to its bound decides nothing.
ROUNDING = 1e-4


@dataclass(frozen=True)
class Finding:
    """One bound met with one statistic; ``holds`` is None where it does not decide, and ``note`` then says why."""

    statistic: str
    op: Operator
    bound: float
    value: float | None
    ci: tuple[float, float] | None
    n: int | None
    unit: str | None
    holds: bool | None
    note: str


@dataclass(frozen=True)
class Bound:
    """``statistic op bound``, for example ``Bound("words_ratio", "<", 0.5)``."""

    statistic: str
    op: Operator
    bound: float

    def __post_init__(self) -> None:
        if self.op not in get_args(Operator):
            raise ZkitError(f"a rule compares with one of {', '.join(get_args(Operator))}, not {self.op!r}")
        if not self.statistic:
            raise ZkitError("a bound needs the name of the statistic it reads")
        if not math.isfinite(self.bound):
            raise ZkitError(f"the bound on {self.statistic!r} must be a finite number, not {self.bound}")

    @property
    def wording(self) -> str:
        return f"{self.statistic} {self.op} {self.bound:g}"

    def statistics(self) -> tuple[str, ...]:
        return (self.statistic,)

    def judge(self, stats: Mapping[str, Any]) -> tuple[bool | None, tuple[Finding, ...]]:
        """Three-valued truth and the one finding behind it; ``stats`` as in the results file."""
        record = stats.get(self.statistic)
        value, ci, n, unit = _read(self.statistic, record)
        if record is None:
            holds, note = None, "this statistic is missing"
        elif value is None or (ci is not None and not all(map(math.isfinite, ci))):
            holds, note = None, "this statistic is not a number"
        else:
            low, high = ci if ci is not None else (value, value)
            holds, note = self._decide(low, high)
        return holds, (Finding(self.statistic, self.op, self.bound, value, ci, n, unit, holds, note),)

    def _decide(self, low: float, high: float) -> tuple[bool | None, str]:
        if any(_within_rounding(end, self.bound) for end in {low, high}):
            return None, "the value lies within rounding of the bound"
        satisfied = {self._compare(end) for end in (low, high)}
        return (None, "the interval contains the bound") if len(satisfied) == 2 else (satisfied.pop(), "")

    def _compare(self, value: float) -> bool:
        match self.op:
            case "<":
                return value < self.bound
            case "<=":
                return value <= self.bound
            case ">":
                return value > self.bound
            case ">=":
                return value >= self.bound

    def to_dict(self) -> dict[str, Any]:
        return {"statistic": self.statistic, "op": self.op, "bound": self.bound}


class _Joined:
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        if not self.rules:
            raise ZkitError("'all of' and 'any of' need at least one rule")

    def statistics(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for rule in self.rules for name in rule.statistics()))

    def _truths(self, stats: Mapping[str, Any]) -> tuple[set[bool | None], tuple[Finding, ...]]:
        judged = [rule.judge(stats) for rule in self.rules]
        return {truth for truth, _ in judged}, tuple(f for _, findings in judged for f in findings)

    def _join(self, word: str) -> str:
        return word.join(r.wording if isinstance(r, Bound) else f"({r.wording})" for r in self.rules)


@dataclass(frozen=True)
class AllOf(_Joined):
    """Holds when every rule holds, fails as soon as one fails, and is otherwise undecided."""

    rules: tuple[Rule, ...]

    @property
    def wording(self) -> str:
        return self._join(" and ")

    def judge(self, stats: Mapping[str, Any]) -> tuple[bool | None, tuple[Finding, ...]]:
        truths, findings = self._truths(stats)
        return (False if False in truths else None if None in truths else True), findings

    def to_dict(self) -> dict[str, Any]:
        return {"all": [rule.to_dict() for rule in self.rules]}


@dataclass(frozen=True)
class AnyOf(_Joined):
    """Holds as soon as one rule holds, fails when every rule fails, and is otherwise undecided."""

    rules: tuple[Rule, ...]

    @property
    def wording(self) -> str:
        return self._join(" or ")

    def judge(self, stats: Mapping[str, Any]) -> tuple[bool | None, tuple[Finding, ...]]:
        truths, findings = self._truths(stats)
        return (True if True in truths else None if None in truths else False), findings

    def to_dict(self) -> dict[str, Any]:
        return {"any": [rule.to_dict() for rule in self.rules]}


Rule = Bound | AllOf | AnyOf


def rule_from_dict(record: Mapping[str, Any]) -> Rule:
    """Inverse of ``to_dict`` of a rule. ZkitError where the record is not one."""
    match record:
        case {"all": [*rules]}:
            return AllOf(tuple(map(rule_from_dict, rules)))
        case {"any": [*rules]}:
            return AnyOf(tuple(map(rule_from_dict, rules)))
        case {"statistic": str(statistic), "op": op, "bound": int() | float() as bound}:
            return Bound(statistic, op, float(bound))
    raise ZkitError(f"not a rule: {record!r}; expected keys 'all', 'any', or 'statistic', 'op' and 'bound'")


@dataclass(frozen=True)
class Claim:
    """A sentence that can turn out to be wrong.

    ``model`` is the id the sentence speaks of ("embedded", "Qwen/Qwen3-0.6B"); ``source`` says who claims it
    and where; ``says`` puts the rule in words; ``published`` is the status its authors gave it, None where
    they gave none.
    """

    id: str
    sentence: str
    source: str
    model: str
    rule: Rule
    says: str
    published: Published | None = None

    def __post_init__(self) -> None:
        for name in ("id", "sentence", "source", "model", "says"):
            if not getattr(self, name):
                raise ZkitError(f"claim {self.id or self.sentence!r}: {name!r} is empty")
        if self.published is not None and self.published not in get_args(Published):
            known = ", ".join(get_args(Published))
            raise ZkitError(f"claim {self.id}: published status {self.published!r} is none of {known}")

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
        return "; ".join(map(_describe, self.findings))

    @property
    def sentence(self) -> str:
        return f"{self.claim.id}: {self.status} on {self.model}. {self.claim.sentence} ({self.reason})"

    def to_dict(self) -> dict[str, Any]:
        findings = [{**vars(f), "ci": list(f.ci) if f.ci else None} for f in self.findings]
        claim = self.claim.to_dict()
        return {"claim": claim, "model": self.model, "status": self.status, "findings": findings}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Verdict:
        findings = (Finding(**{**f, "ci": tuple(f["ci"]) if f["ci"] else None}) for f in record["findings"])
        return cls(Claim.from_dict(record["claim"]), record["model"], record["status"], tuple(findings))


def judge(claim: Claim, stats: Mapping[str, Any], model: str) -> Verdict:
    """Judge a claim on the statistics of one run on ``model``.

    ``stats`` is {name: {"value", "n", "ci", "unit"}}, as in a results file.

    Raises ZkitError for a statistic that is not such a record.
    """
    truth, findings = claim.rule.judge(stats)
    own: dict[bool | None, Status] = {True: "confirmed", False: "refuted", None: "open"}
    other: dict[bool | None, Status] = {True: "analogue holds", False: "analogue fails", None: "not testable"}
    return Verdict(claim, model, (own if model == claim.model else other)[truth], findings)


def board(verdicts: Iterable[Verdict]) -> str:
    """HTML table of verdicts: claim, status beside the published one, rule, what was found."""
    head = ("Claim", "Verdict", "Rule, fixed before the run", "Found")
    rows = [
        (
            f"<strong>{html.escape(v.claim.id)}</strong> {html.escape(v.claim.sentence)}",
            f"<strong>{html.escape(v.status)}</strong> on {html.escape(v.model)}"
            + (f"<br>published: {html.escape(v.claim.published)}" if v.claim.published else ""),
            html.escape(v.claim.says),
            "<br>".join(html.escape(_describe(finding)) for finding in v.findings),
        )
        for v in verdicts
    ]
    return tables.raw(head, rows, "Claims and verdicts")


def _describe(finding: Finding) -> str:
    """For example: words_ratio = 0.3 [0.2, 0.4], n = 30; < 0.5 holds."""
    if finding.value is None:
        return f"{finding.statistic}: {finding.note}"
    spread = f" [{finding.ci[0]:.3g}, {finding.ci[1]:.3g}]" if finding.ci else ""
    unit = f" {finding.unit}" if finding.unit else ""
    count = f", n = {finding.n}" if finding.n is not None else ""
    outcome = {True: "holds", False: "fails", None: f"is undecided: {finding.note}"}[finding.holds]
    rule = f"{finding.op} {finding.bound:g}".replace(">=", "≥").replace("<=", "≤")
    return f"{finding.statistic} = {finding.value:.3g}{spread}{unit}{count}; {rule} {outcome}"


def _read(name: str, record: Any) -> tuple[float | None, tuple[float, float] | None, int | None, str | None]:
    if record is None:
        return None, None, None, None
    if not isinstance(record, Mapping) or "value" not in record:
        raise ZkitError(f"statistic {name!r} must be a record of 'value', 'n', 'ci' and 'unit', not {record!r}")
    value = record["value"]
    number = float(value) if value is not None and math.isfinite(value) else None
    ci = record.get("ci")
    interval = (float(ci[0]), float(ci[1])) if ci is not None else None
    return number, interval, record.get("n"), record.get("unit")


def _within_rounding(value: float, bound: float) -> bool:
    return value != bound and abs(value - bound) <= ROUNDING * max(abs(value), abs(bound), ROUNDING)
