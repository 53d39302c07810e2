"""Confidence intervals and tests, mostly from scipy."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from zkit.errors import ZkitError


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its confidence interval and the number of items behind it."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] (n = {self.n})"


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A proportion with Wilson's score interval. Raises ZkitError unless 0 <= successes <= n and n >= 1."""
    if n < 1 or not 0 <= successes <= n:
        raise ZkitError(f"{successes} successes of {n} trials is not a proportion")
    ci = stats.binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(ci.low), float(ci.high), int(n))


def no_difference(n: int, level: float = 0.95) -> Interval:
    """The interval of a difference of shares if none of n items differs.

    It is 0 plus and minus the upper end of :func:`wilson` for 0 of n. A bootstrap would give an interval of no width.
    """
    none = wilson(0, n, level)
    return Interval(0.0, -none.high, none.high, n)


def bootstrap_mean(values: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """The mean with a percentile bootstrap interval; for one value or equal values the interval is a point.

    Raises ZkitError if there are no values or one of them is not finite.
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0 or not np.isfinite(x).all():
        raise ZkitError(f"a mean needs finite values; got {x.size} of which {int(np.isfinite(x).sum())} are finite")
    mean = float(x.mean())
    if x.size == 1 or bool((x == x[0]).all()):
        return Interval(mean, mean, mean, x.size)
    ci = stats.bootstrap(
        (x,), np.mean, confidence_level=level, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed)
    ).confidence_interval
    return Interval(mean, float(ci.low), float(ci.high), x.size)


def holm(ps: Sequence[float]) -> list[float]:
    """P values corrected for their number by Holm's step-down method, in the order given.

    Raises ZkitError unless every p is in 0..1.
    """
    if not all(0 <= p <= 1 for p in ps):
        raise ZkitError(f"p values lie between 0 and 1; got {list(ps)}")
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, largest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[i]))
        corrected[i] = largest
    return corrected


def clustered_mean(
    values: Sequence[float] | NDArray[Any], groups: Sequence[str], level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of the groups' means, with a percentile bootstrap interval over the groups; n is their number.

    If all groups' means are 0, or all are 1, it is Wilson's interval for as many items as there are groups. Raises
    ZkitError for lists of different lengths, no values and values that are not finite.
    """
    if len(values) != len(groups):
        raise ZkitError(f"{len(values)} values but {len(groups)} groups; give the group of each value")
    found: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        found.setdefault(group, []).append(float(value))
    means = [sum(part) / len(part) for part in found.values()]
    if means and set(means) in ({0.0}, {1.0}):
        return wilson(round(sum(means)), len(means), level)
    return bootstrap_mean(means, level, seed=seed)


def crossed_means(
    rows: Sequence[Sequence[float]] | NDArray[Any],
    first: Sequence[str],
    second: Sequence[str],
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> list[Interval]:
    """The mean of each row over pairs of items that come from one list, with an interval over the items.

    first, second: the names of the items of each pair. level: of confidence. draws, seed: of the bootstrap.
    Pairs that share an item are not independent. So items are drawn with replacement, once for both roles, and a pair
    counts as often as the product of the counts of its two items (the pigeonhole bootstrap, Owen 2007). n is the number
    of different first items; for a row of zeros, or of ones, it is Wilson's interval for n. Raises ZkitError for rows
    and names of different lengths, no pairs, and values that are not finite.
    """
    x = np.atleast_2d(np.asarray(rows, dtype=float))
    if not x.shape[1] == len(first) == len(second) or x.shape[1] == 0 or not np.isfinite(x).all():
        raise ZkitError(f"values {x.shape} of pairs of {len(first)} and {len(second)} items; give finite ones for each")
    names = {name: i for i, name in enumerate(dict.fromkeys((*first, *second)))}
    counts = np.random.default_rng(seed).multinomial(len(names), [1 / len(names)] * len(names), size=draws)
    weights = counts[:, [names[a] for a in first]] * counts[:, [names[b] for b in second]]
    weights = weights[weights.sum(1) > 0]
    low, high = np.quantile(x @ weights.T / weights.sum(1), ((1 - level) / 2, (1 + level) / 2), axis=1)
    n = len(set(first))
    return [
        wilson(round(row[0]) * n, n, level)
        if set(row) in ({0.0}, {1.0})
        else Interval(float(row.mean()), float(a), float(b), n)
        for row, a, b in zip(x, low, high, strict=True)
    ]


def mean_over_others(values: NDArray[Any], level: float = 0.95, draws: int = 2000, seed: int = 0) -> Interval:
    """The mean of ``values[i, j]`` over i != j, with an interval over the n items.

    Items are drawn with replacement, once for both roles, as in :func:`crossed_means`; draws of a single item are left
    out. Raises ZkitError unless ``values`` is a square of two or more items with finite values.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 2 or len(x) < 2 or x.shape[0] != x.shape[1] or not np.isfinite(x).all():
        raise ZkitError(f"values of pairs of different items are a square of two or more, finite; got {x.shape}")
    n = len(x)
    x = x * (1 - np.eye(n))
    counts = np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=draws)
    counts = counts[counts.max(1) < n]
    drawn = ((counts @ x) * counts).sum(1) / (n * n - (counts**2).sum(1))
    low, high = np.quantile(drawn, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(x.sum() / (n * (n - 1))), float(low), float(high), n)


def bootstrap_ratio(
    above: Sequence[float], below: Sequence[float], level: float = 0.95, draws: int = 2000, seed: int = 0
) -> Interval:
    """sum(above) / sum(below) over the same items, with a percentile bootstrap interval over the items.

    level: of confidence. draws, seed: of the bootstrap. Items with a small denominator have a small weight, unlike in a
    mean of ratios. Raises ZkitError for different lengths, no items, values that are negative or not finite, and a
    denominator of 0.
    """
    x, y = _sides(above, below)
    low, high = _paired(_ratio, (x, y), level, draws, seed)
    return Interval(float(x.sum() / y.sum()), low, high, x.size)


def bootstrap_ratio_difference(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """The second ratio of sums minus the first, with a percentile bootstrap interval over the items, drawn for both.

    first, second: (above, below) of each ratio, over the same items. level: of confidence. draws, seed: of the
    bootstrap. A draw with a denominator of 0 is left out. Raises ZkitError for lists of different lengths, no items,
    values that are negative or not finite, and a denominator of 0.
    """
    (a, b), (x, y) = _sides(*first), _sides(*second)
    if a.size != x.size:
        raise ZkitError(f"a paired difference needs the same items; got {a.size} and {x.size}")

    def difference(a: NDArray[Any], b: NDArray[Any], x: NDArray[Any], y: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        return _ratio(x, y, axis) - _ratio(a, b, axis)

    low, high = _paired(difference, (a, b, x, y), level, draws, seed)
    return Interval(float(x.sum() / y.sum() - a.sum() / b.sum()), low, high, x.size)


def _ratio(above: NDArray[Any], below: NDArray[Any], axis: int = -1) -> NDArray[Any]:
    """The ratio of sums; NaN for draws without anything below the line."""
    under = below.sum(axis)
    return above.sum(axis) / np.where(under > 0, under, np.nan)


def _paired(
    statistic: Callable[..., NDArray[Any]], samples: Sequence[NDArray[Any]], level: float, draws: int, seed: int
) -> tuple[float, float]:
    """The percentile interval of a statistic of items that are drawn for all samples at once; NaN is left out."""
    if samples[0].size == 1:
        return (float(statistic(*samples)),) * 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # of draws that are left out below
        found = stats.bootstrap(
            samples, statistic, paired=True, n_resamples=draws, method="percentile", rng=np.random.default_rng(seed)
        ).bootstrap_distribution
    low, high = np.nanquantile(found, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _sides(above: Sequence[float], below: Sequence[float]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Numerators and denominators of a ratio of sums as arrays, after the checks that :func:`bootstrap_ratio` names."""
    x, y = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ZkitError(f"a ratio needs finite values of the same items; got {x.size} above and {y.size} below")
    if x.size == 0 or min(x.min(), y.min()) < 0 or y.sum() <= 0:
        raise ZkitError("a ratio needs items, none of them negative, and something below the line")
    return x, y


def auc(positive: Sequence[float], negative: Sequence[float], draws: int = 2000, seed: int = 0) -> Interval:
    """Probability that a value of `positive` is larger than one of `negative`, ties counting half; n counts all values.

    The interval is a 95% percentile bootstrap over the values of each side. Raises ZkitError if a side is empty or a
    value is not finite.
    """
    x, y = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if x.size == 0 or y.size == 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ZkitError(f"an AUC needs finite values on both sides; got {x.size} and {y.size} values")
    wins = (x[:, None] > y).astype(float) + (x[:, None] == y) / 2
    rng = np.random.default_rng(seed)
    means = [wins[rng.integers(x.size, size=x.size)][:, rng.integers(y.size, size=y.size)].mean() for _ in range(draws)]
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(wins.mean()), float(low), float(high), x.size + y.size)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided exact p value for the hypothesis that paired conditions succeed equally often, from the numbers of
    pairs in which only the first, or only the second, succeeds.
    """
    n = only_first + only_second
    return 1.0 if n == 0 else float(stats.binomtest(only_first, n).pvalue)


def permutation_p(observed: float, null: Sequence[float]) -> float:
    """One-sided p of ``observed`` against draws from the null: (1 + number of draws at least as large) / (1 + draws).

    Raises ZkitError if there are no draws or a value is not finite.
    """
    draws = np.asarray(null, dtype=float)
    if draws.size == 0 or not np.isfinite(draws).all() or not math.isfinite(observed):
        raise ZkitError("a permutation p needs a finite statistic and at least one finite draw of its null")
    return float((1 + (draws >= observed).sum()) / (1 + draws.size))
