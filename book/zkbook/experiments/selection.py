"""Tests of coordinates: in which ones translations agree, and how much of a set of coordinates lies in a subspace.

Weights have a fixed sum. Even shuffled pairs raise the weights of all coordinates that do not differ between languages,
so a large weight does not show that something is shared. That is tested coordinate by coordinate, on other problems.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkbook.experiments.bridge import pairings
from zkit.errors import ZkitError
from zkit.phase3.ard import shared
from zkit.phase3.kernels import Clouds, kernel, scaled
from zkit.subspaces import Subspace


def reordered(clouds: Clouds, order: Sequence[int] | Tensor) -> Clouds:
    """The same clouds in another order."""
    order = torch.as_tensor(order)
    return Clouds(clouds.states[order], clouds.real[order])


def refits(zh: Clouds, en: Clouds, draws: int = 5, seed: int = 0, **options: Any) -> Float[Tensor, "draws d"]:
    """:func:`zkit.phase3.ard.shared` on shuffled pairs: the English prompts ``en`` in ``draws`` random orders.

    zh: the Chinese prompts. seed: of the orders. options: those of the fit, whose errors are raised here too: for
    clouds that are not pairs, too few problems, or a temperature that is not positive. The result shows the weights if
    the prompts of a pair have no more in common than any two prompts.
    """
    made = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(en), generator=made) for _ in range(draws))
    return torch.stack([shared(zh, reordered(en, order), **options) for order in orders])


def disagreement(zh: Clouds, en: Clouds, lengthscale: Float[Tensor, " d"]) -> Float[Tensor, "N N d"]:
    """Mean over the tokens of Chinese prompt i and English prompt j of k(x, y) (x_c - y_c)^2 / l_c^2, for every c.

    It measures how much coordinate c separates two prompts that are near in the other coordinates: it is minus twice
    the derivative of the mean of k with respect to log w_c. Raises ZkitError for a lengthscale that is not positive.
    """
    zh, en = scaled(zh, en, lengthscale)
    y, found = en.states, []
    for states, real in zip(zh.states, zh.real, strict=True):
        x = states[real]
        k = kernel(x.expand(len(en), -1, -1), y) * en.real.unsqueeze(1)  # [N, n, m]
        apart = k.sum(2) @ x.square() + (k.sum(1).unsqueeze(1) @ y.square()).squeeze(1) - 2 * ((k @ y) * x).sum(1)
        found.append(apart / (len(x) * en.sizes).unsqueeze(1))
    return torch.stack(found)


def agreement(apart: Float[Tensor, "N N d"], weight: Float[Tensor, " N"] | None = None) -> Float[Tensor, " d"]:
    """1 - mean_i D_iic / mean_{i != j} D_ijc for each coordinate c: the relative reduction of the disagreement for
    translations, 0 by chance.

    apart: D, from :func:`disagreement`. weight: how often each problem counts (None: once). The result is 0 for a
    coordinate that never varies. Unlike the number of :func:`survivors` it does not grow with the number of problems.
    Raises ZkitError for fewer than two problems.
    """
    n = len(apart)
    if n < 2:
        raise ZkitError("a single problem has no others to be nearer than; take at least two")
    times = torch.ones(n, dtype=apart.dtype) if weight is None else weight.to(apart)
    own = apart.diagonal().T  # [N, d]
    others = torch.einsum("i,ijc,j->c", times, apart, times) - times.square() @ own
    usual = others / (times.sum() ** 2 - times.square().sum())
    return torch.where(usual > 0, 1 - (times @ own / times.sum()) / usual.clamp_min(1e-30), 0.0)


def survivors(
    apart: Float[Tensor, "N N d"],
    draws: int = 999,
    level: float = 0.05,
    seed: int = 0,
    within: Sequence[Hashable] | None = None,
) -> Bool[Tensor, " d"]:
    """The coordinates in which a problem and its translation agree more than prompts paired at random.

    This is a permutation test with the largest statistic (Westfall and Young 1993). Each coordinate's mean over the
    pairs is standardised by its mean and standard deviation over all pairings, random and true. It survives if at most
    a share ``level`` of the pairings have any coordinate with a value as low. If pairs have no effect, some coordinate
    survives in a share ``level`` of runs. A coordinate that never varies does not survive.
    apart: from :func:`disagreement`, on problems that the lengthscales were not fitted to and that are independent of
    each other, so one of each unit. draws, seed: of the random pairings. within: a name for each problem, of something
    besides its meaning that it shares with others, such as the wording; only problems of one name change places.
    The number of survivors grows with the number of problems; for an effect size use :func:`agreement`. Raises
    ZkitError for fewer than three problems.
    """
    n = len(apart)
    if apart.dim() != 3 or apart.shape[1] != n or n < 3:
        raise ZkitError(f"other pairings need [N, N, d] of at least three problems, got {tuple(apart.shape)}")
    orders = torch.cat((torch.arange(n).unsqueeze(0), pairings(n, draws, seed, within)))
    rows = torch.arange(n)
    means = torch.stack([apart[rows, order].mean(0) for order in orders])  # [1 + draws, d], the pairs first
    spread = means.std(0)
    z = torch.where(spread > 0, (means.mean(0) - means) / spread.clamp_min(torch.finfo(means.dtype).tiny), 0.0)
    largest = z.amax(1)
    p = (largest.unsqueeze(1) >= z[0]).double().mean(0)
    return p <= level


def energy(coordinates: Sequence[int], space: Subspace) -> float:
    """Mean of |V e_j|^2 over the coordinates j, divided by k / d: 1 is chance, d / k if all of them lie in the space.

    Raises ZkitError for no coordinates, and for one that is out of range.
    """
    chosen = list(coordinates)
    if not chosen or not all(0 <= j < space.d for j in chosen):
        raise ZkitError(f"coordinates are integers from 0 to {space.d - 1}, at least one; got {chosen[:5]}")
    return float(space.basis.square().sum(0)[chosen].mean()) * space.d / space.k


def energy_null(
    coordinates: Sequence[int],
    space: Subspace,
    draws: int = 999,
    seed: int = 0,
    size: Float[Tensor, " d"] | None = None,
    alike: int = 16,
) -> list[float]:
    """:func:`energy` in ``space`` of ``draws`` random sets of as many coordinates, drawn without replacement.

    seed: of the draws. size: of every coordinate. If given, coordinates are ranked by size in strata of ``alike``, and
    each set has as many from each stratum as ``coordinates``. The null then includes the overlap that arises because
    large coordinates both lie in the space and are chosen.
    """
    made, chosen = torch.Generator().manual_seed(seed), torch.zeros(space.d, dtype=torch.bool)
    chosen[list(coordinates)] = True
    runs = [torch.arange(space.d)] if size is None else size.argsort(descending=True).split(alike)
    counts = [(run, int(chosen[run].sum())) for run in runs]
    null = []
    for _ in range(draws):
        drawn = [run[torch.randperm(len(run), generator=made)[:n]] for run, n in counts if n]
        null.append(energy(torch.cat(drawn).tolist(), space))
    return null
