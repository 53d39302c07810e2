"""The static face: HTML that works from a file, with JavaScript that has nothing to fetch.

Without JavaScript, and on paper, the text at every value of the main axis and a drawn twin of the curve
remain. The same explorable gives the same bytes.
"""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain, product
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from zkbook import figures
from zkbook.explorable.axes import Axis, Position, describe, flat
from zkit.errors import ZkitError
from zkit.foreign import Html, visible

if TYPE_CHECKING:
    from zkbook.explorable.content import Content

EMPTY = "(no text: it ended at once)"
_BESIDE = ("green", "purple", "red")


def check(explorable: Content) -> None:
    """ZkitError unless key and caption can head a figure."""
    figures.wrap(Html(), key=explorable.key, caption=explorable.caption)


def render(explorable: Content) -> Html:
    data = json.dumps(payload(explorable), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    name = "zk-" + figures.digest(explorable.key + data)
    controls = Html().join(_control(axis, i, at, name) for i, (axis, at) in enumerate(_paired(explorable)))
    plot = Html()
    if explorable.curve is not None:
        plot = Html('<div class="zk-plot" role="img" aria-label="{}"></div><div class="zk-twin">{}</div>').format(
            explorable.alt, figures.svg(twin(explorable), explorable.alt)
        )
    body = Html(
        '<style>{}</style><div class="zk-controls" hidden>{}</div>{}{}{}'
        '<script type="application/json" class="zk-grid">{}</script>'
    ).format(_asset("style.css"), controls, _panes(explorable), plot, _unscripted(explorable), Html(data))
    figure = figures.wrap(body, key=explorable.key, caption=explorable.caption, classes="zk-figure zk-explorable")
    return figure + Html("<script>{}</script>").format(_asset("page.js"))


def payload(explorable: Content) -> dict[str, Any]:
    """What the script reads: plain JSON, grids flattened row by row."""
    axes = explorable.axes
    grid: dict[str, Any] = {
        "axes": [
            {"title": visible(a.shown), "labels": _seen(a.shown_labels), "default": at, "slider": a.slider}
            for a, at in zip(axes, explorable.start, strict=True)
        ],
        "text": [seen.strip() for seen in _seen(flat(explorable.text, axes, "text"))],
        "empty": EMPTY,
    }
    if explorable.notes is not None:
        grid["notes"] = _seen(flat(explorable.notes, axes, "notes"))
    if explorable.baseline is not None:
        axis = explorable.axis(explorable.baseline[0])
        grid["baseline"] = {"axis": list(axes).index(axis), "index": axis.index(explorable.baseline[1])}
    if (curve := explorable.curve) is not None:
        order = [axis.name for axis in axes]
        over = [explorable.axis(name) for name in curve.axes]
        numbers = {part: [_number(v) for v in flat(cells, over, part)] for part, cells in curve.parts.items()}
        others = [[_number(v) for v in flat(cells, over, name)] for name, cells in curve.beside.items()]
        x = explorable.axis(curve.x)
        grid["curve"] = {
            "x": order.index(curve.x),
            "axes": [order.index(name) for name in curve.axes],
            "points": x.places if x.slider else _seen(x.shown_labels),
            "category": not x.slider,
            "xlabel": visible(x.shown),
            "ylabel": visible(curve.label),
            "references": [
                {"label": visible(name), "value": _number(value)} for name, value in curve.references.items()
            ],
            "range": _range([*chain(*numbers.values(), *others), *curve.references.values()]),
            **numbers,
        }
        if others:
            grid["curve"]["beside"] = [
                {"label": visible(name), "color": figures.COLORS[color], "y": y}
                for name, color, y in zip(curve.beside, _BESIDE, others, strict=False)
            ]
    return grid


def twin(explorable: Content) -> Figure:
    """The default line with its interval and its point; the lines of all other choices thin behind it."""
    curve = explorable.curve
    if curve is None:
        raise ZkitError(f"explorable {explorable.key!r} has no curve to draw")
    axes = [explorable.axis(name) for name in curve.axes]
    along = list(curve.axes).index(curve.x)
    places: Sequence[Any] = [figures.label(x) if isinstance(x, str) else x for x in axes[along].places]
    start = tuple(axis.index(axis.default) for axis in axes)
    home = (*start[:along], 0, *start[along + 1 :])
    others = [(axis, at) for i, (axis, at) in enumerate(zip(axes, start, strict=True)) if i != along]
    chosen = textwrap.fill(figures.label(describe([axis for axis, _ in others], tuple(at for _, at in others))), 70)

    def line(cells: Mapping[Position, float], at: Position) -> list[float]:
        return [cells[(*at[:along], i, *at[along + 1 :])] for i in range(len(places))]

    the_others = " and ".join(axis.shown for axis, _ in others)
    with figures.look():
        figure, plot = figures.subplots()
        for at in product(*(range(1 if i == along else len(axis.values)) for i, axis in enumerate(axes))):
            if at != home:
                label = None if plot.lines else figures.label(f"other values of {the_others}")
                plot.plot(places, line(curve.y, at), color=figures.COLORS["grey"], linewidth=0.8, label=label)
        main = line(curve.y, home)
        if curve.low is not None and curve.high is not None:
            figures.band(plot, places, main, line(curve.low, home), line(curve.high, home), label=chosen)
        else:
            plot.plot(places, main, color=figures.COLORS["blue"], marker="o", label=chosen or None)
        for (name, cells), color in zip(curve.beside.items(), _BESIDE, strict=False):
            plot.plot(places, line(cells, home), color=figures.COLORS[color], label=figures.label(name))
        ring = {"marker": "o", "markersize": 11, "fillstyle": "none", "markeredgewidth": 2.2}
        plot.plot([places[start[along]]], [main[start[along]]], color=figures.COLORS["orange"], **ring)
        for name, value in curve.references.items():
            plot.axhline(value, color=figures.COLORS["grey"], linestyle="--", linewidth=1.2)
            plot.annotate(
                figures.label(name), (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9
            )
        plot.set(xlabel=figures.label(axes[along].shown), title=figures.label(curve.label))
        if chosen or curve.beside:
            figure.legend(loc="outside lower center", ncols=2 if curve.beside else 1)
    return figure


def _paired(explorable: Content) -> list[tuple[Axis, int]]:
    return list(zip(explorable.axes, explorable.start, strict=True))


def _control(axis: Axis, index: int, at: int, name: str) -> Html:
    label = Html('<label for="{}-{}">{}</label>').format(name, index, axis.shown)
    shared = Html('id="{}-{}" data-axis="{}" autocomplete="off"').format(name, index, index)
    if axis.slider:
        return Html(
            '<div>{label}<div class="zk-row">'
            '<input type="range" {shared} min="0" max="{last}" step="1" value="{at}" aria-valuetext="{shown}">'
            '<output for="{name}-{index}">{shown}</output></div></div>'
        ).format(
            label=label,
            shared=shared,
            last=len(axis.values) - 1,
            at=at,
            shown=axis.shown_labels[at],
            name=name,
            index=index,
        )
    options = Html().join(
        Html('<option value="{}"{}>{}</option>').format(i, " selected" if i == at else "", shown)
        for i, shown in enumerate(axis.shown_labels)
    )
    return Html('<div class="zk-wide">{}<select {}>{}</select></div>').format(label, shared, options)


def _panes(explorable: Content) -> Html:
    chosen = Html().join(
        Html('<p class="zk-unscripted"><strong>{}:</strong> {}</p>').format(axis.shown, axis.shown_labels[at])
        for axis, at in _paired(explorable)
        if not axis.slider
    )
    panes = Html()
    if explorable.baseline is not None:
        panes = _pane(explorable, explorable.baseline_label, explorable.moved(*explorable.baseline), "zk-base")
    sliders = [(axis, at) for axis, at in _paired(explorable) if axis.slider]
    heading = describe([axis for axis, _ in sliders], tuple(at for _, at in sliders))
    live = Html(' aria-live="polite" aria-atomic="true"')
    panes += _pane(explorable, heading, explorable.start, "zk-now", live)
    return Html('{}<div class="zk-panes">{}</div>').format(chosen, panes)


def _pane(explorable: Content, heading: str, at: Position, kind: str, more: str = "") -> Html:
    text = visible(explorable.text[at]).strip()
    kept = "zk-text" if text else "zk-text zk-none"
    note = "" if explorable.notes is None else Html('<p class="zk-note">{}</p>').format(explorable.notes[at])
    return Html('<div class="zk-pane {}"{}><p class="zk-where">{}</p><p class="{}" dir="auto">{}</p>{}</div>').format(
        kind, more, heading, kept, text or EMPTY, note
    )


def _unscripted(explorable: Content) -> Html:
    """For print and without JavaScript: the text at every value of the axis the curve runs along."""
    axis = explorable.axis(explorable.curve.x) if explorable.curve else explorable.axes[-1]
    rows = Html().join(
        Html('<tr><th scope="row">{} {}</th><td dir="auto">{}</td></tr>').format(
            axis.shown, label, visible(explorable.text[explorable.moved(axis.name, value)]).strip() or EMPTY
        )
        for label, value in zip(axis.shown_labels, axis.values, strict=True)
    )
    return Html('<div class="zk-unscripted"><table>{}</table></div>').format(rows)


def _seen(texts: Iterable[str]) -> list[str]:
    return [visible(text) for text in texts]


def _asset(name: str) -> Html:
    return Html((files("zkbook.explorable") / name).read_text(encoding="utf-8").strip())


def _number(value: float) -> float | None:
    """Six digits, and None (JSON's null) for what is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _range(values: Iterable[float | None]) -> list[float]:
    """One scale for every slice, so that moving a control never moves the axis."""
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or 1.0
    return [low - room, high + room]
