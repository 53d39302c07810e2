"""Steering by its algebra and by what it does: eight properties, five checks of direction, five contracts of styles.

Every check of an effect takes the strength as an argument and must fail when it is zero: it cannot pass by itself.
"""

import functools

import pytest
import reference
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import few

import zkit
from zkbook import organism
from zkbook.organism.style.measures import dryness, formality, question_share
from zkit.steering import (
    STYLES,
    SteeringVector,
    actadd,
    alpha_for,
    edits,
    mean_difference,
    random_like,
    reference_norms,
    steer,
)
from zkit.steering.texts import topic_cosines, words

PROMPTS = ["Hi", "Explain what a mutex is."]
TOLERANCE = 1e-4

seeds, layers = st.integers(0, 99), st.integers(0, 3)
strengths = st.floats(-4, 4, allow_subnormal=False)


def vector(seed, *at):
    return SteeringVector({l: reference.random_vector(tiny.shared(), 7 * seed + l) for l in at})


def states(v=None, alpha=0.0):
    """States [n_tokens, n_layers, d] of all prompts, one after another."""
    if v is None:
        return torch.cat(zkit.token_states(tiny.shared(), PROMPTS))
    with steer(tiny.shared(), v, alpha):
        return torch.cat(zkit.token_states(tiny.shared(), PROMPTS))


def logits(v, alpha):
    model = tiny.shared()
    with steer(model, v, alpha):
        return model.hf(**model.tokenize(PROMPTS)).logits


few = settings(few, max_examples=20)


@few
@given(seeds, st.sets(layers, min_size=1), st.floats(0.01, 100))
def test_unit_vectors_have_norm_one(seed, at, size):
    v = size * vector(seed, *at)
    assert all(norm == pytest.approx(1, abs=1e-5) for norm in v.unit().norms.values())
    back = SteeringVector({l: v.norms[l] * v.unit().vectors[l] for l in v.layers})
    assert all(torch.allclose(back.vectors[l], v.vectors[l], rtol=1e-4, atol=1e-5) for l in v.layers)


@few
@given(seeds, st.sets(layers, min_size=1))
def test_zero_alpha_is_the_identity_bit_for_bit(seed, at):
    model, v = tiny.shared(), vector(seed, *at)
    assert torch.equal(logits(v, 0.0), model.hf(**model.tokenize(PROMPTS)).logits)
    assert torch.equal(logits(v, -0.0), logits(v, 0.0))
    assert not torch.equal(logits(v, 1.0), logits(v, 0.0))


@few
@given(seeds, layers, strengths, strengths)
def test_the_shift_of_a_state_is_linear_in_alpha(seed, layer, a, b):
    v, plain = vector(seed, layer), states()[:, layer]
    one, other, both = (states(v, alpha)[:, layer] - plain for alpha in (a, b, a + b))
    assert torch.allclose(both, one + other, atol=TOLERANCE)
    edited = one.norm(dim=-1) > 1e-3 * abs(a)  # every token but the first of each prompt
    if abs(a) > 0.01:
        assert int(edited.sum()) == len(plain) - len(PROMPTS)
    assert torch.allclose(one[edited], (a * v.vectors[layer]).expand_as(one[edited]), atol=TOLERANCE)


@few
@given(st.text(min_size=1, max_size=15), st.text(min_size=1, max_size=15), strengths)
def test_swapping_the_pair_turns_the_vector_round(one, other, alpha):
    model, one, other = tiny.shared(), f"a{one}", f"b{other}"
    v, w = (mean_difference(model, [p], [n], [1]) for p, n in ((one, other), (other, one)))
    assert torch.allclose(v.vectors[1], -w.vectors[1], atol=1e-5)
    assert torch.allclose(logits(v, alpha), logits(w, -alpha), atol=1e-3)


@few
@given(seeds, seeds, st.sets(layers, min_size=1), st.sets(layers, min_size=1), strengths)
def test_steering_with_a_sum_is_steering_with_both(s, t, at, there, alpha):
    v, w = vector(s, *at), vector(t + 100, *there)
    model = tiny.shared()
    with steer(model, v, alpha), steer(model, w, alpha):
        nested = model.hf(**model.tokenize(PROMPTS)).logits
    assert torch.allclose(logits(v + w, alpha), nested, atol=reference.TOLERANCE * 10)


@few
@given(seeds, layers, st.sampled_from([-2.0, 0.5, 3.0]))
def test_layers_below_are_untouched_and_those_above_are_not(seed, layer, alpha):
    plain, found = states(), states(vector(seed, layer), alpha)
    assert torch.equal(found[:, :layer], plain[:, :layer])
    for above in range(layer, 4):
        assert not torch.allclose(found[:, above], plain[:, above], atol=1e-2)


@few
@given(seeds, layers, st.floats(0.1, 8), strengths)
def test_a_longer_vector_is_a_larger_alpha(seed, layer, factor, alpha):
    v = vector(seed, layer)
    assert torch.allclose(logits(factor * v, alpha), logits(v, factor * alpha), atol=1e-3)


@few
@given(seeds, layers, strengths)
def test_steering_is_deterministic(seed, layer, alpha):
    model, v = tiny.shared(), vector(seed, layer)
    assert torch.equal(logits(v, alpha), logits(v, alpha))
    arms = [edits(model, v, alpha)]
    first, second = (zkit.generation.complete(model, PROMPTS, arms, max_new_tokens=4) for _ in range(2))
    assert first == second
    again, before = actadd(model, "terse", layer), actadd(model, "terse", layer)
    assert torch.equal(again.vectors[layer], before.vectors[layer])


LAYER, DOSE, TOKENS = 5, 0.2, 64
MEASURES = {"formal": formality, "socratic": question_share, "dry-wit": dryness}


@pytest.fixture(scope="module")
def answers():
    """Doses of a vector -> answers to a question on each of the development topics; all are generated in one batch."""
    model = zkit.load()
    prompts = [item.prompt for item in organism.neutral_prompts("development")]
    assert len(prompts) >= 18
    usual, made = reference_norms(model), {style: actadd(model, style, LAYER) for style in STYLES}
    made |= {f"random {i}": rival for i, rival in enumerate(random_like(made["terse"], 3))}
    arms = {("terse", dose): dose for dose in (-2 * DOSE, -DOSE, DOSE / 4)}
    arms |= {(name, dose): dose for name in made for dose in (0.0, DOSE)}
    found = zkit.generation.complete(
        model,
        prompts,
        [edits(model, made[name], alpha_for(dose, made[name], usual)) for name, dose in arms],
        max_new_tokens=TOKENS,
        batch_size=len(arms) * len(prompts),
    )
    texts = {key: [answer.text for answer in row] for key, row in zip(arms, found, strict=True)}
    plain = model.generate(prompts, TOKENS)
    return lambda name, dose: plain if name is None else texts[name, dose]


def mean(measure, texts):
    return sum(map(measure, texts)) / len(texts)


def shortens(answers, dose):
    assert mean(words, answers("terse", dose)) < 0.75 * mean(words, answers(None, 0))


def lengthens(answers, dose):
    assert mean(words, answers("terse", -dose)) > 1.05 * mean(words, answers(None, 0))


def changes_something(answers, dose):
    changed = [one != other for one, other in zip(answers("terse", dose), answers(None, 0), strict=True)]
    assert sum(changed) >= 0.3 * len(changed)


def grows(answers, dose):
    ladder = [mean(words, answers("terse", size * dose)) for size in (-2, 0, 0.25, 1)]
    assert ladder[0] > ladder[1] >= ladder[2] > ladder[3]


def beats_random_directions(answers, dose):
    plain = mean(words, answers(None, 0))
    rivals = [plain - mean(words, answers(f"random {i}", dose)) for i in range(3)]
    assert plain - mean(words, answers("terse", dose)) > max(0, *rivals)


def keeps_to_its_style(style, answers, dose):
    if style == "terse":
        pairs = list(zip(answers("terse", dose), answers(None, 0), strict=True))
        assert sum(words(a) < words(b) for a, b in pairs) > 2 * sum(words(a) > words(b) for a, b in pairs)
    else:
        measure = MEASURES[style]
        assert mean(measure, answers(style, dose)) > mean(measure, answers(None, 0)) + 0.1


def keeps_the_content(answers, dose):
    """Every style changes answers, and they stay nearer to the answer on their own topic than to others'."""
    plain = answers(None, 0)
    for style in STYLES:
        texts = answers(style, dose)
        assert sum(one != other for one, other in zip(texts, plain, strict=True)) >= 0.3 * len(plain)
        own = topic_cosines(texts, plain)
        for shift in (1, 5, 11):
            others = topic_cosines(texts, plain[shift:] + plain[:shift])
            assert sum(own) > sum(others) + 0.3 * len(own)
            assert sum(a > b for a, b in zip(own, others, strict=True)) >= 0.75 * len(own)


SANITY = [shortens, lengthens, changes_something, grows, beats_random_directions]
CONTRACTS = [*(functools.partial(keeps_to_its_style, style) for style in STYLES), keeps_the_content]
NAMES = [*(check.__name__ for check in SANITY), *STYLES, "content"]


@pytest.mark.parametrize("check", [*SANITY, *CONTRACTS], ids=NAMES)
def test_the_embedded_model_is_steered(answers, check):
    check(answers, DOSE)
    with pytest.raises(AssertionError):
        check(answers, 0.0)


def test_a_dose_of_zero_changes_nothing(answers):
    for style in STYLES:
        assert answers(style, 0.0) == answers(None, 0)
