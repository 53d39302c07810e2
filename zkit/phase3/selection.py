"""Which coordinates count: weights held to those of shuffled pairs, and sets of coordinates held to subspaces."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.ard import shared
from zkit.phase3.kernels import Clouds
from zkit.stats import permutation_p
from zkit.subspaces import Subspace


def reordered(clouds: Clouds, order: Sequence[int] | Tensor) -> Clouds:
    """The same clouds in another order."""
    order = torch.as_tensor(order)
    return Clouds(clouds.states[order], clouds.real[order])


def refits(
    zh: Clouds, en: Clouds, draws: int = 19, seed: int = 0, steps: int = 100, shifts: int = 2
) -> Float[Tensor, "draws d"]:
    """:func:`zkit.phase3.ard.shared` on pairs that are none: the English prompts in ``draws`` other orders.

    What the weights are where a problem and its translation have nothing more in common than any two prompts.
    """
    made = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(en), generator=made) for _ in range(draws))
    return torch.stack([shared(zh, reordered(en, order), steps=steps, shifts=shifts) for order in orders])


def survivors(weights: Float[Tensor, " d"], null: Float[Tensor, "draws d"]) -> Bool[Tensor, " d"]:
    """The coordinates whose log weight stands further above its mean over all fits than any does in a shuffled fit.

    A permutation test with the largest statistic: where pairs mean nothing, one or more coordinates survive in at most
    1 of ``draws`` + 1 runs (nineteen: 5%). Raises ZkitError for weights of another width, and for fewer than two fits.
    """
    if null.dim() != 2 or null.shape[1:] != weights.shape or len(null) < 2:
        raise ZkitError(f"{tuple(weights.shape)} weights need shuffled fits [draws, d], got {tuple(null.shape)}")
    every = torch.cat((weights.unsqueeze(0), null)).log()
    above = every - every.mean(0)
    return above[0] > above[1:].max()


def energy(coordinates: Sequence[int], space: Subspace) -> float:
    """Mean of |V e_j|^2 over the coordinates j, over k / d: 1 is chance, d / k if all of them lie in the space.

    Raises ZkitError for none, and for one that the space does not have.
    """
    chosen = list(coordinates)
    if not chosen or not all(0 <= j < space.d for j in chosen):
        raise ZkitError(f"coordinates are integers from 0 to {space.d - 1}, at least one; got {chosen[:5]}")
    return float(space.basis.square().sum(0)[chosen].mean()) * space.d / space.k


def energy_null(n: int, space: Subspace, draws: int = 999, seed: int = 0) -> list[float]:
    """:func:`energy` of ``draws`` sets of n coordinates, drawn without replacement."""
    made = torch.Generator().manual_seed(seed)
    return [energy(torch.randperm(space.d, generator=made)[:n].tolist(), space) for _ in range(draws)]


def energy_p(coordinates: Sequence[int], space: Subspace, draws: int = 999, seed: int = 0) -> float:
    """The share of sets of so many coordinates with as much energy in the space."""
    return permutation_p(energy(coordinates, space), energy_null(len(coordinates), space, draws, seed))
