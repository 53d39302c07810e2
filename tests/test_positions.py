"""Position selectors by themselves, and the Tracker that follows a running forward pass."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import reference
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import few
from torch import nn

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


class Decoder(nn.Module):
    """What a Tracker is told of: the names of its arguments."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, inputs_embeds=None, use_cache=None):
        pass


DECODER = Decoder()


def holding(n):
    """A cache of ``n`` tokens."""
    return SimpleNamespace(get_seq_length=lambda: n)


def seen(tracker, mask, past=0, **more):
    """Tell the tracker of a forward pass over the columns of ``mask`` behind those in the cache."""
    cache = {"past_key_values": holding(past)} if past else {}
    tracker(DECODER, (), {"input_ids": mask[:, past:], "attention_mask": mask, **cache, **more})


@settings(few, max_examples=100)
@given(choices(), st.lists(st.integers(1, 10), min_size=1, max_size=4), st.lists(st.integers(1, 4), max_size=4))
def test_a_tracker_chooses_what_counting_chooses(which, prompts, cuts):
    """A left-padded batch and its answers in passes of any size, the first cut off anywhere; then whole, uncached."""
    width, tracker = max(prompts), Tracker()
    new = 5
    mask = torch.tensor([[0] * (width - n) + [1] * (n + new) for n in prompts])
    ends = sorted({min(sum(cuts[: i + 1]), width + new) for i in range(len(cuts))} | {width, width + 1, width + new})

    def places(n):
        picked = which.places(n, n + new)
        return [False] * (width - n) + [i in picked for i in range(n + new)]

    want = [places(n) for n in prompts]
    with prompt_width(DECODER, width):
        for past, end in pairwise([0, *ends]):
            seen(tracker, mask[:, :end], past)
            got = chosen(tracker, which.chosen)
            part = [row[past:end] for row in want]
            assert (got if isinstance(got, list) else [[got] * (end - past)] * len(prompts)) == part
        seen(tracker, mask, use_cache=False)
        assert chosen(tracker, which.chosen) == want


@settings(few)
@given(st.lists(st.integers(1, 10), min_size=1, max_size=4), st.integers(1, 12), st.booleans())
def test_places_need_no_declaration_and_the_rest_is_refused(prompts, cut, cached):
    width = max(prompts)
    mask = torch.tensor([[0] * (width - n) + [1] * n for n in prompts])
    cut = min(cut, width - 1) if cached else 0
    tracker = Tracker()
    seen(tracker, mask, cut)
    for which in (reference.selector("all"), reference.selector("span", 2, 5), reference.selector("span", 0, 3, True)):
        want = [[False] * (width - n) + [i in which.places(n, n) for i in range(n)] for n in prompts]
        assert chosen(tracker, which.chosen) == [row[cut:] for row in want]
    for which in (parse("prompt"), parse("generated"), parse("last"), last(3), inner(1, 1)):
        with pytest.raises(zkit.ZkitError, match=f"'{which.kind}' need to know where the prompt ends"):
            tracker.select(which)


def test_padding_is_never_chosen():
    mask = torch.tensor([[0, 0, 1, 1, 0], [1, 1, 1, 1, 1]])  # padding on both sides, as in scoring
    tracker = Tracker()
    with prompt_width(DECODER, 3):
        seen(tracker, mask)
        for kind in KINDS:
            for first_token in (False, True):
                got = torch.tensor(chosen(tracker, parse(kind, first_token)))
                assert not (got & (mask == 0)).any()
                assert bool(got[1, 0]) == (first_token and kind in ("all", "prompt"))
        assert chosen(tracker, inner(0, 0)) == [[False] * 5, [False, True, True, False, False]]
        assert chosen(tracker, inner(0, 1, first_token=True)) == [[False] * 5, [True, True, False, False, False]]
        seen(tracker, mask, 3)  # a continuation behind a kept prefix
        assert chosen(tracker, parse("all")) == chosen(tracker, parse("generated")) == [[True, False], [True, True]]


def test_a_tracker_without_a_mask_reads_the_cache():
    tracker, ids = Tracker(), torch.zeros(2, 5, dtype=torch.long)
    with prompt_width(DECODER, 5):
        tracker(DECODER, (ids,), {})
        assert torch.equal(tracker.select(parse("last")), torch.tensor([[False] * 4 + [True]] * 2))
        tracker(DECODER, (), {"inputs_embeds": torch.zeros(2, 1, 8), "past_key_values": holding(5)})
        assert tracker.select(parse("generated")) is True
        assert tracker.select(parse("prompt")) is False
        assert torch.equal(tracker.select(span(5, 6)), torch.tensor([[True]] * 2))
        assert torch.equal(tracker.select(span(4, 5)), torch.tensor([[False]] * 2))


def test_what_a_decoder_is_given_by_place_counts_too():
    """Padding given by place was once taken for tokens."""
    tracker, mask = Tracker(), torch.tensor([[0, 0, 1, 1]])
    tracker(DECODER, (mask, mask), {})
    assert chosen(tracker, parse("all")) == [[False, False, False, True]]
    tracker(DECODER, (mask[:, 3:], mask, holding(3)), {})
    assert chosen(tracker, parse("all")) == [[True]]


def test_a_mask_that_is_too_short_is_refused_and_columns_to_come_are_not_read():
    tracker, mask = Tracker(), torch.ones(1, 6, dtype=torch.long)
    for columns, cache in ((4, None), (6, None), (6, holding(2))):
        tokens = {"input_ids": mask[:, :5], "attention_mask": mask[:, :columns], "past_key_values": cache}
        with pytest.raises(zkit.ZkitError, match=f"the attention mask has {columns} columns for"):
            tracker(DECODER, (), tokens)
    tracker(DECODER, (), {"input_ids": mask[:, :2], "attention_mask": mask, "past_key_values": holding(1)})
    assert chosen(tracker, parse("all")) == [[True, True]]


def test_a_four_dimensional_mask_is_refused():
    model = tiny.shared()
    mask = torch.zeros(1, 1, 5, 5)
    with (
        zkit.edit(model, [zkit.Edit("resid_post", 0, lambda h: h)]),
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


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 3), (3, 3), (4, 2), (0, 0)])
def test_empty_spans(bounds):
    with pytest.raises(zkit.ZkitError, match="selects no token"):
        span(*bounds)
    assert span(0, 1, first_token=True).first_token


def test_a_declared_width_ends_with_its_block():
    tracker, ids = Tracker(), torch.ones(1, 8, dtype=torch.long)

    def end():
        seen(tracker, ids)
        try:
            return chosen(tracker, parse("generated"))[0].index(True)
        except zkit.ZkitError:
            return None

    assert end() is None
    with prompt_width(DECODER, 7):
        with pytest.raises(RuntimeError), prompt_width(DECODER, 3):
            assert end() == 3
            raise RuntimeError
        with prompt_width(Decoder(), 2):
            assert end() == 7  # another model's
    assert end() is None


def test_a_width_is_declared_before_or_inside_the_block_alike():
    model = tiny.shared()
    batch = model.tokenize(["Hi", "Why are there tides"])
    width = batch["input_ids"].shape[1]
    last_token = zkit.edits.add("resid_post", 1, reference.random_vector(model, 0), parse("last"))
    with zkit.edit(model, [last_token]), prompt_width(model.decoder, width):
        inside = model.hf(**batch).logits
    with prompt_width(model.decoder, width), zkit.edit(model, [last_token]):
        assert torch.equal(model.hf(**batch).logits, inside)
    assert not torch.equal(model.hf(**batch).logits, inside)


@pytest.mark.parametrize("bad", [("model", 3), (DECODER, -1), (DECODER, 2.0), (DECODER, True), (DECODER, None)])
def test_a_width_that_is_none(bad):
    with pytest.raises(zkit.ZkitError, match=r"takes model\.decoder and a number of columns"), prompt_width(*bad):
        pytest.fail("the block must not run")
