"""The grid under an explorable: its axes, the curve over them, and how a tidy frame becomes a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

from zkit.errors import ZkitError

if TYPE_CHECKING:
    import pandas as pd

Value = float | int | str
Position = tuple[int, ...]
Cell = TypeVar("Cell")
BESIDE = 3
"""Curves that stand beside one: as many as there are colours for."""


@dataclass(frozen=True)
class Axis:
    """One thing the reader may change. Numbers get a slider, strings a drop-down list.

    ``name`` is the keyword a live callable receives; ``title`` is what the reader sees (the name, by
    default); ``labels`` are the values as shown (by default, as printed); ``default`` is one of the values.
    """

    name: str
    values: Sequence[Value]
    default: Value
    labels: Sequence[str] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ZkitError(f"axis name {self.name!r} must be a Python identifier; use title= for what is shown")
        if len(self.values) == 0 or len(set(self.values)) < len(self.values):
            raise ZkitError(f"axis {self.name!r} needs values, each once; got {list(self.values)}")
        if self.labels and len(self.labels) != len(self.values):
            raise ZkitError(f"axis {self.name!r} has {len(self.values)} values but {len(self.labels)} labels")
        self.index(self.default)

    @property
    def slider(self) -> bool:
        return not any(isinstance(value, str) for value in self.values)

    @property
    def shown(self) -> str:
        return self.title or self.name

    @property
    def shown_labels(self) -> list[str]:
        return list(self.labels) or [value if isinstance(value, str) else f"{value:g}" for value in self.values]

    @property
    def places(self) -> list[float] | list[str]:
        """Where the values stand on a plot: numbers, or names in a row."""
        return self.shown_labels if not self.slider else [float(value) for value in self.values]

    def index(self, value: Value) -> int:
        """Where ``value`` stands, numbers compared up to rounding. ZkitError if it is not a value."""
        for index, own in enumerate(self.values):
            if own == value or (_numbers(own, value) and math.isclose(own, value, abs_tol=1e-9)):  # type: ignore[arg-type]
                return index
        raise ZkitError(f"{value!r} is not a value of axis {self.name!r}: {', '.join(map(str, self.values))}")


@dataclass(frozen=True)
class Curve:
    """A quantity over some of the axes, drawn along one of them; the others choose which line is drawn.

    ``axes`` names the axes of the grids ``y``, ``low`` and ``high``, which map positions on these axes to
    numbers (NaN leaves a gap); ``x`` is the axis drawn along. ``beside`` are curves to compare with, on the same
    axes and always drawn, at most three. ``references`` are levels to compare with, as labelled dashed lines.
    """

    x: str
    axes: Sequence[str]
    y: Mapping[Position, float]
    label: str
    low: Mapping[Position, float] | None = None
    high: Mapping[Position, float] | None = None
    references: Mapping[str, float] = field(default_factory=dict)
    beside: Mapping[str, Mapping[Position, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.beside) > BESIDE:
            raise ZkitError(f"at most {BESIDE} curves stand beside one, got {len(self.beside)}")
        if self.x not in self.axes:
            raise ZkitError(f"the curve runs along {self.x!r}, which is not among its axes: {', '.join(self.axes)}")
        if (self.low is None) != (self.high is None):
            raise ZkitError("an interval needs both ends: pass low and high, or neither")

    @property
    def parts(self) -> dict[str, Mapping[Position, float]]:
        """The grids there are, by name."""
        named = {"y": self.y, "low": self.low, "high": self.high}
        return {name: cells for name, cells in named.items() if cells is not None}


def grid(frame: pd.DataFrame, axes: Sequence[Axis], column: str) -> dict[Position, Any]:
    """Map positions on ``axes`` to the entries of ``column``; each axis is the frame's column of the same
    name.

    Raises ZkitError for a missing column, a row off the grid and two rows at one position.
    """
    names = [*(axis.name for axis in axes), column]
    for name in names:
        if name not in frame.columns:
            raise ZkitError(f"the frame has no column {name!r}; it has {', '.join(map(str, frame.columns))}")
    cells: dict[Position, Any] = {}
    for *values, cell in zip(*(frame[name].tolist() for name in names), strict=True):
        position = tuple(axis.index(value) for axis, value in zip(axes, values, strict=True))
        if position in cells:
            raise ZkitError(f"two rows of the frame stand at {describe(axes, position)}")
        cells[position] = cell
    return cells


def flat(cells: Mapping[Position, Cell], axes: Sequence[Axis], what: str) -> list[Cell]:
    """Cells row by row, the last axis fastest. ZkitError names ``what`` and the place of the first hole."""
    ordered = []
    for position in product(*(range(len(axis.values)) for axis in axes)):
        if position not in cells:
            raise ZkitError(f"{what} has no entry at {describe(axes, position)}")
        ordered.append(cells[position])
    return ordered


def describe(axes: Sequence[Axis], position: Position) -> str:
    return ", ".join(f"{axis.shown} {axis.shown_labels[i]}" for axis, i in zip(axes, position, strict=True))


def _numbers(*values: Value) -> bool:
    return not any(isinstance(value, str) for value in values)
