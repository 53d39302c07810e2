"""Position selectors by themselves, and the Tracker that follows a running forward pass."""

from types import SimpleNamespace

import pytest
import reference
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.positions import Positions, Tracker, inner, last, parse, prompt_width, span

KINDS = ["all", "prompt", "generated", "last"]


@st.composite
def choices(draw):
    kind, first_token = draw(st.sampled_from([*KINDS, "span", "inner"])), draw(st.booleans())
    if kind == "span":
        a = draw(st.integers(0, 12))
        return reference.selector("span", a, draw(st.integers(max(a + 1, 1 if first_token else 2), 16)), first_token)
    if kind == "inner":
        return reference.selector("inner", draw(st.integers(0, 8)), draw(st.integers(0, 8)), first_token)
    return reference.selector(kind, draw(st.integers(1, 14)) if kind == "last" else 0, 0, first_token)


def chosen(tracker, which):
    """[batch, seq] of bools, whatever shorthand the tracker uses."""
    got = tracker.select(which)
    return got.tolist() if isinstance(got, torch.Tensor) else got


@settings(few, max_examples=100)
@given(choices(), st.lists(st.integers(1, 10), min_size=1, max_size=4), st.integers(0, 4), st.booleans())
def test_a_tracker_chooses_what_counting_chooses(which, prompts, new, declared):
    """Prefill of a left-padded batch, then ``new`` cached steps, then the whole again without a cache."""
    width, tracker = max(prompts), Tracker()
    mask = torch.tensor([[0] * (width - n) + [1] * n for n in prompts])
    if declared:
        tracker.declared = width

    def places(n, total):
        picked = which.places(n, total)
        return [False] * (width - n) + [i in picked for i in range(total)]

    tracker(None, (), {"input_ids": mask, "attention_mask": mask})
    assert chosen(tracker, which.chosen) == [places(n, n) for n in prompts]
    for step in range(1, new + 1):
        grown = torch.cat((mask, torch.ones(len(prompts), step, dtype=torch.long)), 1)
        tracker(None, (), {"input_ids": grown[:, -1:], "attention_mask": grown})
        want = [places(n, n + step)[-1:] for n in prompts]
        got = chosen(tracker, which.chosen)
        assert (got if isinstance(got, list) else [[got]] * len(prompts)) == want
    if declared:
        grown = torch.cat((mask, torch.ones(len(prompts), new, dtype=torch.long)), 1)
        tracker(None, (), {"input_ids": grown, "attention_mask": grown, "use_cache": False})
        assert chosen(tracker, which.chosen) == [places(n, n + new) for n in prompts]


def test_padding_is_never_chosen():
    mask = torch.tensor([[0, 0, 1, 1, 0], [1, 1, 1, 1, 1]])  # padding on both sides, as in scoring
    for kind in KINDS:
        for first_token in (False, True):
            tracker = Tracker()
            tracker.declared = 3
            tracker(None, (), {"input_ids": mask, "attention_mask": mask})
            got = torch.tensor(chosen(tracker, parse(kind, first_token)))
            assert not (got & (mask == 0)).any()
            assert bool(got[1, 0]) == (first_token and kind in ("all", "prompt"))
    tracker.declared = 3
    tracker(None, (), {"input_ids": mask, "attention_mask": mask})
    assert chosen(tracker, inner(0, 0)) == [[False] * 5, [False, True, True, False, False]]
    assert chosen(tracker, inner(0, 1, first_token=True)) == [[False] * 5, [True, True, False, False, False]]


def test_a_tracker_without_a_mask_reads_the_cache():
    tracker, ids = Tracker(), torch.zeros(2, 5, dtype=torch.long)
    tracker(None, (ids,), {})
    assert torch.equal(tracker.select(parse("last")), torch.tensor([[False] * 4 + [True]] * 2))
    tracker(
        None, (), {"inputs_embeds": torch.zeros(2, 1, 8), "past_key_values": SimpleNamespace(get_seq_length=lambda: 5)}
    )
    assert tracker.select(parse("generated")) is True
    assert tracker.select(parse("prompt")) is False
    assert torch.equal(tracker.select(span(5, 6)), torch.tensor([[True]] * 2))
    assert torch.equal(tracker.select(span(4, 5)), torch.tensor([[False]] * 2))


def test_a_four_dimensional_mask_is_refused():
    model = tiny.shared()
    mask = torch.zeros(1, 1, 5, 5)
    with (
        zkit.edit(model, [zkit.Edit("layer", 0, lambda h: h)]),
        pytest.raises(zkit.ZkitError, match="two-dimensional attention mask"),
    ):
        model.hf(input_ids=torch.ones(1, 5, dtype=torch.long), attention_mask=mask)


def test_parse_knows_its_words():
    assert parse("last") == last(1) == Positions("last", stop=1)
    assert parse(last(3), first_token=True) == last(3, first_token=True)
    assert parse(last(3, first_token=True)) == last(3, first_token=True)
    assert parse(span(2, 4)) == span(2, 4)
    assert parse(inner(3, 9), first_token=True) == inner(3, 9, first_token=True) == Positions("inner", 3, 9, True)
    for kind in ("all", "prompt", "generated"):
        assert parse(kind) == Positions(kind)
        assert parse(kind, True) == Positions(kind, first_token=True)
    for word in ("last(3)", "ALL", "", "span", "inner", "first", 3, None):
        with pytest.raises(zkit.ZkitError, match="unknown positions"):
            parse(word)


@pytest.mark.parametrize("k", [0, -1])
def test_last_of_nothing(k):
    with pytest.raises(zkit.ZkitError, match=r"last\("):
        last(k)


@pytest.mark.parametrize("counts", [(-1, 0), (0, -1), (-2, -2)])
def test_inner_leaves_out_no_negative_number(counts):
    with pytest.raises(zkit.ZkitError, match=r"inner\(.* negative number of tokens"):
        inner(*counts)


def test_inner_needs_to_know_where_the_prompt_ends():
    tracker, ids = Tracker(), torch.ones(1, 5, dtype=torch.long)
    tracker(None, (ids,), {"use_cache": False})
    with pytest.raises(zkit.ZkitError, match="'inner' need to know where the prompt ends"):
        tracker.select(inner(1, 1))


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 3), (3, 3), (4, 2), (0, 0)])
def test_empty_spans(bounds):
    with pytest.raises(zkit.ZkitError, match="selects no token"):
        span(*bounds)
    assert span(0, 1, first_token=True).first_token


def test_a_declared_width_ends_with_its_block():
    model = tiny.shared()
    with zkit.edit(model, [zkit.Edit("layer", 0, lambda h: h)]), zkit.edit(model, [zkit.Edit("layer", 0, lambda h: h)]):
        trackers = [hook for hook in model.decoder._forward_pre_hooks.values() if isinstance(hook, Tracker)]
        assert len(trackers) == 2
        with prompt_width(model.decoder, 7):
            with pytest.raises(RuntimeError), prompt_width(model.decoder, 3):
                assert [t.declared for t in trackers] == [3, 3]
                raise RuntimeError
            assert [t.declared for t in trackers] == [7, 7]
        assert [t.declared for t in trackers] == [None, None]
