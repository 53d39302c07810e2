"""Rules: bounds on named statistics, joined by "all of" and "any of", as data.

Judging follows Kleene's three-valued logic: a statistic that is missing, not a number, or whose interval contains the
bound decides nothing, and the finding says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from zkit.errors import ZkitError
from zkit.reading import shown

Operator = Literal["<", "<=", ">", ">="]

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

    @property
    def wording(self) -> str:
        """For example: words_ratio = 0.3 [0.2, 0.4], n = 30; < 0.5 holds."""
        if self.value is None:
            return f"{self.statistic}: {self.note}"
        spread = f" [{self.ci[0]:.3g}, {self.ci[1]:.3g}]" if self.ci else ""
        unit = f" {self.unit}" if self.unit else ""
        count = f", n = {self.n}" if self.n is not None else ""
        outcome = {True: "holds", False: "fails", None: f"is undecided: {self.note}"}[self.holds]
        rule = f"{self.op} {self.bound:g}".replace(">=", "≥").replace("<=", "≤")
        return f"{self.statistic} = {self.value:.3g}{spread}{unit}{count}; {rule} {outcome}"

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "ci": list(self.ci) if self.ci else None}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Finding:
        return cls(**{**record, "ci": tuple(record["ci"]) if record["ci"] else None})


@dataclass(frozen=True)
class Bound:
    """``statistic op bound``, for example ``Bound("words_ratio", "<", 0.5)``."""

    statistic: str
    op: Operator
    bound: float

    def __post_init__(self) -> None:
        if self.op not in get_args(Operator):
            raise ZkitError(f"a rule compares with one of {', '.join(get_args(Operator))}, not {shown(self.op)}")
        if not self.statistic:
            raise ZkitError("a bound needs the name of the statistic it reads")
        if not (_is_number(self.bound) and math.isfinite(self.bound)):
            raise ZkitError(f"the bound on {self.statistic!r} must be a finite number, not {str(self.bound)[:40]}")

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
        elif value is None:
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
        case {"statistic": str(statistic), "op": op, "bound": int() | float() as bound} if not isinstance(bound, bool):
            return Bound(statistic, op, bound)
    raise ZkitError(f"not a rule: {shown(record)}; expected keys 'all', 'any', or 'statistic', 'op' and 'bound'")


def _is_number(value: Any) -> bool:
    """Whether a float can hold ``value``, finite or not; truth is no number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _read(name: str, record: Any) -> tuple[float | None, tuple[float, float] | None, int | None, str | None]:
    if record is None:
        return None, None, None, None
    if not isinstance(record, Mapping) or "value" not in record:
        raise ZkitError(f"statistic {name!r} must be a record of 'value', 'n', 'ci' and 'unit', not {shown(record)}")
    value, ci = record["value"], record.get("ci")
    pair = isinstance(ci, list | tuple) and len(ci) == 2 and all(map(_is_number, ci))
    if not ((value is None or _is_number(value)) and (ci is None or pair)):
        raise ZkitError(
            f"statistic {name!r}: 'value' and 'ci' [low, high] must be numbers, not {shown(value)} and {shown(ci)}"
        )
    interval = (float(ci[0]), float(ci[1])) if ci is not None else None
    if interval is not None and interval[0] > interval[1]:
        raise ZkitError(f"statistic {name!r}: 'ci' is {interval}; write the lower end first")
    n, unit = record.get("n"), record.get("unit")
    if not (n is None or (isinstance(n, Integral) and not isinstance(n, bool) and int(n) >= 0)):
        raise ZkitError(f"statistic {name!r}: 'n' must be a count, not {shown(n)}")
    if not isinstance(unit, str | None):
        raise ZkitError(f"statistic {name!r}: 'unit' must be a text, not {shown(unit)}")
    if value is None or not all(map(math.isfinite, (value, *(interval or ())))):
        value = interval = None  # half a number is none, and JSON has no word for it
    return None if value is None else float(value), interval, None if n is None else int(n), unit


def asked(findings: Iterable[Finding]) -> bool:
    """Whether all that these findings leave open was measured: what is undecided, and not what is missing."""
    return all(finding.value is not None for finding in findings if finding.holds is None)


def _within_rounding(value: float, bound: float) -> bool:
    return value != bound and abs(value - bound) <= ROUNDING * max(abs(value), abs(bound), ROUNDING)
