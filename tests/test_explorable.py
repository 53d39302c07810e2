"""The explorable: a whole grid or an error, the same bytes every time, no generated text acting as markup."""

import html
import json
import math
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkbook.explorable import Axis, Curve, Explorable, grid, page
from zkit.errors import ZkitError

QUESTION = Axis("question", ["What is a loaf?", "What is a tide?"], "What is a tide?")
LAYER = Axis("layer", [2, 4], 4)
DOSE = Axis("dose", [-0.5, 0.0, 0.5], 0.5, title="Dose")
AXES = [QUESTION, LAYER, DOSE]
FRAME = pd.DataFrame(
    [
        {"question": q, "layer": layer, "dose": d, "text": f"{q[10:-1]} {layer} {d}", "words": layer - d}
        for q in QUESTION.values
        for layer in LAYER.values
        for d in DOSE.values
    ]
)


def explorable(**changes):
    words = grid(FRAME[FRAME.question == "What is a loaf?"], [LAYER, DOSE], "words")
    fields = {
        "key": "steering",
        "axes": AXES,
        "text": grid(FRAME, AXES, "text"),
        "curve": Curve("dose", ["layer", "dose"], words, "Words", references={"prompted": 3.0}),
        "baseline": ("dose", 0.0),
        "caption": "Steered answers.",
        "alt": "Words fall with the dose.",
    }
    return Explorable(**{**fields, **changes})


class Page(HTMLParser):
    """Elements and text of a page, scripts and styles left out of the text."""

    def __init__(self, source):
        super().__init__()
        self.elements, self.words, self.data, self._inside = [], [], "", ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = "grid" if ("class", "zk-grid") in attrs else tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "grid":
            self.data += data
        elif self._inside not in ("script", "style"):
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_numbers_get_sliders_and_strings_a_list():
    page = Page(explorable()._repr_html_())
    layer, dose = (a for a in page.all("input") if a["type"] == "range")
    assert (layer["min"], layer["max"], layer["value"], layer["aria-valuetext"]) == ("0", "1", "1", "4")
    assert (dose["min"], dose["max"], dose["value"], dose["aria-valuetext"]) == ("0", "2", "2", "0.5")
    assert len(page.all("select")) == 1
    assert [o["value"] for o in page.all("option") if "selected" in o] == ["1"]
    labelled = {a["for"] for a in page.all("label")}
    assert labelled == {a["id"] for a in [layer, dose, *page.all("select")]}
    assert {o["for"] for o in page.all("output")} == {layer["id"], dose["id"]}


def test_payload_is_flat_with_the_last_axis_fastest():
    payload = json.loads(Page(explorable()._repr_html_()).data)
    assert payload["text"][:4] == ["loaf 2 -0.5", "loaf 2 0.0", "loaf 2 0.5", "loaf 4 -0.5"]
    assert payload["text"][6 + 5] == "tide 4 0.5"
    assert payload["curve"]["axes"] == [1, 2]
    assert payload["curve"]["x"] == 2
    assert payload["curve"]["points"] == [-0.5, 0.0, 0.5]
    assert payload["curve"]["y"] == [2.5, 2.0, 1.5, 4.5, 4.0, 3.5]
    assert payload["baseline"] == {"axis": 2, "index": 1}
    low, high = payload["curve"]["range"]
    assert low < 1.5 < 4.5 < high


def test_page_already_shows_default_baseline_and_the_whole_row_without_javascript():
    words = "\n".join(Page(explorable()._repr_html_()).words)
    assert "layer 4, Dose 0.5" in words
    assert words.count("tide 4 0.5") == 2  # in its pane, and in the row
    assert words.count("tide 4 0.0") == 2
    assert "tide 4 -0.5" in words
    assert "Steered answers." in words


def test_same_explorable_same_bytes_and_another_another_id():
    first, second = explorable()._repr_html_(), explorable()._repr_html_()
    assert first == second
    ids = set(re.findall(r'id="(zk-\w+)-\d"', first))
    assert len(ids) == 1
    assert not ids & set(re.findall(r'id="(zk-\w+)-\d"', explorable(key="other")._repr_html_()))


def test_ids_are_unique():
    ids = [attrs["id"] for _, attrs in Page(explorable()._repr_html_()).elements if "id" in attrs]
    assert len(ids) == len(set(ids))


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "a\x00b\u202ec\ud800",
    "]]>&lt;",
    "锁\r\n门",
]


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text()), min_size=2, max_size=2), st.text())
def test_generated_text_is_never_markup(texts, note):
    axis = Axis("dose", [0, 1], 1)
    cells = dict(zip([(0,), (1,)], texts, strict=True))
    source = Explorable("x", [axis], cells, "c", "a", notes={(0,): note, (1,): note})._repr_html_()
    page = Page(source)
    plain = Page(Explorable("x", [axis], {(0,): "p", (1,): "q"}, "c", "a", notes={(0,): "", (1,): ""})._repr_html_())
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    source.encode("utf-8")
    shown = json.loads(page.data)["text"]
    assert [s for s in shown if "\x00" in s or "\u202e" in s] == []


def test_an_empty_text_is_shown_as_such():
    axis = Axis("dose", [0, 1], 1)
    words = Page(Explorable("x", [axis], {(0,): "", (1,): "  \n"}, "c", "a")._repr_html_()).words
    assert len([w for w in words if "ended at once" in w]) == 3


def test_gaps_and_intervals_travel_as_null():
    y = {(0,): math.nan, (1,): 2.0}
    curve = Curve("dose", ["dose"], y, "Words", low={(0,): math.nan, (1,): 1.0}, high={(0,): math.inf, (1,): 3.0})
    axis = Axis("dose", [0, 1], 1)
    made = Explorable("x", [axis], {(0,): "a", (1,): "b"}, "c", "a", curve=curve)
    payload = json.loads(Page(made._repr_html_()).data)["curve"]
    assert (payload["y"], payload["low"], payload["high"]) == ([None, 2.0], [None, 1.0], [None, 3.0])


def test_twin_draws_every_line_the_reader_can_choose():
    axes = explorable().twin().axes[0]
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    assert {(2.5, 2.0, 1.5), (4.5, 4.0, 3.5), (3.5,)} <= drawn
    assert axes.get_xlabel() == "Dose"


def test_curve_over_a_named_axis_is_drawn_in_a_row():
    curve = Curve("question", ["question"], {(0,): 1.0, (1,): 2.0}, "Words")
    payload = json.loads(Page(explorable(curve=curve)._repr_html_()).data)["curve"]
    assert payload["category"]
    assert payload["points"] == QUESTION.values


def test_grid_finds_floats_up_to_rounding():
    axis = Axis("dose", [0.1 + 0.2], 0.3)
    assert grid(pd.DataFrame({"dose": [0.3], "text": ["a"]}), [axis], "text") == {(0,): "a"}


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: explorable(text={(0, 0, 0): "a"}), "question What is a loaf.*Dose 0"),
        (lambda: explorable(baseline=("alpha", 0.0)), "alpha"),
        (lambda: explorable(baseline=("dose", 7.0)), "7"),
        (lambda: explorable(key="Not an id"), "Not an id"),
        (lambda: explorable(caption=" "), "caption"),
        (lambda: explorable(alt=""), "alt"),
        (lambda: explorable(axes=[]), "axes"),
        (lambda: explorable(curve=Curve("dose", ["dose"], {(0,): 1.0}, "Words")), "Dose 0"),
        (lambda: Axis("dose", [1, 1], 1), "once"),
        (lambda: Axis("dose", [1, 2], 3), "3"),
        (lambda: Axis("dose", [1, 2], 1, labels=["one"]), "labels"),
        (lambda: Axis("not a name", [1], 1), "not a name"),
        (lambda: Curve("dose", ["layer"], {}, "Words"), "dose"),
        (lambda: Curve("dose", ["dose"], {}, "Words", low={}), "both ends"),
        (lambda: grid(FRAME, AXES, "txt"), "txt"),
        (lambda: grid(pd.concat([FRAME, FRAME]), AXES, "text"), "two rows"),
        (lambda: grid(FRAME, [QUESTION, LAYER, Axis("dose", [0.0], 0.0)], "text"), "-0.5"),
        (lambda: explorable(curve=None).twin(), "no curve"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ZkitError, match=named):
        make()


def controls(panel):
    *inputs, run, output = panel.children
    return {control.description: control for control in inputs}, run, output


def test_live_face_asks_the_callable_only_when_told_and_shows_its_text_escaped():
    asked = []

    def answer(**choice):
        asked.append(choice)
        return "<b>bold</b>"

    inputs, run, output = controls(explorable().live(answer))
    assert "tide 4 0.5" in output.value
    inputs["Dose"].value = 0.25
    inputs["question"].value = "What is a mutex?"
    assert asked == []
    run.click()
    assert asked == [{"question": "What is a mutex?", "layer": 4, "dose": pytest.approx(0.25)}]
    assert html.escape("<b>bold</b>") in output.value
    assert "<b>" not in output.value
    assert isinstance(inputs["layer"].value, int)
    assert not any(getattr(control, "continuous_update", False) for control in inputs.values())


def test_live_face_shows_an_error_and_stays_usable():
    def answer(**choice):
        raise ZkitError("layer 4 is not <there>")

    _, run, output = controls(explorable().live(answer))
    run.click()
    assert "layer 4 is not &lt;there&gt;" in output.value
    assert not run.disabled


def test_curves_to_compare_with_are_always_drawn():
    words = grid(FRAME[FRAME.question == "What is a loaf?"], [LAYER, DOSE], "words")
    other = {position: 40.0 + value for position, value in words.items()}
    shown = explorable(curve=Curve("dose", ["layer", "dose"], words, "Words", beside={"<b>random</b>": other}))
    curve = page.payload(shown)["curve"]
    assert curve["beside"][0]["y"] == [other[p] for p in sorted(other)] and curve["range"][1] > max(other.values())
    assert any(line.get_label() == "<b>random</b>" for line in page.twin(shown).axes[0].lines)
    assert "beside" not in page.payload(explorable())["curve"]
    holed = {position: value for position, value in other.items() if position != (0, 0)}
    for beside, message in (({"random": holed}, "no entry"), (dict.fromkeys("abcd", other), "at most 3")):
        with pytest.raises(ZkitError, match=message):
            explorable(curve=Curve("dose", ["layer", "dose"], words, "Words", beside=beside))
