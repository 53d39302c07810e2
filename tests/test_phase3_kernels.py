"""The maximum mean discrepancy: a double loop, padding, gradients, and tests that keep their level."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics.pairwise import rbf_kernel

import zkit
from zkit.phase3.kernels import (
    Blocks,
    Clouds,
    block_means,
    kernel,
    language_test,
    median_distance,
    mmd2,
    mmd2_of_pairs,
    pairing_test,
    witness,
)  # fmt: skip

D = 6


def gaussian(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scales(seed=9, d=D):
    return gaussian(d, seed=seed).exp()


def k(x, y, lengthscale):
    return math.exp(
        -0.5 * sum(((a - b) / l) ** 2 for a, b, l in zip(x.tolist(), y.tolist(), lengthscale.tolist(), strict=True))
    )


def by_loops(x, y, lengthscale):
    within = [
        sum(k(a, b, lengthscale) for i, a in enumerate(c) for j, b in enumerate(c) if i != j) / (len(c) * (len(c) - 1))
        for c in (x, y)
    ]
    return sum(within) - 2 * sum(k(a, b, lengthscale) for a in x for b in y) / (len(x) * len(y))


@pytest.mark.parametrize("sizes", [(2, 2), (5, 9), (11, 3)])
def test_it_equals_a_double_loop(sizes):
    x, y = 50 + gaussian(sizes[0], D), 50 + 0.5 * gaussian(sizes[1], D, seed=1)
    assert float(mmd2(x, y, scales())) == pytest.approx(by_loops(x, y, scales()), abs=1e-10)
    assert float(mmd2(y, x, scales())) == pytest.approx(float(mmd2(x, y, scales())), abs=1e-12)


@pytest.mark.parametrize("d", [3, 64, 896])
def test_it_equals_the_estimator_on_the_kernel_of_scikit_learn(d):
    x, y, lengthscale = 3 + gaussian(7, d), 3 + 1.3 * gaussian(12, d, seed=1), d**0.5 * (1 + scales(d=d))
    xx, yy, xy = (rbf_kernel(a / lengthscale, b / lengthscale, gamma=0.5) for a, b in ((x, x), (y, y), (x, y)))
    apart = [k[~np.eye(len(k), dtype=bool)].mean() for k in (xx, yy)]
    assert float(mmd2(x, y, lengthscale)) == pytest.approx(sum(apart) - 2 * xy.mean(), abs=1e-10)


def test_clouds_that_are_one_and_the_same_have_less_than_no_distance():
    """The estimate leaves a token's comparison with itself out of the cloud and not out of the pair."""
    x = gaussian(10, D)
    assert float(mmd2(x, x, scales())) < 0
    assert float(mmd2(x, gaussian(10, D, seed=3), 1e6)) == pytest.approx(0, abs=1e-9)


def test_a_constant_dimension_changes_nothing():
    x, y = gaussian(5, D), gaussian(8, D, seed=1)
    flat = [torch.cat((c, torch.full((len(c), 1), 7.0, dtype=c.dtype)), 1) for c in (x, y)]
    wide = torch.cat((scales(), torch.ones(1, dtype=torch.float64)))
    assert float(mmd2(*flat, wide)) == pytest.approx(float(mmd2(x, y, scales())), abs=1e-12)


def test_pairs_in_one_padded_batch_are_pairs_one_by_one():
    x, y = ([gaussian(n, D, seed=s + n) for n in sizes] for s, sizes in ((0, (3, 7, 2)), (20, (5, 2, 9))))
    together = mmd2_of_pairs(Clouds.of(x), Clouds.of(y), scales())
    assert torch.allclose(together, torch.stack([mmd2(a, b, scales()) for a, b in zip(x, y, strict=True)]), atol=1e-12)
    longer = Clouds.of([*x, gaussian(40, D)])
    cut = Clouds(
        longer.states[:3] + 1e3 * ~longer.real[:3].unsqueeze(2), longer.real[:3]
    )  # what is padded says nothing
    assert torch.allclose(mmd2_of_pairs(cut, Clouds.of(y), scales()), together, atol=1e-12)


def test_gradients_are_those_of_the_formula():
    x, y = gaussian(5, D), gaussian(4, D, seed=1)
    log_l = scales().log().requires_grad_()

    def plain(log_l):
        def between(a, b):
            return (-0.5 * ((a.unsqueeze(1) - b) / log_l.exp()).square().sum(2)).exp()

        within = [(between(c, c).sum() - len(c)) / (len(c) * (len(c) - 1)) for c in (x, y)]
        return within[0] + within[1] - 2 * between(x, y).mean()

    (ours,) = torch.autograd.grad(mmd2(x, y, log_l.exp()), log_l)
    (theirs,) = torch.autograd.grad(plain(log_l), log_l)
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.autograd.gradcheck(lambda a: mmd2(a, y, scales()), x.clone().requires_grad_())


def test_states_far_from_zero_in_single_precision():
    """Real states have coordinates of a thousand beside others of one; distances must not drown in them."""
    x, y = gaussian(20, D), gaussian(20, D, seed=1)
    far = torch.tensor([2000.0, 0, 0, -500, 0, 0], dtype=torch.float64)
    single = mmd2((x + far).float(), (y + far).float(), 3.0)
    assert float(single) == pytest.approx(float(mmd2(x, y, 3.0)), abs=1e-4)


def test_alike_it_is_zero_on_average_and_apart_it_is_not():
    values = [float(mmd2(gaussian(8, D, seed=2 * i), gaussian(12, D, seed=2 * i + 1), 3.0)) for i in range(200)]
    spread = torch.tensor(values).std() / 200**0.5
    assert abs(sum(values) / 200) < 3 * spread
    assert 60 < sum(value < 0 for value in values) < 140
    assert float(mmd2(gaussian(40, D), gaussian(40, D, seed=1) + 1, 3.0)) > 0.2


def test_a_dimension_of_endless_lengthscale_is_not_seen():
    x, y = gaussian(20, D), gaussian(20, D, seed=1)
    blind = torch.full((D,), 3.0, dtype=torch.float64)
    blind[0] = 1e12
    moved = y.clone()
    moved[:, 0] += 100
    assert float(mmd2(x, moved, blind)) == pytest.approx(float(mmd2(x, y, blind)), abs=1e-9)


def test_the_median_distance_is_that_of_all_pairs():
    x = gaussian(30, D)
    every = sorted(float((x[i] - x[j]).norm()) for i in range(30) for j in range(i))
    assert every[0] < median_distance(x) < every[-1]
    assert sum(value < median_distance(x) for value in every) == pytest.approx(len(every) / 2, abs=1)
    with pytest.raises(zkit.ZkitError, match="one and the same"):
        median_distance(torch.ones(9, D))


def test_the_witness_is_the_gap_of_the_mean_kernels():
    x, y, points = gaussian(9, D), gaussian(7, D, seed=1), gaussian(3, D, seed=2)
    found = witness(points, x, y, scales())
    for point, value in zip(points, found, strict=True):
        wanted = sum(k(point, a, scales()) for a in x) / 9 - sum(k(point, b, scales()) for b in y) / 7
        assert float(value) == pytest.approx(wanted, abs=1e-12)


def pairs(n, shift=0.0, content=1.0, seed=0, d=D):
    """n pairs of clouds: a prompt shares what is its own, a pair its content, and the languages differ by a shift."""
    zh, en = [], []
    for i in range(n):
        about = content * gaussian(1, d, seed=seed + 10 * i)
        for clouds, sign, j in ((zh, 1, 1), (en, -1, 2)):
            own = 0.5 * gaussian(1, d, seed=seed + 10 * i + j)
            clouds.append(about + own + sign * shift + 0.5 * gaussian(3 + i % 4, d, seed=seed + 10 * i + j + 2))
    return Clouds.of(zh), Clouds.of(en)


def test_block_means_are_means_over_pairs_of_tokens():
    zh, en = pairs(4)
    blocks = Blocks.of(zh, en, scales())
    a, b = zh.states[1][zh.real[1]], en.states[3][en.real[3]]
    assert float(blocks.across[1, 3]) == pytest.approx(float(kernel(a, b, scales()).mean()), abs=1e-12)
    n = len(a)
    assert float(blocks.zh[1, 1]) == pytest.approx(float((kernel(a, a, scales()).sum() - n) / (n * (n - 1))), abs=1e-12)
    assert torch.allclose(blocks.between().diag(), mmd2_of_pairs(zh, en, scales()), atol=1e-12)
    means = block_means(zh, scales())
    assert torch.allclose(means, means.T, atol=1e-12)


def test_the_language_statistic_by_loops_over_prompts():
    blocks, n = Blocks.of(*pairs(5), scales()), 5
    off = [(i, j) for i in range(n) for j in range(n) if i != j]
    wanted = sum(blocks.zh[i, j] + blocks.en[i, j] - 2 * blocks.across[i, j] for i, j in off) / len(off)
    assert language_test(blocks, 9).value == pytest.approx(float(wanted), abs=1e-12)


def test_what_is_planted_is_found():
    assert language_test(Blocks.of(*pairs(20, shift=0.6), 3.0)).p < 0.01
    assert pairing_test(Blocks.of(*pairs(20, content=1.5), 3.0)).p < 0.01


@pytest.mark.parametrize(
    ("test", "null"), [(language_test, {"shift": 0.0}), (pairing_test, {"content": 0.0, "shift": 1.0})]
)
def test_where_nothing_is_planted_p_is_even(test, null):
    """Tokens of one prompt are alike, which would fool a permutation of tokens; the other effect is there in full."""
    found = [test(Blocks.of(*pairs(12, **null, seed=1000 * s), 3.0), draws=199, seed=s).p for s in range(200)]
    for level in (0.05, 0.2, 0.5):
        low, high = binom.interval(0.999, 200, level)
        assert max(low, 1) <= sum(p <= level for p in found) <= high, level


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mmd2(gaussian(1, D), gaussian(3, D), 1.0), "needs two"),
        (lambda: mmd2(gaussian(3, D), gaussian(3, D + 1), 1.0), "one width"),
        (lambda: mmd2(gaussian(3, D) / 0, gaussian(3, D), 1.0), "NaN"),
        (lambda: mmd2(gaussian(3, D), gaussian(3, D), 0.0), "positive"),
        (lambda: mmd2(gaussian(3, D), gaussian(3, D), torch.ones(D - 1)), "one for each of 6"),
        (lambda: Clouds.of([gaussian(3, D), gaussian(3, D + 1)]), "one d"),
        (lambda: language_test(Blocks.of(*pairs(1), 1.0)), "at least two pairs"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call()
