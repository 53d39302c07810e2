"""The arithmetic of the attention sink: the published figures that it predicts, and its own bad input."""

import math

import pytest
import tiny

import zkit
from zkit.steering import sink

COUNTS = {"terse": (25, 26), "formal": (20, 18), "socratic": (24, 18), "dry-wit": (27, 23)}


def test_the_norm_of_the_first_token_is_what_makes_the_mean():
    size = sink.first_norm(449.8, 10.5, 19)
    assert (size + 18 * 10.5) / 19 == pytest.approx(449.8)
    assert sink.first_norm(7.0, 7.0, 5) == pytest.approx(7.0)  # no sink: a token like the others


def test_the_published_norms_and_cosines_follow_from_lengths():
    size = sink.first_norm(449.8, 10.5, 19)
    parts = {name: sink.sink_part(size, *counts) for name, counts in COUNTS.items()}
    assert parts["terse"] == pytest.approx(13.3, rel=0.05)
    assert sink.sink_part(size, 55, 40) == pytest.approx(-55.5, rel=0.05)
    cosines = sink.predicted_cosines(parts, sink.style_part(17.4, parts["terse"]))
    assert len(cosines) == 6
    assert sum(map(abs, cosines.values())) / 6 == pytest.approx(0.835, abs=0.01)
    assert sum(x for pair, x in cosines.items() if "terse" in pair) / 3 == pytest.approx(-0.70, abs=0.03)
    assert max(cosines, key=lambda pair: abs(cosines[pair])) == ("socratic", "dry-wit")


def test_swapping_the_prompts_turns_the_sink_part_around_and_equal_lengths_leave_none():
    assert sink.sink_part(100, 5, 8) == -sink.sink_part(100, 8, 5) != 0
    assert sink.sink_part(100, 7, 7) == 0


def test_cosines_without_a_sink_are_zero_and_without_a_style_one():
    assert sink.predicted_cosines({"a": 0.0, "b": 0.0}, 1.0) == {("a", "b"): 0}
    assert sink.predicted_cosines({"a": 2.0, "b": -3.0}, 0.0)["a", "b"] == pytest.approx(-1)


def test_the_parts_of_a_vector_add_up_as_squares():
    assert math.hypot(sink.style_part(5, 3), 3) == pytest.approx(5)


def test_tokens_are_counted_with_the_template():
    model = tiny.shared()
    bare, templated = (sink.token_counts(model, ["abc", "a"], chat) for chat in (False, True))
    assert bare == [3, 1]  # one token a byte
    assert templated[0] - templated[1] == 2 and templated[1] == 1 + sum(model.template_width)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sink.first_norm(1, 1, 0), "at least one token"),
        (lambda: sink.sink_part(1, 0, 3), "at least one token"),
        (lambda: sink.style_part(1, 2), "cannot hold a sink part"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(zkit.ZkitError, match=message):
        call()
