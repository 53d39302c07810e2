"""What an explorable holds: texts over a grid, a curve, a caption and a description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zkbook.explorable.axes import Axis, Curve, Position, Value, flat
from zkit.errors import ZkitError


@dataclass(frozen=True)
class Content:
    """What an explorable holds, whatever face shows it: see :class:`zkbook.explorable.Explorable`."""

    key: str
    axes: Sequence[Axis]
    text: Mapping[Position, str]
    caption: str
    alt: str
    curve: Curve | None = None
    notes: Mapping[Position, str] | None = None
    baseline: tuple[str, Value] | None = None
    baseline_label: str = "For comparison"

    def __post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        if not names or len(set(names)) < len(names):
            raise ZkitError(f"explorable {self.key!r} needs axes with different names; got {names}")
        if not self.alt.strip():
            raise ZkitError(f"explorable {self.key!r} needs alt text that says what it shows; pass alt=...")
        flat(self.text, self.axes, f"text of explorable {self.key!r}")
        if self.notes is not None:
            flat(self.notes, self.axes, f"notes of explorable {self.key!r}")
        if self.baseline is not None:
            self.axis(self.baseline[0]).index(self.baseline[1])
        if self.curve is not None:
            over = [self.axis(name) for name in self.curve.axes]
            for part, cells in (self.curve.parts | dict(self.curve.beside)).items():
                flat(cells, over, f"curve ({part}) of explorable {self.key!r}")

    def axis(self, name: str) -> Axis:
        """The axis of that name. ZkitError if there is none."""
        for axis in self.axes:
            if axis.name == name:
                return axis
        raise ZkitError(f"{name!r} is not an axis; there are {', '.join(axis.name for axis in self.axes)}")

    @property
    def start(self) -> Position:
        """Where the reader finds every control."""
        return tuple(axis.index(axis.default) for axis in self.axes)

    def moved(self, name: str, value: Value) -> Position:
        """The start, but with one axis at ``value``."""
        pairs = zip(self.axes, self.start, strict=True)
        return tuple(axis.index(value) if axis.name == name else at for axis, at in pairs)
