"""The live face: ipywidgets over the same axes, with a callable that answers when the button is pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zkbook.explorable.axes import Axis
from zkbook.explorable.page import EMPTY
from zkit.errors import ZkitError
from zkit.foreign import Html, visible

if TYPE_CHECKING:
    import ipywidgets

    from zkbook.explorable.content import Content


def panel(explorable: Content, answer: Callable[..., str]) -> ipywidgets.Widget:
    """Controls, a Run button and the text ``answer(**{axis name: value})`` returns, escaped.

    The controls start where the page's do and show the stored text; they may leave the grid: a slider takes
    any number between the ends of its axis (whole ones if the axis has only whole numbers), a list any string
    typed. An error of ``answer`` is shown in place of the text. Raises ZkitError if ipywidgets is not
    installed.
    """
    try:
        import ipywidgets as widgets
    except ImportError as error:
        raise ZkitError("the live face needs ipywidgets; install it with `pip install ipywidgets`") from error

    controls = {axis.name: _control(widgets, axis) for axis in explorable.axes}
    run = widgets.Button(description="Run", button_style="primary")
    output = widgets.HTML(_paragraph(explorable.text[explorable.start]))

    def press(_: object) -> None:
        run.disabled, run.description = True, "Running ..."
        try:
            output.value = _paragraph(answer(**{name: control.value for name, control in controls.items()}))
        except Exception as error:
            output.value = _paragraph(f"{type(error).__name__}: {error}")
        finally:
            run.disabled, run.description = False, "Run"

    run.on_click(press)
    return widgets.VBox([*controls.values(), run, output])


def _control(widgets: ipywidgets, axis: Axis) -> ipywidgets.Widget:
    shared = {
        "value": axis.default,
        "description": axis.shown,
        "continuous_update": False,
        "style": {"description_width": "initial"},
        "layout": widgets.Layout(width="95%"),
    }
    if not axis.slider:
        return widgets.Combobox(options=[str(v) for v in axis.values], ensure_option=False, **shared)
    low, high = min(axis.values), max(axis.values)  # type: ignore[type-var]
    if all(isinstance(value, int) for value in axis.values):
        return widgets.IntSlider(min=low, max=high, **shared)
    return widgets.FloatSlider(min=low, max=high, step=(float(high) - float(low)) / 100 or 1.0, **shared)


def _paragraph(text: str) -> Html:
    return Html(
        '<p class="mathjax_ignore" dir="auto"'
        ' style="white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:plaintext">{}</p>'
    ).format(visible(text).strip() or EMPTY)
