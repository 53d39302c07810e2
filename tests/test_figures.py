"""Figures: the same bytes every time, the ink of the page, a caption and a description, no hanzi."""

import json
import re

import plotly.graph_objects as go
import pytest

from zkbook import figures
from zkit.errors import ZkitError


def drawn(title="Words"):
    with figures.look():
        figure, axes = figures.subplots()
        figures.band(axes, [0, 1, 2], [3.0, 2.0, 1.0], [2.5, 1.5, 0.5], [3.5, 2.5, 1.5], label="terse")
        axes.set_title(title)
        axes.legend()
    return figure


def test_same_figure_same_bytes_also_when_drawn_twice():
    figure = drawn()
    assert figures.svg(figure, "a") == figures.svg(figure, "a") == figures.svg(drawn(), "a")


def test_ink_is_the_colour_of_the_page_and_every_id_is_its_own():
    first, second = figures.svg(drawn(), "a"), figures.svg(drawn("Tokens"), "a")
    assert "currentColor" in first
    assert figures.INK not in first
    assert "#ffffff" not in first
    assert "<style" not in first
    ids = [set(re.findall(r' id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    refs = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', first))
    assert {name for pair in refs for name in pair if name} == ids[0]


def test_a_legend_drawn_outside_the_look_hides_nothing_on_a_dark_page():
    figure, axes = figures.subplots()
    axes.plot([0, 1], [1, 0], label="terse")
    axes.legend()
    assert "#ffffff" not in figures.svg(figure, "a")


def test_html_carries_caption_id_and_description_escaped():
    text = figures.to_html(drawn(), key="dose-curve", caption="p < .05", alt='falls "fast"')
    assert '<figure class="zk-figure" id="fig-dose-curve">' in text
    assert "p &lt; .05" in text
    assert 'aria-label="falls &quot;fast&quot;"' in text


def test_plotly_comes_with_its_data_its_twin_and_no_library():
    figure = go.Figure(go.Scatter(x=["</script>"], y=[1]))
    text = figures.to_html(figure, key="map", caption="A map.", alt="A map", twin=drawn())
    assert text == figures.to_html(figure, key="map", caption="A map.", alt="A map", twin=drawn())
    data = re.search(r'<script type="application/json">(.*?)</script>', text).group(1)
    assert json.loads(data)["data"][0]["x"] == ["</script>"]
    assert "<svg" in text
    assert "http" not in text.replace("http://www.w3.org/", "")


def test_show_emits_html_and_plain_text(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: shown.append((bundle, raw)))
    figures.show(drawn(), key="k", caption="Words fall.", alt="a")
    ((bundle, raw),) = shown
    assert raw
    assert bundle["text/plain"] == "Words fall."
    assert "<figure" in bundle["text/html"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: figures.svg(drawn("答案"), "a"), "答案"),
        (lambda: figures.svg(drawn(), " "), "alt"),
        (lambda: figures.to_html(drawn(), key="A b", caption="c", alt="a"), "A b"),
        (lambda: figures.to_html(drawn(), key="a", caption="", alt="a"), "caption"),
        (lambda: figures.to_html(go.Figure(), key="a", caption="c", alt="a"), "twin"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ZkitError, match=named):
        make()


@pytest.mark.parametrize("colour", figures.COLORS.values())
@pytest.mark.parametrize("page", ["#ffffff", "#14181e"])
def test_colours_stand_out_on_light_and_dark(colour, page):
    def luminance(code):
        parts = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(colour), luminance(page)))
    assert (high + 0.05) / (low + 0.05) >= 3
