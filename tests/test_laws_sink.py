"""Law 6: with a sink planted, default pooling does not depend on the length of the prompt; the literal one does."""

import math

import pytest
import reference
import tiny
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit import edits, positions
from zkit.steering import actadd

SIZE = 1e4
"""Norm of the planted state."""
USUAL = 3.0
"""More than the share of usual states (norm 2 to 10 in 32 dimensions) in any one direction, pooled."""


def planted(model, direction):
    """An edit that gives the first token a huge state at the first layer; the residual stream carries it on."""
    return zkit.edit(model, [edits.add("layer", 0, SIZE * direction, positions.span(0, 1, first_token=True))])


def direction(model):
    return reference.random_vector(model, 42, norm=1.0)


lengths = st.tuples(st.integers(1, 15), st.integers(20, 90))


@few
@given(lengths, st.booleans())
def test_the_default_vector_knows_no_sink_and_the_literal_one_follows_the_lengths(pair, longer_first):
    model = tiny.shared()
    short, long = ("ab " * n for n in pair)
    plus, minus = (long, short) if longer_first else (short, long)
    s = direction(model)
    t_plus, t_minus = (len(ids) for ids in reference.rows(model, [plus, minus]))
    expected = SIZE * (1 / t_plus - 1 / t_minus)
    bare = {
        first_token: actadd(model, positive=plus, negative=minus, first_token=first_token)
        for first_token in (False, True)
    }
    with planted(model, s):
        default, literal = (actadd(model, positive=plus, negative=minus, first_token=first) for first in (False, True))
    assert torch.equal(default.vectors[0], bare[False].vectors[0])  # at the planted layer: nothing of it, to the bit
    assert torch.allclose(literal.vectors[0] - bare[True].vectors[0], expected * s, rtol=1e-5, atol=2e-3)
    for layer in default.layers:
        assert abs(float(default.vectors[layer] @ s)) < USUAL
        assert math.isclose(float(literal.vectors[layer] @ s), expected, rel_tol=0.05, abs_tol=USUAL)


@few
@given(lengths)
def test_pooled_states_do_not_grow_or_shrink_with_length(pair):
    model = tiny.shared()
    s = direction(model)
    texts = ["ab " * n for n in pair]
    tokens = [len(ids) for ids in reference.rows(model, texts)]
    with planted(model, s):
        default, literal = zkit.record(model, texts), zkit.record(model, texts, first_token=True)
        streamed = zkit.mean_state(model, iter(texts))
    assert float((default @ s).abs().max()) < USUAL
    for row, n in zip(literal @ s, tokens, strict=True):
        assert torch.allclose(row, torch.full_like(row, SIZE / n), rtol=0.05, atol=USUAL)
    assert float((streamed @ s).abs().max()) < USUAL


@few
@given(lengths)
def test_a_sink_in_the_weights(pair):
    """The first token's embedding is huge, as trained models make it: no edit is in force when states are recorded."""
    model = tiny.model()
    s = direction(model)
    first = model.tokenizer("^")["input_ids"][0]
    model.hf.get_input_embeddings().weight[first] = SIZE * s
    plus, minus = ("^" + "ab " * n for n in pair)
    t_plus, t_minus = 3 * pair[0] + 1, 3 * pair[1] + 1
    assume(t_plus != t_minus)
    default = actadd(model, positive=plus, negative=minus, chat=False)
    literal = actadd(model, positive=plus, negative=minus, chat=False, first_token=True)
    for layer in default.layers:
        assert abs(float(default.vectors[layer] @ s)) < USUAL
        assert math.isclose(
            float(literal.vectors[layer] @ s), SIZE * (1 / t_plus - 1 / t_minus), rel_tol=0.05, abs_tol=USUAL
        )


@pytest.mark.parametrize("where", ["all", "prompt", "last"])
def test_steering_leaves_the_first_state_alone_unless_asked(where):
    model = tiny.shared()
    v = zkit.steering.SteeringVector({1: reference.random_vector(model, 3)})
    texts = ["Hi", "Why are there tides"]
    plain = zkit.token_states(model, texts, layers=[1])
    with zkit.steer(model, v, 5, positions=where):
        default = zkit.token_states(model, texts, layers=[1])
    with zkit.steer(model, v, 5, positions=where, first_token=True):
        literal = zkit.token_states(model, texts, layers=[1])
    for before, now, all_of_it in zip(plain, default, literal, strict=True):
        assert torch.equal(before[0], now[0])
        assert torch.equal(before[0], all_of_it[0]) == (where == "last")
        assert torch.allclose(now[-1, 0], before[-1, 0] + 5 * v.vectors[1], atol=1e-5)


def test_reference_norms_leave_the_sink_out():
    model = tiny.shared()
    plain = zkit.steering.reference_norms(model)
    with planted(model, direction(model)):
        sunk = zkit.steering.reference_norms(model, ["a b"])
    assert plain.shape == (model.n_layers,)
    assert float(sunk.max()) < 50
