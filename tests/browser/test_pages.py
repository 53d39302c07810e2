"""Every page in a real browser: nothing from other hosts, no errors, legible in light and dark and on a phone."""

import re
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import pytest
from visit import PHONE, pages, visit

pytestmark = pytest.mark.browser

WIDTH = 1280
CUT_OFF = """() => [...document.querySelectorAll("article :is(p, li) > code")].filter((code) => !code.closest("table")
  && code.getBoundingClientRect().right > code.parentElement.getBoundingClientRect().right + 1)
  .map((code) => code.innerText)"""


@pytest.fixture(scope="module", params=product(pages(), ("light", "dark")), ids="-".join)
def seen(chromium, site, request):
    path, theme = request.param
    with visit(chromium, site + path, width=WIDTH, theme=theme) as opened:
        yield opened


def axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def luminance(colour: str) -> float:
    red, green, blue = (float(part) for part in colour.strip("rgba()").split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_page_asks_no_other_host(seen):
    seen.page.mouse.wheel(0, 20000)
    assert seen.outside == []


def test_page_raises_no_error(seen):
    assert seen.errors == []


def test_page_fits_a_phone(seen):
    seen.page.set_viewport_size({"width": PHONE, "height": 800})
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert seen.page.evaluate(CUT_OFF) == []
    seen.page.set_viewport_size({"width": WIDTH, "height": 900})


def test_page_follows_the_theme(seen, request):
    theme = seen.page.evaluate("document.documentElement.dataset.theme")
    assert f"-{theme}]" in request.node.name
    paper = luminance(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert (paper < 0.2) if theme == "dark" else (paper > 0.8)
    for drawing in seen.page.locator("figure.zk-figure svg[role=img]").all():
        ink = luminance(drawing.evaluate("(svg) => getComputedStyle(svg).color"))
        assert abs(ink - paper) > 0.5


# Without preload, or axe asks for style sheets under wrong addresses. Contrast takes most of the time, and of it the
# words of code, whose colours are the same on every page: they are looked at on one.
LEGIBLE = "{preload: false, runOnly: ['color-contrast']}"
SOUND = "{preload: false, rules: {'color-contrast': {enabled: false}}}"


def accessible(page, where: str, rules: str) -> None:
    page.evaluate(axe())
    found = page.evaluate(f"axe.run({where}, {rules})")
    assert [f"{v['id']}: {n['html'][:200]}" for v in found["violations"] for n in v["nodes"]] == []
    assert found["passes"]


def test_article_is_legible(seen):
    accessible(seen.page, "{include: [['.bd-article']], exclude: [['.highlight']]}", LEGIBLE)


def test_article_is_accessible(seen):
    if seen.page.evaluate("document.documentElement.dataset.theme") == "light":  # the theme changes colours alone
        accessible(seen.page, "'.bd-article'", SOUND)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_code_is_legible(chromium, site, theme):
    with visit(chromium, f"{site}book/executed/00_embedded_model.html", theme=theme) as opened:
        for fold in opened.page.locator("details").all():
            fold.evaluate("(details) => { details.open = true }")
        accessible(opened.page, "'.highlight'", LEGIBLE)


def test_figures_are_described_numbered_in_order_and_captioned(seen):
    captions = seen.page.locator("figure.zk-figure > figcaption").all_inner_texts()
    # The gallery links to the numbers that its figures have in their chapters.
    count = 0 if seen.page.url.endswith("gallery.html") else len(captions)
    numbers = [found[0] for caption in captions if (found := re.match(r"Figure \d+\. ", caption))]
    assert numbers == [f"Figure {i + 1}. " for i in range(count)]
    assert all(re.sub(r"^Figure \d+\.", "", caption).strip() for caption in captions)
    pictures = seen.page.locator("figure.zk-figure [role=img]").all()
    assert all(picture.get_attribute("aria-label") for picture in pictures)
    assert len(pictures) >= len(captions)


def test_formulas_are_drawn(chromium, site):
    with visit(chromium, f"{site}book/notation.html") as opened:
        assert opened.page.locator("mjx-container").count() > 10
        assert opened.page.locator("mjx-merror").count() == 0
