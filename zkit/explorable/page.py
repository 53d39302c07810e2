"""The static face: HTML that works from a file, with JavaScript that has nothing to fetch.

Without JavaScript, and on paper, the text at every value of the main axis and a drawn twin of the curve
remain. The same explorable gives the same bytes.
"""

from __future__ import annotations

import html
import json
import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import chain, product
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from zkit import figures
from zkit.errors import ZkitError
from zkit.explorable.axes import Axis, Position, describe, flat

if TYPE_CHECKING:
    from zkit.explorable import Explorable

EMPTY = "(no text: it ended at once)"
# Control characters that HTML forbids or that would reorder the page around a generated text.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)


def check(explorable: Explorable) -> None:
    """ZkitError unless key and caption can head a figure."""
    figures.wrap("", key=explorable.key, caption=explorable.caption)


def render(explorable: Explorable) -> str:
    data = json.dumps(payload(explorable), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    name = "zk-" + figures.digest(explorable.key + data)
    controls = "".join(_control(axis, i, at, name) for i, (axis, at) in enumerate(_paired(explorable)))
    plot = ""
    if explorable.curve is not None:
        alt = html.escape(explorable.alt)
        plot = f'<div class="zk-plot" role="img" aria-label="{alt}"></div>'
        plot += f'<div class="zk-twin">{figures.svg(twin(explorable), explorable.alt)}</div>'
    body = (
        f'<style>{_asset("style.css")}</style><div class="zk-controls" hidden>{controls}</div>'
        f"{_panes(explorable)}{plot}{_unscripted(explorable)}"
        f'<script type="application/json" class="zk-grid">{data}</script>'
    )
    figure = figures.wrap(body, key=explorable.key, caption=explorable.caption, classes="zk-figure zk-explorable")
    return f"{figure}<script>{_asset('page.js')}</script>"


def payload(explorable: Explorable) -> dict[str, Any]:
    """What the script reads: plain JSON, grids flattened row by row."""
    axes = explorable.axes
    grid: dict[str, Any] = {
        "axes": [
            {"title": a.shown, "labels": a.shown_labels, "default": at, "slider": a.slider}
            for a, at in zip(axes, explorable.start, strict=True)
        ],
        "text": [visible(text) for text in flat(explorable.text, axes, "text")],
        "empty": EMPTY,
    }
    if explorable.notes is not None:
        grid["notes"] = flat(explorable.notes, axes, "notes")
    if explorable.baseline is not None:
        axis = explorable.axis(explorable.baseline[0])
        grid["baseline"] = {"axis": list(axes).index(axis), "index": axis.index(explorable.baseline[1])}
    if (curve := explorable.curve) is not None:
        order = [axis.name for axis in axes]
        over = [explorable.axis(name) for name in curve.axes]
        numbers = {part: [_number(v) for v in flat(cells, over, part)] for part, cells in curve.parts.items()}
        x = explorable.axis(curve.x)
        grid["curve"] = {
            "x": order.index(curve.x),
            "axes": [order.index(name) for name in curve.axes],
            "points": x.places,
            "category": not x.slider,
            "xlabel": x.shown,
            "ylabel": curve.label,
            "references": [{"label": name, "value": _number(value)} for name, value in curve.references.items()],
            "range": _range([*chain(*numbers.values()), *curve.references.values()]),
            **numbers,
        }
    return grid


def twin(explorable: Explorable) -> Figure:
    """The default line with its interval and its point; the lines of all other choices thin behind it."""
    curve = explorable.curve
    if curve is None:
        raise ZkitError(f"explorable {explorable.key!r} has no curve to draw")
    axes = [explorable.axis(name) for name in curve.axes]
    along = list(curve.axes).index(curve.x)
    places: Sequence[Any] = axes[along].places
    start = tuple(axis.index(axis.default) for axis in axes)
    home = (*start[:along], 0, *start[along + 1 :])
    others = [(axis, at) for i, (axis, at) in enumerate(zip(axes, start, strict=True)) if i != along]
    chosen = textwrap.fill(describe([axis for axis, _ in others], tuple(at for _, at in others)), 70)

    def line(cells: Mapping[Position, float], at: Position) -> list[float]:
        return [cells[(*at[:along], i, *at[along + 1 :])] for i in range(len(places))]

    with figures.look():
        figure, plot = figures.subplots()
        for at in product(*(range(1 if i == along else len(axis.values)) for i, axis in enumerate(axes))):
            if at != home:
                label = None if plot.lines else f"other values of {' and '.join(axis.shown for axis, _ in others)}"
                plot.plot(places, line(curve.y, at), color=figures.COLORS["grey"], linewidth=0.8, label=label)
        main = line(curve.y, home)
        if curve.low is not None and curve.high is not None:
            figures.band(plot, places, main, line(curve.low, home), line(curve.high, home), label=chosen)
        else:
            plot.plot(places, main, color=figures.COLORS["blue"], marker="o", label=chosen or None)
        ring = {"marker": "o", "markersize": 11, "fillstyle": "none", "markeredgewidth": 2.2}
        plot.plot([places[start[along]]], [main[start[along]]], color=figures.COLORS["orange"], **ring)
        for name, value in curve.references.items():
            plot.axhline(value, color=figures.COLORS["grey"], linestyle="--", linewidth=1.2)
            plot.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=9)
        plot.set(xlabel=axes[along].shown, title=curve.label)
        if chosen:
            figure.legend(loc="outside lower center")
    return figure


def visible(text: str) -> str:
    """A generated text with what a page cannot show replaced by the replacement character."""
    return _UNSEEN.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _paired(explorable: Explorable) -> list[tuple[Axis, int]]:
    return list(zip(explorable.axes, explorable.start, strict=True))


def _control(axis: Axis, index: int, at: int, name: str) -> str:
    title, labels = html.escape(axis.shown), [html.escape(label) for label in axis.shown_labels]
    label = f'<label for="{name}-{index}">{title}</label>'
    shared = f'id="{name}-{index}" data-axis="{index}" autocomplete="off"'
    if axis.slider:
        return (
            f'<div>{label}<div class="zk-row">'
            f'<input type="range" {shared} min="0" max="{len(labels) - 1}" step="1" value="{at}" '
            f'aria-valuetext="{labels[at]}"><output for="{name}-{index}">{labels[at]}</output></div></div>'
        )
    options = "".join(
        f'<option value="{i}"{" selected" if i == at else ""}>{label}</option>' for i, label in enumerate(labels)
    )
    return f'<div class="zk-wide">{label}<select {shared}>{options}</select></div>'


def _panes(explorable: Explorable) -> str:
    chosen = "".join(
        f'<p class="zk-unscripted"><strong>{html.escape(axis.shown)}:</strong> {html.escape(axis.shown_labels[at])}</p>'
        for axis, at in _paired(explorable)
        if not axis.slider
    )
    panes = ""
    if explorable.baseline is not None:
        panes = _pane(explorable, explorable.baseline_label, explorable.moved(*explorable.baseline), "zk-base")
    sliders = [(axis, at) for axis, at in _paired(explorable) if axis.slider]
    heading = describe([axis for axis, _ in sliders], tuple(at for _, at in sliders))
    live = ' aria-live="polite" aria-atomic="true"'
    panes += _pane(explorable, heading, explorable.start, "zk-now", live)
    return f'{chosen}<div class="zk-panes">{panes}</div>'


def _pane(explorable: Explorable, heading: str, at: Position, kind: str, more: str = "") -> str:
    text = visible(explorable.text[at])
    kept = "zk-text" if text else "zk-text zk-none"
    note = "" if explorable.notes is None else f'<p class="zk-note">{html.escape(explorable.notes[at])}</p>'
    return (
        f'<div class="zk-pane {kind}"{more}><p class="zk-where">{html.escape(heading)}</p>'
        f'<p class="{kept}" dir="auto">{html.escape(text or EMPTY)}</p>{note}</div>'
    )


def _unscripted(explorable: Explorable) -> str:
    """For print and without JavaScript: the text at every value of the axis the curve runs along."""
    axis = explorable.axis(explorable.curve.x) if explorable.curve else explorable.axes[-1]
    rows = "".join(
        f'<tr><th scope="row">{html.escape(axis.shown)} {html.escape(label)}</th><td dir="auto">'
        f"{html.escape(visible(explorable.text[explorable.moved(axis.name, value)]) or EMPTY)}</td></tr>"
        for label, value in zip(axis.shown_labels, axis.values, strict=True)
    )
    return f'<div class="zk-unscripted"><table>{rows}</table></div>'


def _asset(name: str) -> str:
    return (files("zkit.explorable") / name).read_text(encoding="utf-8").strip()


def _number(value: float) -> float | None:
    """Six digits, and None (JSON's null) for what is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _range(values: Iterable[float | None]) -> list[float]:
    """One scale for every slice, so that moving a control never moves the axis."""
    finite = [value for value in values if value is not None and math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or 1.0
    return [low - room, high + room]
