"""Law 6: with massive tokens planted, default pooling does not depend on the prompt's length; the literal one does."""

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
from zkit.steering import actadd, sink

SIZE = 1e4
"""Norm of the planted state."""
USUAL = 3.0
"""More than the share of usual states (norm 2 to 10 in 32 dimensions) in any one direction, pooled."""


FIRST, TEMPLATE, MESSAGE, LAST = 0, 3, 7, -1
"""Places of the first token, of one in the middle of the template before the message, of the second of the message, and
of the last of the template after it."""
FREE = ("suffix", "content")
"""Pools that must not depend on the length of a prompt; the first is the default."""


def planted(model, direction, places=(FIRST,)):
    """Edits that give tokens huge states at the first layer; the residual stream carries them on."""
    at = [positions.last(1) if i == LAST else positions.span(i, i + 1, first_token=i == 0) for i in places]
    return zkit.edit(model, [edits.add("resid_post", 0, SIZE * direction, where) for where in at])


def direction(model):
    return reference.random_vector(model, 42, norm=1.0)


lengths = st.tuples(st.integers(1, 15), st.integers(20, 90))


places = st.lists(st.sampled_from([FIRST, TEMPLATE, MESSAGE, LAST]), min_size=1, unique=True)


@few
@given(lengths, st.booleans(), places)
def test_the_default_vector_knows_no_massive_token_and_the_literal_one_follows_the_lengths(pair, longer_first, where):
    model = tiny.shared()
    short, long = ("ab " * n for n in pair)
    plus, minus = (long, short) if longer_first else (short, long)
    s = direction(model)
    t_plus, t_minus = (len(ids) for ids in reference.rows(model, [plus, minus]))
    literally = SIZE * len(where) * (1 / t_plus - 1 / t_minus)
    without_first = SIZE * len({*where} - {FIRST}) * (1 / (t_plus - 1) - 1 / (t_minus - 1))
    pools = (*FREE, "all", "literal")
    bare = {pool: actadd(model, positive=plus, negative=minus, pool=pool) for pool in pools}
    with planted(model, s, where):
        found = {pool: actadd(model, positive=plus, negative=minus, pool=pool) for pool in pools}
        assert torch.equal(actadd(model, positive=plus, negative=minus).vectors[0], found[FREE[0]].vectors[0])
    for pool, inside in (("suffix", LAST), ("content", MESSAGE)):
        if inside not in where:  # at the planted layer: nothing of it, to the bit
            assert torch.equal(found[pool].vectors[0], bare[pool].vectors[0])
    for pool, expected in (("all", without_first), ("literal", literally)):
        moved = found[pool].vectors[0] - bare[pool].vectors[0]
        assert torch.allclose(moved, expected * s, rtol=1e-5, atol=5e-3)
    for layer in bare["content"].layers:
        assert all(abs(float(found[pool].vectors[layer] @ s)) < USUAL for pool in FREE)
        for pool, expected in (("all", without_first), ("literal", literally)):
            assert math.isclose(float(found[pool].vectors[layer] @ s), expected, rel_tol=0.05, abs_tol=USUAL)


@few
@given(lengths, places)
def test_pooled_states_do_not_grow_or_shrink_with_length(pair, where):
    model = tiny.shared()
    s = direction(model)
    texts = ["ab " * n for n in pair]
    tokens = [len(ids) for ids in reference.rows(model, texts)]
    with planted(model, s, where):
        default = torch.cat([zkit.record(model, texts, positions=part) for part in FREE])
        literal = zkit.record(model, texts, positions="all", massive=True, first_token=True)
        streamed = zkit.mean_state(model, iter(texts))
    assert float((default @ s).abs().max()) < USUAL
    for row, n in zip(literal @ s, tokens, strict=True):
        assert torch.allclose(row, torch.full_like(row, SIZE * len(where) / n), rtol=0.05, atol=USUAL)
    assert float((streamed @ s).abs().max()) < USUAL


def test_massive_tokens_in_the_weights_of_the_template_and_of_the_message():
    """Embeddings are huge, as trained models make them: no edit is in force when states are recorded."""
    model = tiny.model()
    s = direction(model)
    first, newline, word = (model.tokenizer(t)["input_ids"][0] for t in ("<|im_start|>", "\n", "^"))
    for token in (first, newline, word):
        model.hf.get_input_embeddings().weight[token] = SIZE * s
    for pair in [(2, 30), (30, 2), (1, 8)]:
        plus, minus = ("a^" + "b " * n for n in pair)
        free = [actadd(model, positive=plus, negative=minus, pool=p) for p in FREE]
        literal = actadd(model, positive=plus, negative=minus, pool="literal")
        rows = reference.rows(model, [plus, minus])
        share = [sum(token in (first, newline, word) for token in ids) / len(ids) for ids in rows]
        for layer in literal.layers:
            assert all(abs(float(v.vectors[layer] @ s)) < USUAL for v in free)
            expected = SIZE * (share[0] - share[1])
            assert math.isclose(float(literal.vectors[layer] @ s), expected, rel_tol=0.05, abs_tol=USUAL)


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
    default, literal = (actadd(model, positive=plus, negative=minus, chat=False, pool=p) for p in (None, "literal"))
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


def test_reference_norms_leave_massive_tokens_out():
    model = tiny.shared()
    plain = zkit.steering.reference_norms(model)
    with planted(model, direction(model), (FIRST, TEMPLATE, MESSAGE)):
        sunk = zkit.steering.reference_norms(model, ["a b"])
    assert plain.shape == (model.n_layers,)
    assert float(sunk.max()) < 50


def test_the_sink_direction_is_what_massive_tokens_have_more():
    model, s = tiny.shared(), direction(tiny.shared())
    v = actadd(model, "terse")
    with planted(model, s, (FIRST, TEMPLATE, MESSAGE)):
        found = zkit.steering.sink_direction(model, v)
    with planted(model, s, (TEMPLATE, MESSAGE)):
        states = zkit.token_states(model, ["abc"])[0]
        one = zkit.steering.sink_direction(model, v, ["abc"])
    for l in v.layers:
        assert float(found.unit().vectors[l] @ s) > 0.999
        group = torch.zeros(len(states), dtype=torch.bool).index_fill(0, torch.tensor([FIRST, TEMPLATE, MESSAGE]), True)
        excess = states[group, l].mean(0) - states[~group, l].mean(0)
        assert torch.allclose(one.unit().vectors[l], excess / excess.norm(), atol=1e-4)


@few
@given(lengths, places)
def test_a_literal_vector_is_the_prefix_artefact_and_what_the_prompts_do_not_share(pair, where):
    """The equation of the artefact: with it taken out, what is left are the shares of the tokens after the prefix."""
    model = tiny.shared()
    plus, minus = ("ab " * pair[0], "x" * pair[1])
    with planted(model, direction(model), where):
        v = actadd(model, positive=plus, negative=minus, pool="literal")
        artefact = sink.prefix_artefact(model, plus, minus)
        one, other = zkit.token_states(model, [plus, minus])
    for l in v.layers:
        rest = one[6:, l].sum(0) / len(one) - other[6:, l].sum(0) / len(other)
        assert torch.allclose(artefact.vectors[l] + rest, v.vectors[l], rtol=1e-4, atol=5e-3)
        summed = one[:6, l].sum(0)
        assert torch.allclose(artefact.vectors[l], (1 / len(one) - 1 / len(other)) * summed, rtol=1e-4, atol=5e-3)


def test_prompts_of_equal_length_have_no_artefact_but_its_direction():
    model = tiny.shared()
    zero, total = (make(model, "abc", "xyz", [2, 0]) for make in (sink.prefix_artefact, sink.prefix_sum))
    assert set(zero.norms.values()) == {0.0} and total.layers == [0, 2]
    [states] = zkit.token_states(model, ["abc"], layers=[2, 0])
    assert torch.allclose(total.vectors[2], states[:6, 0].sum(0), atol=1e-4)
    talk = [{"role": "system", "content": "abc"}]
    shared = zkit.token_states(model, [talk], layers=[1])[0][:1, 0].sum(0)  # then the roles differ
    assert torch.allclose(sink.prefix_sum(model, talk, "abc", [1]).vectors[1], shared, atol=1e-4)
