"""The controls of a page: they move text and curve, by keyboard; without script and on paper the twin stands in."""

import json
import math
import re
from itertools import product

import pytest
from visit import PATIENCE, PHONE, pages, visit

from zkbook.explorable import Axis, Curve, Explorable

pytestmark = pytest.mark.browser

CHAPTERS = [page for page in pages() if "executed" in page]
GALLERY = "book/gallery.html"


def explorables(page):
    return page.locator("figure.zk-explorable").all()


def payload(figure):
    return json.loads(figure.locator("script.zk-grid").text_content())


def entry(sizes, position):
    flat = 0
    for size, index in zip(sizes, position, strict=True):
        flat = flat * size + index
    return flat


def expected_text(grid, position):
    return grid["text"][entry([len(axis["labels"]) for axis in grid["axes"]], position)] or grid["empty"]


def expected_line(grid, position):
    """Points of the line drawn at this position, and the one that is marked."""
    curve, sizes = grid["curve"], [len(axis["labels"]) for axis in grid["axes"]]
    along = [
        entry([sizes[a] for a in curve["axes"]], [i if a == curve["x"] else position[a] for a in curve["axes"]])
        for i in range(len(curve["points"]))
    ]
    line = [curve["y"][i] for i in along]
    return line, curve["points"][position[curve["x"]]], line[position[curve["x"]]]


def check(figure, grid, position):
    assert figure.locator(".zk-now .zk-text").inner_text().strip() == expected_text(grid, position).strip()
    if "curve" in grid:
        data = figure.locator(".zk-plot").evaluate("(p) => p.data.map((t) => [[...t.x], [...t.y]])")
        line, x, y = expected_line(grid, position)
        assert data[1][1] == line
        assert data[2] == [[x], [y]]


@pytest.fixture(scope="module", params=[*CHAPTERS, GALLERY])
def seen(chromium, site, request):
    with visit(chromium, site + request.param) as opened:
        yield opened


def test_the_first_chapter_has_an_explorable(built_book):
    assert "zk-explorable" in (built_book / CHAPTERS[0]).read_text(encoding="utf-8")


def test_the_gallery_shows_every_explorable_of_the_chapters(built_book):
    def keys(path, prefix):
        text = (built_book / path).read_text(encoding="utf-8")
        return re.findall(rf'<figure class="zk-figure zk-explorable" id="{prefix}-([^"]+)"', text)

    assert keys(GALLERY, "gallery") == [key for path in CHAPTERS for key in keys(path, "fig")]


def test_every_control_moves_text_and_curve_by_keyboard(seen):
    for figure in explorables(seen.page):
        grid = payload(figure)
        position = [axis["default"] for axis in grid["axes"]]
        check(figure, grid, position)
        for control in figure.locator("[data-axis]").all():
            number = int(control.get_attribute("data-axis"))
            axis = grid["axes"][number]
            step = 1 if position[number] + 1 < len(axis["labels"]) else -1
            forward, back = ("ArrowRight", "ArrowLeft") if axis["slider"] else ("ArrowDown", "ArrowUp")
            control.focus()
            seen.page.keyboard.press(forward if step > 0 else back)
            position[number] += step
            check(figure, grid, position)
            if axis["slider"]:
                label = axis["labels"][position[number]]
                assert control.get_attribute("aria-valuetext") == label
                assert figure.locator(f"output[for={control.get_attribute('id')}]").inner_text() == label
                assert label in figure.locator(".zk-now .zk-where").inner_text()
    assert seen.errors == []


def test_on_paper_the_twin_replaces_plot_and_controls(seen):
    seen.page.emulate_media(media="print")
    for figure in explorables(seen.page):
        assert figure.locator(".zk-twin svg").is_visible()
        assert figure.locator(".zk-unscripted").last.is_visible()
        assert not figure.locator(".zk-controls").is_visible()
        assert not figure.locator(".zk-plot").is_visible()
    seen.page.emulate_media(media="screen")


@pytest.mark.parametrize("path", [*CHAPTERS, GALLERY])
def test_without_script_the_twin_and_the_row_of_texts_stand_in(chromium, site, path):
    with visit(chromium, site + path, javascript=False) as opened:
        for figure in explorables(opened.page):
            grid = payload(figure)
            assert not figure.locator(".zk-controls").is_visible()
            assert not figure.locator(".zk-plot").is_visible()
            assert figure.locator(".zk-twin svg").bounding_box()["width"] > 200
            along = grid["curve"]["x"] if "curve" in grid else -1
            shown = [row.inner_text() for row in figure.locator(".zk-unscripted td").all()]
            assert len(shown) == len(grid["axes"][along]["labels"])
            assert all(text.strip() for text in shown)


def test_without_script_the_gallery_fits_a_phone(chromium, site):
    with visit(chromium, site + GALLERY, width=PHONE, javascript=False) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE


HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "{{7*7}} 锁 &lt;b&gt;",
]


def hostile():
    axes = [Axis("dose", [0, 1, 2], 1), Axis("question", HOSTILE, HOSTILE[0])]
    cells = {at: HOSTILE[at[0]] for at in product(range(3), range(3))}
    y = {(0,): 1.0, (1,): math.nan, (2,): 2.0}
    return Explorable(
        key="hostile",
        axes=axes,
        text=cells,
        notes=cells,
        curve=Curve("dose", ["dose"], y, HOSTILE[1], references={HOSTILE[1]: 1.5}),
        baseline=("dose", 0),
        baseline_label=HOSTILE[0],
        caption=HOSTILE[0],
        alt=HOSTILE[1],
    )._repr_html_()


@pytest.mark.parametrize("plotly", [True, False])
def test_generated_text_never_acts(chromium, site, plotly):
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site}genindex.html")
    script = f'<script src="{site}_static/vendor/plotly.min.js"></script>' if plotly else ""
    page.set_content(f"<!doctype html><html lang=en><body>{script}{hostile()}</body></html>", wait_until="load")
    slider = page.locator("input[type=range]")
    for key, text in (("Home", HOSTILE[0]), ("ArrowRight", HOSTILE[1]), ("ArrowRight", HOSTILE[2])):
        slider.press(key)
        assert page.locator(".zk-now .zk-text").inner_text() == text
    assert page.evaluate("window.hacked") is None
    assert page.locator("figure img").count() == 0
    # Without plotly, as in Jupyter, controls and text work and the twin stands in for the curve.
    assert page.locator(".zk-plot").is_visible() == plotly
    assert page.locator(".zk-twin svg").is_visible() != plotly
    assert errors == []
    page.context.close()
