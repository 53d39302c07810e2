"""What a vector must beat (random, sink and shuffled directions), plans over layers, and the projecting operator."""

import math

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from test_laws_sink import direction, planted
from test_recording import row_states

import zkit
from zkit.steering import (
    SteeringVector,
    contrasts,
    dose,
    edits,
    plan,
    random_like,
    reference_norms,
    shuffled_pairs,
    sink_direction,
    steer,
)
from zkit.steering.apply import NEUTRAL

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides"]


def vector(layers=(1,), norm=3.0):
    return SteeringVector({l: reference.random_vector(tiny.shared(), l, norm + l) for l in layers})


def same(one, other):
    return one.layers == other.layers and all(torch.equal(one.vectors[l], other.vectors[l]) for l in one.layers)


@few
@given(st.integers(0, 99), st.integers(1, 6), st.sets(st.integers(0, 3), min_size=1))
def test_random_directions_are_as_long_and_seeded(seed, n, layers):
    v = vector(tuple(layers))
    found = random_like(v, n, seed)
    assert len(found) == n
    for w in found:
        assert w.layers == v.layers
        assert all(math.isclose(w.norms[l], v.norms[l], rel_tol=1e-5) for l in layers)
    assert all(same(a, b) for a, b in zip(found, random_like(v, n + 2, seed), strict=False))
    assert not any(same(a, b) for i, a in enumerate([*found, *random_like(v, n, seed + 1)]) for b in found[:i])


def test_random_directions_have_no_preferred_one():
    v = vector((0, 2))
    units = [w.unit() for w in random_like(v, 400)]
    for l in v.layers:
        rows = torch.stack([w.vectors[l] for w in units])
        cosines = rows @ v.unit().vectors[l]
        assert abs(float(cosines.mean())) < 0.03
        assert math.isclose(float(cosines.std()), 1 / math.sqrt(32), rel_tol=0.15)
        assert float(rows.mean(0).norm()) < 0.1
    between = [float(w.vectors[0] @ w.vectors[2]) for w in units]
    assert abs(sum(between) / len(between)) < 0.03


def test_the_sink_direction_is_the_planted_one():
    model, v = tiny.shared(), vector((0, 1, 3))
    s = direction(model)
    with planted(model, s):
        found = sink_direction(model, v, PROMPTS)
    for l in v.layers:
        assert math.isclose(found.norms[l], v.norms[l], rel_tol=1e-5)
        assert float(found.unit().vectors[l] @ s) > 0.99
    for prompts in (PROMPTS, NEUTRAL):
        plain = sink_direction(model, v, prompts)
        rows = [row_states(model, ids) for ids in reference.rows(model, prompts)]
        excess = torch.stack([row[0] - row[1:].mean(0) for row in rows]).mean(0)
        for l in v.layers:
            assert torch.allclose(plain.vectors[l], excess[l] * v.norms[l] / excess[l].norm(), atol=1e-4)
    assert same(plain, sink_direction(model, v))
    with pytest.raises(zkit.ZkitError, match="no layer 9"):
        sink_direction(model, SteeringVector({9: torch.ones(32)}))


@few
@given(st.integers(2, 9), st.integers(0, 50))
def test_half_of_the_pairs_are_swapped(n, seed):
    deltas = torch.eye(n)[:, None].repeat(1, 2, 1)  # the mean of pair i alone is at place i
    found = shuffled_pairs(deltas, [4, 7], seed)
    assert found.layers == [4, 7]
    signs = (found.vectors[4] * n).round().tolist()
    assert sorted(signs) == [-1.0] * (n // 2) + [1.0] * (n - n // 2)
    assert torch.equal(found.vectors[4], found.vectors[7])
    assert same(found, shuffled_pairs(deltas, [4, 7], seed))


def test_shuffled_pairs_leave_nothing_on_average():
    deltas = torch.randn(8, 1, 16, generator=torch.Generator().manual_seed(0)) + 2.0
    draws = torch.stack([shuffled_pairs(deltas, [0], seed).vectors[0] for seed in range(400)])
    assert len({tuple(row.tolist()) for row in draws}) > 50  # of the 70 halves
    assert float(draws.mean(0).norm()) < 0.05 * float(deltas.mean(0).norm())
    assert float(draws.norm(dim=-1).mean()) < 0.5 * float(deltas.mean(0).norm())


def test_shuffled_pairs_of_a_model_are_its_contrasts_with_signs():
    model = tiny.shared()
    deltas = contrasts(model, ["a", "bb", "c d", "e"], ["x", "yy", "z", "w!"], [1])
    found = shuffled_pairs(deltas, [1], 3).vectors[1]
    halves = [[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]
    wanted = [sign * (deltas[:, 0] * torch.tensor(h)[:, None]).mean(0) for h in halves for sign in (1, -1)]
    assert sum(torch.allclose(found, w, atol=1e-6) for w in wanted) == 1


@few
@given(st.sets(st.integers(0, 3), min_size=1), st.floats(-5, 5).filter(lambda x: abs(x) > 0.01))
def test_a_plan_adds_up_to_its_total(layers, total):
    v, usual = vector(range(4)), torch.tensor([1.0, 2.0, 5.0, 9.0])
    by_alpha = plan(v, list(layers), alpha=total)
    by_dose = plan(v, list(layers), dose=total, reference=usual)
    assert by_alpha.layers == by_dose.layers == sorted(layers)
    factors = [float(by_alpha.vectors[l] @ v.vectors[l]) / v.norms[l] ** 2 for l in layers]
    assert all(math.isclose(f, total / len(layers), rel_tol=1e-4) for f in factors)
    assert all(torch.allclose(by_alpha.vectors[l], total / len(layers) * v.vectors[l], atol=1e-5) for l in layers)
    sign = math.copysign(1, total)
    doses = [sign * dose(1.0, by_dose.at(l), usual) for l in layers]
    assert all(math.isclose(d, total / len(layers), rel_tol=1e-4) for d in doses)
    for l in layers:
        cosine = float(by_dose.unit().vectors[l] @ v.unit().vectors[l])
        assert math.isclose(cosine, sign, rel_tol=1e-4)


def test_a_plan_of_one_layer_is_the_single_vector():
    model, v = tiny.shared(), vector(range(4))
    with steer(model, v.at(2), 1.5):
        single = model.hf(**model.tokenize(PROMPTS)).logits
    with steer(model, plan(v, [2], alpha=1.5)):
        planned = model.hf(**model.tokenize(PROMPTS)).logits
    assert torch.equal(single, planned)
    usual = reference_norms(model)
    assert math.isclose(dose(1.0, plan(v, [2], dose=0.4, reference=usual), usual), 0.4, rel_tol=1e-5)
    assert plan(v, [3, 1], alpha=1).note["plan"] == "alpha 1 over layers [1, 3]"


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (([0],), {}),
        (([0],), {"alpha": 1.0, "dose": 1.0, "reference": torch.ones(4)}),
        (([0],), {"dose": 1.0}),
        (([],), {"alpha": 1.0}),
        (([1, 1],), {"alpha": 1.0}),
        (([0, 7],), {"alpha": 1.0}),
        (([0],), {"alpha": math.nan}),
        (([3],), {"dose": 1.0, "reference": torch.ones(3)}),
    ],
)
def test_plans_refused(arguments, options):
    messages = "give a plan alpha|a plan needs layers, each once|this vector has layers|finite|have 3 layers"
    with pytest.raises(zkit.ZkitError, match=messages):
        plan(vector(range(4)), *arguments, **options)


def test_a_zero_vector_has_no_dose_to_plan():
    with pytest.raises(zkit.ZkitError, match="zero vector"):
        plan(0 * vector(), [1], dose=1.0, reference=torch.ones(4))


@few
@given(st.floats(-6, 6), st.sampled_from(["all", "prompt", "last"]), st.booleans(), st.integers(0, 3))
def test_projection_puts_the_direction_at_alpha_and_leaves_the_rest(alpha, where, sink, layer):
    model, v = tiny.shared(), vector((layer,))
    u = v.unit().vectors[layer]
    plain = zkit.token_states(model, PROMPTS)
    with steer(model, v, alpha, where, sink, "project"):
        found = zkit.token_states(model, PROMPTS)
    for before, now in zip(plain, found, strict=True):
        first = len(before) - 1 if where == "last" else 0 if sink else 1
        old, new = before[:, layer], now[:, layer]
        assert torch.equal(new[:first], old[:first])
        assert torch.allclose(new[first:] @ u, torch.full_like(new[first:, 0], alpha * v.norm), atol=1e-4)
        rest_old, rest_new = (h - (h @ u)[:, None] * u for h in (old, new))
        assert torch.allclose(rest_new, rest_old, atol=1e-4)
        assert torch.equal(now[:, :layer], before[:, :layer])


def test_projection_at_alpha_zero_removes_the_direction_and_adding_zero_nothing():
    model, v = tiny.shared(), vector((0, 2))
    with steer(model, v, 0.0, operator="project"):
        gone = zkit.token_states(model, PROMPTS)
    for rows in gone:
        for l in v.layers:
            assert float((rows[1:, l] @ v.unit().vectors[l]).abs().max()) < 1e-4
            assert float((rows[0, l] @ v.unit().vectors[l]).abs()) > 1e-3
    assert edits(model, v, 0.0) == [] and len(edits(model, v, 0.0, operator="project")) == 2


def test_projection_does_not_depend_on_the_state_as_addition_does():
    model, v = tiny.shared(), vector()
    u = v.unit().vectors[1]
    with steer(model, v, 2.0, operator="project"), steer(model, v, 2.0, operator="project"):
        twice = torch.cat(zkit.token_states(model, PROMPTS, layers=[1]))
    with steer(model, v, 2.0, operator="project"):
        once = torch.cat(zkit.token_states(model, PROMPTS, layers=[1]))
    assert torch.allclose(once, twice, atol=1e-4)
    with steer(model, v, 2.0):
        added = torch.cat(zkit.token_states(model, PROMPTS, layers=[1]))
    assert float((added[:, 0] @ u).std()) > 0.1


def test_projection_in_bfloat16():
    model, v = tiny.model(dtype=torch.bfloat16), vector()
    with steer(model, v, 2.0, operator="project"):
        states = zkit.token_states(model, PROMPTS, layers=[1])
        assert len(model.generate(PROMPTS, 4)) == 3
    for rows in states:
        along = rows[1:, 0] @ v.unit().vectors[1]
        assert torch.allclose(along, torch.full_like(along, 2 * v.norm), atol=0.1)


@pytest.mark.parametrize("where", ["all", "prompt", "generated", "last"])
def test_projected_generation_in_a_batch_is_that_one_by_one(where):
    model, v = tiny.shared(), vector((0, 2), 8.0)
    with steer(model, v, 2.0, where, operator="project"):
        together = model.generate(PROMPTS, 6)
        assert together == [model.generate([prompt], 6)[0] for prompt in PROMPTS]
    [arm] = zkit.generation.complete(
        model, PROMPTS, [edits(model, v, 2.0, where, operator="project")], max_new_tokens=6
    )
    assert together == [answer.text for answer in arm]
    assert together != model.generate(PROMPTS, 6)


def test_bad_input():
    model, v = tiny.shared(), vector()
    calls = {
        "unknown operator 'mul'; use add or project": lambda: edits(model, v, operator="mul"),
        "zero vector has no direction": lambda: edits(model, 0 * v, operator="project"),
        "alpha is nan": lambda: edits(model, v, math.nan, operator="project"),
        "must be one finite vector": lambda: edits(model, v, 1e39, operator="project"),
        "has width 16": lambda: edits(model, SteeringVector({0: torch.ones(16)}), operator="project"),
        "no layer 7": lambda: edits(model, SteeringVector({7: torch.ones(32)}), operator="project"),
        "at least two pairs and their layers; got 1 pairs": lambda: shuffled_pairs(torch.ones(1, 1, 3), [0]),
        "3 pairs of 2 layers, and 1 layers": lambda: shuffled_pairs(torch.ones(3, 2, 3), [0]),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()
