"""One look for every figure, legible on light and dark pages, with a caption and a description.

Matplotlib figures become inline SVG whose ink is ``currentColor``: they take the colour of the text around
them. Plotly is for figures that answer to the reader; each needs a static twin.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from zkit import foreign
from zkit.errors import ZkitError
from zkit.foreign import Html

# Each has a contrast of at least 3:1 on white and on the dark page.
COLORS = {
    "blue": "#2f7fc1",
    "orange": "#c8641c",
    "green": "#2a9468",
    "purple": "#9a64cf",
    "red": "#cf4560",
    "grey": "#777d88",
}
# A colour no figure uses by chance; it is replaced by the colour of the surrounding text.
INK = "#0a0b0c"
_OWN = "$\\mathdefault{"  # how matplotlib begins the labels of a logarithmic axis
_HANZI = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")

_LOOK: Any = {
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.prop_cycle": cycler(color=list(COLORS.values())),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "path",
    "svg.hashsalt": "zkit",
}

_PLOTLY_BOOT = """(() => {
  const draw = () => {
    const box = document.getElementById("ID");
    if (!window.Plotly || !box) return;
    const spec = JSON.parse(box.nextElementSibling.textContent);
    const ink = () => getComputedStyle(box).color;
    const grid = {gridcolor: "#7d859060", zerolinecolor: "#7d8590a0"};
    const layout = {...spec.layout, paper_bgcolor: "#0000", plot_bgcolor: "#0000"};
    layout.template = {layout: {xaxis: grid, yaxis: grid, colorway: COLORWAY}};
    layout.font = {...layout.font, color: ink()};
    box.parentElement.dataset.plotted = "";  // first: a hidden box has no width to fill
    Plotly.newPlot(box, spec.data, layout, {responsive: true, displayModeBar: false});
    new MutationObserver(() => Plotly.relayout(box, {"font.color": ink()}))
      .observe(document.documentElement, {attributes: true, attributeFilter: ["data-theme"]});
  };
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", draw) : draw();
})();"""


def use() -> None:
    """Set matplotlib's look for the rest of the process: for the first cells of a notebook."""
    mpl.rcParams.update(_LOOK)


@contextmanager
def look() -> Iterator[None]:
    """Matplotlib's settings for the book, for as long as the block lasts."""
    with mpl.rc_context(_LOOK):
        yield


def subplots(
    rows: int = 1, cols: int = 1, *, width: float = 5.6, height: float = 3.1, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the book's look and its axes, as ``pyplot.subplots`` gives them; sizes in inches."""
    with look():
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(rows, cols, **options)


def band(
    axes: Axes,
    x: Sequence[float],
    value: Sequence[float],
    low: Sequence[float],
    high: Sequence[float],
    *,
    label: str = "",
    color: str = COLORS["blue"],
) -> None:
    """A line with its interval shaded; every sequence has one entry per x."""
    axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    axes.plot(x, value, color=color, marker="o", label=label or None)


def label(text: str) -> str:
    """Anybody's text as a label of a figure: a dollar sign in it begins no formula."""
    return foreign.visible(text).replace("$", r"\$")


def svg(figure: Figure, alt: str) -> Html:
    """The figure as inline SVG with ``alt`` as its name: the same bytes on every run.

    Raises ZkitError for an empty ``alt``, for hanzi, which no font of matplotlib's draws, and for a text that it would
    read as a formula.
    """
    if not alt.strip():
        raise ZkitError("a figure needs alt text that says what it shows; pass alt=...")
    with look():
        for text in figure.findobj(Text):
            if isinstance(text, Text) and _HANZI.search(text.get_text()):
                raise ZkitError(f"hanzi in a figure: {text.get_text()!r}; put them into a table or the caption")
            if isinstance(text, Text) and is_math_text(text.get_text()) and not text.get_text().startswith(_OWN):
                raise ZkitError(
                    f"{text.get_text()!r} would be drawn as a formula; figures.label(...) draws it as it is"
                )
        for legend in figure.findobj(Legend):
            legend.set_frame_on(False)  # type: ignore[attr-defined]  # its box would be opaque on a dark page
        # Laid out once and then left alone: a second layout pass moves things by a hair.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue(), alt)


def show(figure: Any, *, key: str, caption: str, alt: str, twin: Figure | None = None) -> None:
    """Display a figure with its caption and description.

    ``figure`` is a matplotlib figure, or a plotly one together with its static ``twin`` in matplotlib, which
    stands in for it in print and without JavaScript. The book numbers figures in the order of the page, and
    ``{ref}`fig-<key>``` refers to one. Raises ZkitError for an empty key, caption or alt, and for a plotly
    figure without a twin.
    """
    foreign.show(to_html(figure, key=key, caption=caption, alt=alt, twin=twin), caption)
    # A figure that pyplot still holds would be shown a second time at the end of its cell.
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and isinstance(figure, Figure):
        pyplot.close(figure)


def to_html(figure: Any, *, key: str, caption: str, alt: str, twin: Figure | None = None) -> Html:
    """What ``show`` displays."""
    if isinstance(figure, Figure):
        return wrap(svg(figure, alt), key=key, caption=caption)
    if twin is None:
        raise ZkitError(
            f"figure {key!r} is interactive; pass a matplotlib figure as twin=, for print and for readers "
            "without JavaScript"
        )
    body = plotly_html(figure, alt) + Html('<div class="zk-twin">{}</div>').format(svg(twin, alt))
    return wrap(body, key=key, caption=caption)


def wrap(body: Html, *, key: str, caption: str, classes: str = "zk-figure") -> Html:
    """HTML figure around ``body``; the book's build writes "Figure 3." into the empty span."""
    if not re.fullmatch(r"[a-z][a-z0-9-]*", key):
        raise ZkitError(
            f"figure key {key!r} must be lower-case letters, digits and hyphens: it becomes an id, fig-{key}"
        )
    if not caption.strip():
        raise ZkitError(f"figure {key!r} needs a caption; pass caption=...")
    return Html(
        '<figure class="{}" id="fig-{}">{}<figcaption><span class="zk-number"></span>{}</figcaption></figure>'
    ).format(classes, key, body, caption)


def plotly_html(figure: Any, alt: str) -> Html:
    """A plotly figure as HTML that expects ``window.Plotly`` from the page and stays empty without it.

    Plotly reads marks like ``<b>`` in its texts: those of ``figure`` are to be an author's.
    """
    spec = figure.to_json().replace("<", "\\u003c")
    div = "plot-" + digest(spec)
    boot = _PLOTLY_BOOT.replace("ID", div).replace("COLORWAY", str(list(COLORS.values())))
    return Html(
        '<div class="zk-plotly" id="{}" role="img" aria-label="{}"></div>'
        '<script type="application/json">{}</script><script>{}</script>'
    ).format(div, alt, Html(spec), Html(boot))


def digest(text: str) -> str:
    """Short name for a content, so that ids are the same on every run."""
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _inline(text: str, alt: str) -> Html:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = text.replace(INK, "currentColor")
    text = re.sub(r' (d|x|y)="[^"]*"', _shorten, text)
    text = re.sub(r">\s+<", "><", text)
    # Two figures on a page must not share an id, and an id that nothing refers to is ballast.
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    names = {name for pair in used for name in pair if name}
    prefix = "z" + digest(text)
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in names else "", text)
    text = re.sub(r'href="#', f'href="#{prefix}-', text)
    text = re.sub(r"url\(#", f"url(#{prefix}-", text)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()  # type: ignore[union-attr]
    opening = Html(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        'viewBox="0 0 {} {}" role="img" aria-label="{}" '
        'style="width:100%;max-width:{:.0f}px;height:auto;stroke-linejoin:round">'
    ).format(width, height, alt, float(width) * 1.55)
    return opening + Html(text[text.index(">") + 1 :].strip())


def _shorten(attribute: re.Match[str]) -> str:
    """Hundredths of a point are enough; the digits beyond differ between processors."""
    return re.sub(
        r"-?\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), attribute[0]
    ).replace("\n", "")
