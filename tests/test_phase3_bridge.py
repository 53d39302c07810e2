"""Experiment D: a planted map is found, noise is not, and what was fitted is no evidence."""

import pytest
import torch

import zkit
from zkit.phase3.bridge import (
    bridge,
    folds,
    identity,
    linear,
    nested_ridge,
    normal_equations,
    nothing,
    orthogonality_error,
    q2,
    r2,
    ridge,
    rotation,
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
    assert q2(x, y, linear, EACH, centred=False) < q2(x, y, linear, EACH)  # the shift is no linear map


def test_noise_is_explained_where_it_was_fitted_and_nowhere_else():
    x, y = gaussian(20, 20), gaussian(20, 20, seed=1)
    assert r2(x, y, linear, centred=False) > 1 - 1e-9
    assert q2(x, y, linear, range(20), centred=False) < -0.5
    assert abs(q2(x, y, nested_ridge, range(20))) < 0.25  # it learns to say nothing


def test_leaving_one_out_equals_the_formula_of_the_hat_matrix():
    x, y = gaussian(30, 5), gaussian(30, 4, seed=1)
    hat = x @ torch.linalg.solve(x.T @ x, x.T)
    left_out = (y - hat @ y) / (1 - hat.diag()).unsqueeze(1)
    means = (y.sum(0) - y) / 29
    wanted = 1 - float(left_out.square().sum() / (y - means).square().sum())
    assert q2(x, y, linear, range(30), centred=False) == pytest.approx(wanted, abs=1e-10)


def test_ridge_is_the_minimum_of_what_it_says():
    x, y = gaussian(12, 5), gaussian(12, 3, seed=1)
    weight = 0.3 * float(x.square().sum(1).mean())
    wanted = torch.linalg.solve(x.T @ x + weight * torch.eye(5), x.T @ y)
    assert torch.allclose(ridge(0.3)(x, y), wanted, atol=1e-10)


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
        for s in range(100)
    ]
    for level in (0.1, 0.5):
        below = sum(p <= level for p in found)
        assert abs(below - 100 * level) <= 3.3 * (100 * level * (1 - level)) ** 0.5, (level, below)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: normal_equations(gaussian(5, 8), gaussian(5, 8, seed=1)), "span 5 of 8 directions"),
        (lambda: q2(gaussian(2, 1), gaussian(2, 1, seed=1), linear, range(2)), "three problems"),
        (lambda: q2(gaussian(5, 2), gaussian(5, 2, seed=1), linear, [0] * 5), "two groups"),
        (lambda: q2(gaussian(5, 2), gaussian(4, 2, seed=1), linear, range(5)), "row i"),
        (lambda: q2(gaussian(5, 2) / 0, gaussian(5, 2, seed=1), linear, range(5)), "NaN"),
        (lambda: q2(torch.ones(5, 2), gaussian(5, 2), linear, range(5)), "one and the same"),
        (lambda: ridge(0.0), "a penalty is positive"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call()
