"""Experiment D: a planted map is found, noise is not, and what was fitted is no evidence."""

import pytest
import torch
from scipy.linalg import orthogonal_procrustes
from scipy.stats import binom

import zkit
from zkbook.experiments.bridge import (
    PENALTIES,
    bridge,
    folds,
    identity,
    left_out,
    linear,
    nested_ridge,
    normal_equations,
    nothing,
    orthogonality_error,
    pairings,
    q2,
    r2,
    ridge,
    rotation,
    within_span,
)  # fmt: skip


def rng(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def turned(n=60, k=8, noise=0.0, seed=0):
    """States, the same after a rotation and a shift, and the rotation."""
    x, turn = gaussian(n, k, seed=seed), torch.linalg.qr(gaussian(k, k, seed=seed + 1))[0]
    return x, x @ turn + 3 + noise * gaussian(n, k, seed=seed + 2), turn


EACH = list(range(60))


def test_a_planted_rotation_is_recovered():
    x, y, turn = turned()
    x0, y0 = x - x.mean(0), y - y.mean(0)
    for fit in (linear, normal_equations, rotation):
        assert torch.allclose(fit(x0, y0), turn, atol=1e-6)
        assert q2(x, y, fit, EACH) > 1 - 1e-10
    assert orthogonality_error(linear(x0, y0)) < 1e-10
    assert q2(x, y, identity, EACH) < 0.3
    assert q2(x, y, nothing, EACH) == pytest.approx(0, abs=1e-12)
    assert q2(x, y, linear, EACH, centre="none") < q2(x, y, linear, EACH)  # the shift is no linear map


def test_noise_is_explained_where_it_was_fitted_and_nowhere_else():
    x, y = gaussian(20, 20), gaussian(20, 20, seed=1)
    assert r2(x, y, linear, centre="none") > 1 - 1e-9
    assert q2(x, y, linear, range(20), centre="none") < -0.5
    assert abs(q2(x, y, nested_ridge, range(20))) < 0.25  # it learns to say nothing


def test_leaving_one_out_equals_the_formula_of_the_hat_matrix():
    x, y = gaussian(30, 5), gaussian(30, 4, seed=1)
    hat = x @ torch.linalg.solve(x.T @ x, x.T)
    left_out = (y - hat @ y) / (1 - hat.diag()).unsqueeze(1)
    means = (y.sum(0) - y) / 29
    wanted = 1 - float(left_out.square().sum() / (y - means).square().sum())
    assert q2(x, y, linear, range(30), centre="none") == pytest.approx(wanted, abs=1e-10)


def test_ridge_is_the_minimum_of_what_it_says():
    x, y = gaussian(12, 5), gaussian(12, 3, seed=1)
    weight = 0.3 * float(x.square().sum(1).mean())
    wanted = torch.linalg.solve(x.T @ x + weight * torch.eye(5), x.T @ y)
    assert torch.allclose(ridge(0.3)(x, y), wanted, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("n", "k"), [(20, 6), (60, 3)])  # a fold of fewer problems than directions, and of more
def test_the_penalty_is_the_best_of_five_folds_that_take_no_group_apart(n, k, seed):
    x, groups = gaussian(n, k, seed=seed), [i // 2 for i in range(n)]
    y = x @ gaussian(k, 4, seed=seed + 100) + 4 * gaussian(n, 4, seed=seed + 200)
    missed = torch.zeros(len(PENALTIES), dtype=torch.float64)
    for fold in range(5):
        held = [i for i in range(n) if groups[i] % 5 == fold]
        rest = [i for i in range(n) if groups[i] % 5 != fold]
        for j, penalty in enumerate(PENALTIES):
            missed[j] += (y[held] - x[held] @ ridge(penalty)(x[rest], y[rest])).square().sum()
    assert torch.allclose(nested_ridge(x, y, groups), ridge(PENALTIES[int(missed.argmin())])(x, y))


def test_an_outer_fold_hands_its_groups_to_the_choice_of_the_penalty():
    """With twins apart the choice sees the problem that it is to predict, and takes too small a penalty."""
    x, y = gaussian(20, 30), gaussian(20, 30, seed=1)
    x = torch.cat((x, x)) + 0.05 * gaussian(40, 30, seed=2)
    y, answers = torch.cat((y, y)), [i % 20 for i in range(40)]
    held, rest = folds(answers)[0]
    shift, onto = x[rest].mean(0), y[rest].mean(0)
    given = x[rest] - shift, y[rest] - onto
    left_in, kept_out = nested_ridge(*given), nested_ridge(*given, [answers[i] for i in rest])
    assert not torch.allclose(left_in, kept_out)
    said = onto + (x[held] - shift) @ kept_out
    missed, _ = left_out(x, y, nested_ridge, answers)
    assert float(missed[0]) == pytest.approx(float((y[held] - said).square().sum()))


def test_rotations_are_those_of_scipy():
    x, y = gaussian(3, 12, 4), gaussian(3, 12, 4, seed=1)
    for one, other, found in zip(x, y, rotation(x, y), strict=True):
        assert torch.allclose(found, torch.from_numpy(orthogonal_procrustes(one.numpy(), other.numpy())[0]))


@pytest.mark.parametrize("fit", [linear, nested_ridge, rotation, identity, nothing])
@pytest.mark.parametrize("centre", ["own", "common", "none"])
def test_many_pairings_at_once_are_those_one_by_one(fit, centre):
    x, y, groups = gaussian(14, 3), gaussian(14, 3, seed=1), [i // 2 for i in range(14)]
    found = bridge(x, y, fit, groups, centre=centre, draws=7, seed=5)
    one_by_one = [q2(x, y[order], fit, groups, centre=centre) for order in pairings(14, 7, seed=5)]
    assert found.null == pytest.approx(one_by_one, abs=1e-12)
    assert fit is nothing or len(set(one_by_one)) == 7


@pytest.mark.parametrize("fit", [linear, nested_ridge, rotation])
def test_many_subspaces_at_once_are_those_one_by_one(fit):
    x, y, groups = gaussian(4, 14, 3), gaussian(4, 14, 3, seed=1), [i // 2 for i in range(14)]
    missed, spread = left_out(x, y, fit, groups)
    each = [q2(one, other, fit, groups) for one, other in zip(x, y, strict=True)]
    assert (1 - missed.sum(-1) / spread.sum(-1)).tolist() == pytest.approx(each, abs=1e-12)


def test_pairings_within_a_name_are_permutations_that_stay_there():
    names = list("abbacaab")
    found = pairings(8, 200, seed=1, within=names)
    assert (found.sort(1).values == torch.arange(8)).all()
    assert all(names[int(j)] == names[i] for order in found for i, j in enumerate(order))
    assert len({tuple(order.tolist()) for order in found}) > 100
    free = pairings(8, 2000, seed=1)
    share = (free[:, 0, None] == torch.arange(8)).double().mean(0)
    assert float((share - 1 / 8).abs().max()) < 0.04


def test_what_is_shared_within_a_name_is_no_bridge_within_it():
    """Two wordings far apart, nothing else in common: the pairing matters over all, and not within a wording."""
    wording = [i % 2 for i in range(40)]
    apart = 4 * torch.tensor(wording, dtype=torch.float64).unsqueeze(1)
    x, y = gaussian(40, 3) + apart, gaussian(40, 3, seed=1) + apart
    assert bridge(x, y, nested_ridge, range(40), draws=99).p == 0.01
    within = bridge(x, y, nested_ridge, range(40), draws=99, within=wording)
    assert within.p > 0.1 and min(within.null) > 0.3
    more = bridge(x, y + x, nested_ridge, range(40), draws=99, within=wording)
    assert more.p == 0.01


def test_maps_of_the_full_space_are_fitted_in_the_span_of_the_states():
    x, y = gaussian(12, 50), gaussian(12, 50, seed=1)
    a, b = within_span(x, y)
    assert a.shape == b.shape == (12, 24)
    assert torch.allclose(a @ b.T, x @ y.T) and torch.allclose(a @ a.T, x @ x.T)
    [alone] = within_span(x)
    assert alone.shape == (12, 12)
    for fit, of_x, of_y in ((linear, alone, b), (nested_ridge, alone, b), (identity, a, b)):
        assert q2(of_x, of_y, fit, range(12)) == pytest.approx(q2(x, y, fit, range(12)), abs=1e-8)


def test_one_mean_of_both_languages_leaves_their_difference_to_the_map():
    x = gaussian(30, 4)
    y = x + torch.tensor([10.0, 0, 0, 0])
    assert q2(x, y, identity, range(30)) > 1 - 1e-10
    assert q2(x, y, identity, range(30), centre="common") < -5
    assert q2(x - 5, x - 5, identity, range(30), centre="common") == 1


def test_what_shares_an_answer_is_left_out_together():
    """With a twin of each problem in sight a map of many directions looks good; without, it does not."""
    x, y = gaussian(20, 30), gaussian(20, 30, seed=1)
    x, y = torch.cat((x, x)), torch.cat((y, y))
    answers = [i % 20 for i in range(40)]
    assert q2(x, y, linear, range(40)) > 0.9
    assert q2(x, y, linear, answers) < 0.1
    for held, rest in folds(answers):
        assert not {answers[i] for i in held} & {answers[i] for i in rest}


def test_a_weak_bridge_is_told_from_none():
    x, y, _ = turned(n=40, k=5, noise=1.5)
    assert bridge(x, y, nested_ridge, range(40), draws=99).p <= 0.02


@pytest.mark.parametrize("fit", [linear, rotation])
def test_where_there_is_no_bridge_p_is_even(fit):
    found = [
        bridge(
            gaussian(12, 3, seed=2 * s), gaussian(12, 3, seed=2 * s + 1), fit, [i // 2 for i in range(12)], draws=39
        ).p
        for s in range(200)
    ]
    for level in (0.05, 0.5):
        low, high = binom.interval(0.999, 200, level)
        assert max(low, 1) <= sum(p <= level for p in found) <= high, level


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: normal_equations(gaussian(5, 8), gaussian(5, 8, seed=1)), "span 5 of 8 directions"),
        (lambda: q2(gaussian(2, 1), gaussian(2, 1, seed=1), linear, range(2)), "three problems"),
        (lambda: q2(gaussian(5, 2), gaussian(5, 2, seed=1), linear, [0] * 5), "two groups"),
        (lambda: q2(gaussian(5, 2), gaussian(4, 2, seed=1), linear, range(5)), "row i"),
        (lambda: q2(gaussian(5, 2) / 0, gaussian(5, 2, seed=1), linear, range(5)), "NaN"),
        (lambda: q2(torch.ones(5, 2), gaussian(5, 2), linear, range(5)), "2 of 2 dimensions of x are the same"),
        (lambda: q2(gaussian(5, 2), 1 + gaussian(5, 2) * torch.tensor([1.0, 0]), linear, range(5)), "1 of 2 .* of y"),
        (lambda: r2(torch.ones(5, 2), gaussian(5, 2), linear), "the same in all 5 problems"),
        (lambda: q2(gaussian(5, 2), gaussian(5, 3), identity, range(5), centre="common"), "as many dimensions"),
        (lambda: q2(gaussian(5, 2), gaussian(5, 2, seed=1), linear, range(5), centre="mean"), "choose 'own'"),
        (lambda: rotation(gaussian(5, 8), gaussian(5, 8, seed=1)), "5 problems do not determine"),
        (lambda: nested_ridge(gaussian(5, 2), gaussian(5, 2), [0] * 5), "two or more"),
        (lambda: q2(gaussian(5, 2), gaussian(5, 2, seed=1), nested_ridge, [0, 0, 1, 1, 1]), "two or more"),
        (lambda: pairings(5, 3, within=[0, 1]), "2 names for 5 problems"),
        (lambda: ridge(0.0), "a penalty is positive"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call()
