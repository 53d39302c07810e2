"""One explorable, two faces.

A precomputed grid of texts, with a curve over it, is shown in the book as native sliders that need nothing
but the page; ``live`` shows the same axes in Jupyter with a callable behind them. What the texts are about is
not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from zkbook.explorable import live, page
from zkbook.explorable.axes import Axis, Curve, Position, Value, flat, grid
from zkit.errors import ZkitError
from zkit.foreign import bundle

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["Axis", "Curve", "Explorable", "grid"]


@dataclass(frozen=True)
class Explorable:
    """Texts over a grid, with a curve, a caption and a description; as the value of a cell it shows itself.

    ``text`` maps every position (a tuple with one index per axis, in their order) to a generated text, shown
    escaped. ``notes`` adds a line under each. ``baseline`` = (axis name, value) shows the text at that value,
    headed ``baseline_label``, beside the chosen one. ``key`` becomes the figure's id and ``alt`` describes
    the curve in words. The defaults of the axes should already show the finding: few readers move a slider.

    Raises ZkitError for a hole in a grid, for names that are not axes, and for an empty key, caption or alt.
    """

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
        page.check(self)

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

    def twin(self) -> Figure:
        """The curve as a static figure, for print. ZkitError if there is no curve."""
        return page.twin(self)

    def live(self, answer: Callable[..., str]) -> ipywidgets.Widget:
        """The same axes in Jupyter, free to leave the grid, with ``answer(**{axis name: value})`` behind a
        button.
        """
        return live.panel(self, answer)

    def _repr_html_(self) -> str:
        return bundle(page.render(self), self.caption)["text/html"]
