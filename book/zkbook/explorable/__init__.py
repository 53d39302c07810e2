"""One explorable, two faces.

A precomputed grid of texts, with a curve over it, is shown in the book as native sliders that need nothing
but the page; ``live`` shows the same axes in Jupyter with a callable behind them. What the texts are about is
not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from zkbook.explorable import live, page
from zkbook.explorable.axes import Axis, Curve, grid
from zkbook.explorable.content import Content
from zkit.foreign import bundle

if TYPE_CHECKING:
    import ipywidgets

__all__ = ["Axis", "Curve", "Explorable", "grid"]


@dataclass(frozen=True)
class Explorable(Content):
    """Texts over a grid, with a curve, a caption and a description; as the value of a cell it shows itself.

    ``text`` maps every position (a tuple with one index per axis, in their order) to a generated text, shown
    escaped. ``notes`` adds a line under each. ``baseline`` = (axis name, value) shows the text at that value,
    headed ``baseline_label``, beside the chosen one. ``key`` becomes the figure's id and ``alt`` describes
    the curve in words. The defaults of the axes should already show the finding: few readers move a slider.

    Raises ZkitError for a hole in a grid, for names that are not axes, and for an empty key, caption or alt.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        page.check(self)

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
