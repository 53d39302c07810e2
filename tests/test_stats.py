"""Intervals and tests against closed forms, counting, and their nominal coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.stats import (
    Interval,
    auc,
    bootstrap_mean,
    bootstrap_ratio,
    clustered_mean,
    crossed_means,
    holm,
    mcnemar,
    mean_over_others,
    no_difference,
    permutation_p,
    wilson,
)


@few
@given(st.integers(1, 300), st.data())
def test_wilson_is_its_formula(n, data):
    k = data.draw(st.integers(0, n))
    z = 1.959963984540054
    p = k / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    got = wilson(k, n)
    assert (got.value, got.n) == (p, n)
    assert math.isclose(got.low, (centre - half) / (1 + z * z / n), abs_tol=1e-12)
    assert math.isclose(got.high, (centre + half) / (1 + z * z / n), abs_tol=1e-12)
    assert wilson(k, n, 0.5).low >= got.low


@pytest.mark.parametrize(("k", "n"), [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_no_proportion(k, n):
    with pytest.raises(zkit.ZkitError, match="not a proportion"):
        wilson(k, n)


def test_the_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(150):
        ci = bootstrap_mean(rng.normal(3, 2, size=40), level=0.9, draws=400, seed=seed)
        assert ci.low < ci.value < ci.high
        inside += ci.low <= 3 <= ci.high
    assert 0.82 <= inside / 150 <= 0.96


def test_the_bootstrap_is_seeded_and_degenerates_to_a_point():
    x = [1.0, 2.0, 5.0, 9.0]
    assert bootstrap_mean(x) == bootstrap_mean(x)
    values = np.random.default_rng(0).normal(size=50)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)
    assert bootstrap_mean(x).value == 4.25
    assert bootstrap_mean([2.0]) == Interval(2, 2, 2, 1)
    assert bootstrap_mean([2.0] * 5) == Interval(2, 2, 2, 5)
    assert str(Interval(0.5, 0.25, 0.75, 4)) == "0.5 [0.25, 0.75] (n = 4)"
    for bad in ([], [1.0, math.nan], [math.inf]):
        with pytest.raises(zkit.ZkitError, match="finite"):
            bootstrap_mean(bad)


@few
@given(st.integers(0, 30), st.integers(0, 30))
def test_mcnemar_is_the_two_sided_binomial(a, b):
    n, k = a + b, min(a, b)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert math.isclose(mcnemar(a, b), min(1.0, 2 * tail), rel_tol=1e-9)
    assert mcnemar(a, b) == mcnemar(b, a)


def test_permutation_p_counts_itself_and_is_calibrated():
    assert permutation_p(5, [1, 2, 3]) == 0.25
    assert permutation_p(2, [1, 2, 3]) == 0.75
    assert permutation_p(0, [1, 2, 3]) == 1
    rng = np.random.default_rng(0)
    ps = [permutation_p(x[0], x[1:]) for x in rng.normal(size=(2000, 20))]
    assert all(abs(np.mean(np.array(ps) <= level) - level) < 0.03 for level in (0.05, 0.25, 0.5, 0.75))
    for observed, null in ((1.0, []), (math.nan, [1.0]), (1.0, [math.inf])):
        with pytest.raises(zkit.ZkitError, match="finite"):
            permutation_p(observed, null)


def test_auc_counts_pairs_and_ties():
    assert auc([3, 4], [1, 2]).value == 1.0
    assert auc([1, 2], [3, 4]).value == 0.0
    tied = auc([1, 1, 2], [1, 0])
    assert tied.value == pytest.approx((0.5 + 1 + 0.5 + 1 + 1 + 1) / 6) and tied.n == 5
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        found = auc(rng.normal(1, 1, 40), rng.normal(0, 1, 40), draws=300, seed=seed)
        covered += found.low <= 0.7602 <= found.high  # P(N(1, 2) > 0)
    assert 88 <= covered <= 100
    for bad in (([], [1.0]), ([1.0], []), ([float("nan")], [1.0])):
        with pytest.raises(zkit.ZkitError, match="AUC"):
            auc(*bad)


def test_ratio_of_sums_is_not_a_mean_of_ratios():
    found = bootstrap_ratio([1, 9], [1, 10])
    assert found.value == pytest.approx(10 / 11) and found.n == 2
    assert found.low <= found.value <= found.high
    scaled = bootstrap_ratio(np.arange(1, 30) * 0.5, np.arange(1, 30))
    assert scaled.value == scaled.low == scaled.high == pytest.approx(0.5)
    for bad in (([1.0], [1.0, 2.0]), ([], []), ([1.0], [0.0]), ([-1.0], [1.0]), ([float("inf")], [1.0])):
        with pytest.raises(zkit.ZkitError, match="ratio"):
            bootstrap_ratio(*bad)


def test_a_clustered_mean_counts_groups():
    values, groups = [1, 1, 0, 1, 0, 0], ["a", "a", "a", "b", "c", "c"]
    got = clustered_mean(values, groups)
    assert got == bootstrap_mean([2 / 3, 1, 0]) and got.n == 3
    copies = clustered_mean(values * 5, groups * 5)
    assert copies == got
    assert clustered_mean([0.0] * 12, list("abcd") * 3) == wilson(0, 4)
    assert clustered_mean([1, 1], ["a", "b"]) == wilson(2, 2)
    assert clustered_mean([-0.5, -0.5], ["a", "b"]) == Interval(-0.5, -0.5, -0.5, 2)
    with pytest.raises(zkit.ZkitError, match="2 values but 1 groups"):
        clustered_mean([0, 1], ["a"])
    with pytest.raises(zkit.ZkitError, match="finite"):
        clustered_mean([], [])


def test_a_clustered_mean_covers_where_questions_about_one_thing_agree():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        truths = (rng.random(40) < 0.4).repeat(6)
        got = clustered_mean(truths, [f"{i // 6}" for i in range(240)])
        covered += got.low <= 0.4 <= got.high
    assert covered >= 180


def test_holm_on_worked_examples():
    # four hypotheses with p = 0.01, 0.04, 0.03, 0.005: at 0.05 the first and the fourth are rejected alone
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.02, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.5, 0.9, 0.6]) == [1.0, 1.0, 1.0]
    assert holm([0.2]) == [0.2] and holm([]) == []
    for bad in ([0.1, 1.1], [-0.1], [math.nan]):
        with pytest.raises(zkit.ZkitError, match="between 0 and 1"):
            holm(bad)


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(ps, level):
    order, rejected = sorted(range(len(ps)), key=lambda i: ps[i]), set()
    for rank, i in enumerate(order):
        if (len(ps) - rank) * ps[i] > level:
            break
        rejected.add(i)
    found = holm(ps)
    assert {i for i, p in enumerate(found) if p <= level} == rejected
    assert [found[i] for i in order] == sorted(found)


def test_crossed_means_count_items_and_not_pairs():
    first, second = [a for a in "abcd" for b in "abcd" if a != b], [b for a in "abcd" for b in "abcd" if a != b]
    hits = [float(b == "a") for b in second]  # one source makes all of it
    (got,), alone = crossed_means([hits], first, second), clustered_mean(hits, first)
    assert got.value == pytest.approx(0.25) and got.n == 4
    assert got.high - got.low > alone.high - alone.low  # targets alone agree, and hide the source
    zero, one, half = crossed_means([[0.0] * 12, [1.0] * 12, [-0.5] * 12], first, second)
    assert zero == wilson(0, 4) and one == wilson(4, 4)
    assert (half.value, half.low, half.high) == pytest.approx((-0.5, -0.5, -0.5))
    for bad in (([[1.0]], ["a", "b"], ["b", "a"]), ([[float("nan")]], ["a"], ["b"]), ([[]], [], [])):
        with pytest.raises(zkit.ZkitError, match="finite ones for each"):
            crossed_means(*bad)


def test_a_mean_over_others_is_the_mean_over_pairs_with_items_in_both_roles():
    rng = np.random.default_rng(1)
    h = rng.random((9, 9)) + rng.normal(0, 2, 9)[:, None]
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    [want] = crossed_means([[h[p] for p in pairs]], [str(i) for i, _ in pairs], [str(j) for _, j in pairs])
    got = mean_over_others(h)
    assert (got.value, got.low, got.high, got.n) == pytest.approx((want.value, want.low, want.high, 9))
    for bad in (np.ones((1, 1)), np.ones((2, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(zkit.ZkitError, match="square of two or more"):
            mean_over_others(bad)


def test_no_difference_is_no_certainty():
    got = no_difference(20)
    assert (got.value, got.low, got.high, got.n) == (0, -wilson(0, 20).high, wilson(0, 20).high, 20)
    assert no_difference(80).high < got.high / 3


def test_crossed_means_cover_where_items_rule_in_both_roles():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        easy, given = rng.random((2, 20)) < 0.7
        pairs = [(i, (i + step) % 20) for i in range(20) for step in (1, 5, 11)]
        hits = [float(easy[i] and given[j]) for i, j in pairs]
        (got,) = crossed_means([hits], [f"{i}" for i, _ in pairs], [f"{j}" for _, j in pairs])
        covered += got.low <= 0.49 <= got.high
    assert covered >= 180
