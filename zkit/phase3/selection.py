"""Which coordinates count: in which translations agree, what shuffled pairs teach, what a set has of a subspace.

A weight is a share of a budget: shuffled pairs raise the weights of all coordinates that do not tell the language, so
that a large one is no sign of something shared. What is shared is tested on other problems, coordinate by coordinate.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.ard import shared
from zkit.phase3.bridge import pairings
from zkit.phase3.kernels import Clouds, kernel, scaled
from zkit.stats import permutation_p
from zkit.subspaces import Subspace


def reordered(clouds: Clouds, order: Sequence[int] | Tensor) -> Clouds:
    """The same clouds in another order."""
    order = torch.as_tensor(order)
    return Clouds(clouds.states[order], clouds.real[order])


def refits(zh: Clouds, en: Clouds, draws: int = 5, seed: int = 0, **options: Any) -> Float[Tensor, "draws d"]:
    """:func:`zkit.phase3.ard.shared` on pairs that are none: the English prompts in ``draws`` other orders.

    ``options`` are those of the fit. What the weights are where a problem and its translation have nothing more in
    common than any two prompts.
    """
    made = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(en), generator=made) for _ in range(draws))
    return torch.stack([shared(zh, reordered(en, order), **options) for order in orders])


def disagreement(zh: Clouds, en: Clouds, lengthscale: Float[Tensor, " d"]) -> Float[Tensor, "N N d"]:
    """Mean over the tokens of Chinese prompt i and English prompt j of k(x, y) (x_c - y_c)^2 / l_c^2, for every c.

    How much coordinate c keeps two prompts apart whose other coordinates are near: minus twice the derivative of the
    mean of k with respect to log w_c.
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
    """1 - mean_i D_iic / mean_{i != j} D_ijc: by how much of it translations are nearer in coordinate c, 0 by chance.

    ``apart`` as :func:`disagreement` gives it; unlike the number of :func:`survivors` it does not grow with the number
    of problems. ``weight`` says how often each problem counts. 0 for a coordinate that never varies. Raises ZkitError
    for fewer than two problems.
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

    ``apart`` as :func:`disagreement` gives it, on problems that the lengthscales were not fitted to. Each coordinate's
    mean over the pairs is standardised by its mean and spread over ``draws`` other pairings, and has to lie further
    below than the lowest of all coordinates does in all but a share ``level`` of them (a permutation test with the
    largest statistic, Westfall and Young 1993): where pairs mean nothing, one or more coordinates survive in a share
    ``level`` of runs. ``within`` names what problems have in common besides the meaning, such as a wording: only those
    of one name change places. Problems must be independent of each other, so one of each unit. Their number is one of
    power, which grows with the number of problems; :func:`agreement` is a size. A coordinate that never varies does not
    survive. Raises ZkitError for fewer than three problems.
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
    """Mean of |V e_j|^2 over the coordinates j, over k / d: 1 is chance, d / k if all of them lie in the space.

    Raises ZkitError for none, and for one that the space does not have.
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
    """:func:`energy` of ``draws`` sets of as many coordinates, drawn without replacement.

    With the ``size`` of every coordinate, each set has as many as ``coordinates`` of the ``alike`` largest, of the next
    ``alike``, and so on: what is left of the overlap where large coordinates lie in the space and are chosen, too.
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


def energy_p(coordinates: Sequence[int], space: Subspace, **options: Any) -> float:
    """The share of sets of so many coordinates with as much energy in the space; options of :func:`energy_null`."""
    return permutation_p(energy(coordinates, space), energy_null(coordinates, space, **options))
