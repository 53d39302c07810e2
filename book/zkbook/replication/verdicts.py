"""What a measurement says about a published figure: pure rules, which see no model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from zkbook.replication.records import Shape, Tolerance, number
from zkit.reading import Checked, Count, Ends, Finite

Status = Literal["reproduced", "not reproduced", "cannot be compared"]
UNTRAINED = "untrained weights"
ELSEWHERE = "another model"


class Measured(Checked):
    """A value as found: its number of items and interval if it has them, and where it was found if not as printed."""

    value: Finite
    n: Count | None = None
    ci: Ends | None = None
    where: str = ""

    def __str__(self) -> str:
        told = number(self.value) + ("" if self.ci is None else f" [{number(self.ci[0])}, {number(self.ci[1])}]")
        beside = ", ".join(([f"n = {self.n:,}"] if self.n is not None else []) + ([self.where] if self.where else []))
        return f"{told} ({beside})" if beside else told


class NotMeasured(Checked):
    """Why there is no value; ``failed`` if it should have been there."""

    why: str
    failed: bool = False


Found = Measured | NotMeasured


@dataclass(frozen=True)
class Verdict:
    """Where a published figure stands after a run, and why."""

    status: Status
    why: str = ""

    def __str__(self) -> str:
        return f"{self.status}: {self.why}" if self.why else self.status


def judge(
    printed: float | list[float], tolerance: Tolerance | None, found: Found, *, same_model: bool, untrained: bool
) -> Verdict:
    """The verdict on one printed number.

    Random weights reproduce nothing, whatever shape they have. Without a measurement nothing can be compared. On
    another model the figure is that model's own, however near it lies.
    """
    if isinstance(found, NotMeasured) or tolerance is None:
        why = found.why if isinstance(found, NotMeasured) else "there is no tolerance"
        failed = isinstance(found, NotMeasured) and found.failed
        said = f"{'failed' if failed else 'not measured'}: {why}"
        return Verdict("not reproduced", f"{UNTRAINED}; {said}") if untrained else Verdict("cannot be compared", said)
    if untrained:
        return Verdict("not reproduced", UNTRAINED)
    if not same_model:
        return Verdict("cannot be compared", ELSEWHERE)
    low, high = bounds(printed, tolerance)
    if low <= found.value <= high:
        return Verdict("reproduced")
    return Verdict("not reproduced", f"outside {number(low)} to {number(high)}")


def bounds(printed: float | list[float], tolerance: Tolerance) -> tuple[float, float]:
    """The smallest and the largest value that count as reproduced."""
    if tolerance.range is not None:
        return tolerance.range[0], tolerance.range[1]
    ends = printed if isinstance(printed, list) else [printed, printed]
    by = [tolerance.relative * abs(end) if tolerance.relative is not None else tolerance.absolute or 0 for end in ends]
    return ends[0] - by[0], ends[-1] + by[-1]


def is_same_model(name: str, shape: dict[str, Any], published: Shape) -> bool:
    """Whether a model is the published one: by its name on the hub, and its shape must not speak against it.

    A shape alone proves nothing, because every fine-tune has that of its base.
    """
    own = published.model_dump(exclude={"id", "source"})
    return name == published.id and own == {key: shape[key] for key in own}
