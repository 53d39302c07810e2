"""Experiment C: the specified objective collapses, the well-posed one finds what is planted along coordinates."""

import pytest
import torch

import zkit
from zkbook.experiments.planted import planted
from zkbook.experiments.selection import reordered
from zkit.phase3.ard import contrast, effective_number, from_mask, lengthscale, literal, mmd2_sum, shared
from zkit.phase3.kernels import Clouds, across, median_distance, mmd2_of_pairs, scaled
from zkit.subspaces import coordinate_subspace

D, Q = 64, 16


def clouds(**options):
    made = planted(d=D, q=Q, **options)
    return made.zh, made.en


def auc(score):
    """How often a coordinate that tells the language scores higher than one that does not."""
    first, rest = score[:Q].unsqueeze(1), score[Q:]
    return float((first > rest).double().mean() + (first == rest).double().mean() / 2)


def t_test(zh, en):
    """A two-sample t per coordinate, its size."""
    a, b = zh.tokens(), en.tokens()
    return ((a.mean(0) - b.mean(0)) / (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()).abs()


@pytest.mark.parametrize("content", [0.0, 0.5])
def test_a_shift_of_the_mean_is_found_from_a_cold_start(content):
    zh, en = clouds(shift=1.0, content=content)
    found = auc(-shared(zh, en))
    assert found >= 0.95
    assert found >= auc(t_test(zh, en)) - 0.02


def test_coordinates_that_hold_the_problem_outweigh_empty_ones_only_where_pairs_are_pairs():
    made = planted(shift=1.0, content=0.5, shared=16)
    empty = ~made.tells & ~made.holds
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    found = []
    for en in (made.en, reordered(made.en, order)):
        weights = shared(made.zh, en)
        found.append(float((weights[made.holds].unsqueeze(1) > weights[empty]).double().mean()))
    assert found[0] > 0.95
    assert 0.2 < found[1] < 0.8


def test_a_shift_of_the_spread_is_found_where_a_t_test_finds_nothing():
    zh, en = clouds(spread=1.5)
    assert auc(-shared(zh, en)) > max(0.9, auc(t_test(zh, en)) + 0.1)


def test_what_lies_across_the_coordinates_is_not_found():
    """A lengthscale for each coordinate can only see what lies along coordinates."""
    found = [auc(-shared(*clouds(n=6, tokens=10, shift=1.0, rotate=True, seed=seed))) for seed in range(6)]
    assert 0.35 < sum(found) / 6 < 0.65


def test_where_nothing_is_planted_weights_tell_nothing():
    found = [auc(-shared(*clouds(n=6, tokens=10, seed=seed))) for seed in range(10)]
    assert 0.4 < sum(found) / 10 < 0.6


@pytest.mark.parametrize("temperature", [0.05, 0.01])
def test_the_start_does_not_matter(temperature):
    zh, en = clouds(tokens=20, shift=1.0, content=0.5)
    warm = torch.cat((torch.full((Q,), 3.0), torch.ones(D - Q)))
    cold, warm = (shared(zh, en, start, temperature=temperature) for start in (None, warm / warm.sum()))
    assert float((cold - warm).abs().max()) * D < 0.05
    assert float(cold.sum()) == pytest.approx(1, abs=1e-5)
    assert 1 < effective_number(cold) < D


def test_a_coordinate_that_never_varies_keeps_a_share():
    zh, en = clouds(shift=1.0)
    for side in (zh, en):
        side.states[..., D - 1] = 7.0
    weights = shared(zh, en)
    assert bool(weights.isfinite().all())
    assert weights[:Q].max() < weights[D - 1]


def ragged(n, seed):
    made = torch.Generator().manual_seed(seed)
    return Clouds.of(
        [torch.randn(2 + (i * 5 + seed) % 7, 6, generator=made, dtype=torch.float64) + 3 for i in range(n)]
    )


def in_plain(zh, en, scale):
    """The contrast from means of k over the tokens of two clouds."""
    near = [across(*scaled(one, other, scale)).mean() for one, other in others(zh, en)]
    return 2 * torch.stack(near).mean() - 2 * across(*scaled(zh, en, scale)).mean()


def others(zh, en):
    return [(c, reordered(c, torch.arange(len(c)).roll(shift))) for shift in (1, 2) for c in (zh, en)]


@pytest.mark.parametrize(
    ("fast", "plain"),
    [
        (lambda zh, en, scale: mmd2_sum(zh, en)(scale), lambda zh, en, scale: mmd2_of_pairs(zh, en, scale).sum()),
        (contrast, in_plain),
    ],
    ids=["as specified", "with a budget"],
)
def test_values_and_slopes_are_those_of_the_definition(fast, plain):
    zh, en = ragged(5, 0), ragged(5, 3)
    found = []
    for function in (fast, plain):
        scale = torch.linspace(2, 6, 6, dtype=torch.float64, requires_grad=True)
        value = function(zh, en, scale)
        found.append((value.detach(), *torch.autograd.grad(3 * value, scale)))
    assert torch.allclose(found[0][0], found[1][0], atol=1e-12)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-12)


@pytest.mark.parametrize("strength", [0.001, 0.1])
def test_the_specified_objective_runs_away(strength):
    zh, en = clouds(shift=1.0, n=6, tokens=20)
    start = torch.full((D,), median_distance(zh.tokens())).log()
    path = literal(zh, en, strength, start, steps=500, lr=0.03)
    assert path.steps == list(range(0, 501, 10))
    moved = path.log_lengthscale[-1] - path.log_lengthscale[0]
    assert moved.median() > 2  # the typical coordinate is on its way to what is not seen
    assert path.objective[-1] < 0.1 * path.objective[0]


def test_what_survives_in_the_specified_objective_fits_noise():
    """Nothing is planted; the estimate falls below zero, where no distance can be, and not so on fresh tokens."""
    (zh, en), fresh = clouds(n=6, tokens=20), clouds(n=6, tokens=20, seed=1)
    start = torch.full((D,), median_distance(zh.tokens())).log()
    found = literal(zh, en, 0.001, start, steps=500, lr=0.03).log_lengthscale[-1].exp()
    seen, unseen = (float(mmd2_of_pairs(*pair, found).sum()) for pair in ((zh, en), fresh))
    assert seen < -0.05
    assert unseen > seen / 3


def test_endless_and_vanishing_lengthscales_both_see_nothing():
    zh, en = (Clouds(c.states.double(), c.real) for c in clouds(shift=1.0, n=4))
    for tiny_or_huge in (1e-3, 1e6):
        assert mmd2_of_pairs(zh, en, tiny_or_huge).abs().max() < 1e-9
    assert mmd2_of_pairs(zh, en, median_distance(zh.tokens())).min() > 0.01


def test_the_specified_start_follows_the_mask():
    start = from_mask(coordinate_subspace([2, 5], 8))
    assert sorted(start.argsort()[:2].tolist()) == [2, 5]
    assert float(start[2]) == pytest.approx(0, abs=1e-5)
    assert float(start[0]) == pytest.approx(13.8, abs=0.1)


def test_uniform_weights_are_one_lengthscale():
    assert torch.allclose(lengthscale(torch.full((D,), 1 / D), 5.0), torch.full((D,), 5.0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda zh, en: shared(zh, en, torch.ones(D)), "sum 1"),
        (lambda zh, en: shared(zh, en, torch.full((D - 1,), 1 / (D - 1))), "64 positive weights"),
        (lambda zh, en: shared(zh, en, shifts=20), "fewer shifts"),
        (lambda zh, en: literal(zh, en, 0.1, torch.zeros(3)), "d = 64"),
        (lambda zh, en: literal(zh, en, 0.1, torch.full((D,), float("nan"))), "positive"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call(*clouds())
