"""Phase 2: do problems keep apart, and languages fall together, inside a subspace? States of pairs, before and after.

Rows are problems: ``zh[i]`` and ``en[i]`` are states of the same problem in two languages. Source: the Phase 3
specification's summary of its Phase 2; it prints the figures, and the definitions are ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.fits import check_pairs
from zkit.subspaces import Projector, Subspace


def distances(
    zh: Float[Tensor, "n d"], en: Float[Tensor, "n d"], space: Projector | None = None
) -> Float[Tensor, "n n"]:
    """|P (zh_i - en_j)| for every two problems; P = I without a space. ZkitError for states of other problems."""
    check_pairs(en, zh)
    if space is None:
        return torch.cdist(zh, en)
    inside = space.coordinates if isinstance(space, Subspace) else space.project
    return torch.cdist(inside(zh), inside(en))


def ratio(between: Float[Tensor, "n n"]) -> float:
    """Mean of the diagonal over mean of the rest: of the distances of problems, their distance ratio.

    Raises ZkitError for a single problem, which has no other.
    """
    n, own = _several(between), between.diagonal()
    return float(own.mean() / ((between.sum() - own.sum()) / (n * (n - 1))))


def distance_ratio(zh: Float[Tensor, "n d"], en: Float[Tensor, "n d"], space: Projector | None = None) -> float:
    """Mean distance of a problem's two languages over that of different problems' in two languages, inside ``space``.

    mean_i |P (zh_i - en_i)| / mean_{i != j} |P (zh_i - en_j)|: below one, problems meet across languages; the lower,
    the better they keep apart. Raises ZkitError for states of different problems.
    """
    return ratio(distances(zh, en, space))


def resampled(between: Float[Tensor, "n n"], draws: int = 1000, seed: int = 0) -> Float[Tensor, " drawn"]:
    """The distance ratio for problems drawn again with replacement, from their distances.

    A problem drawn twice is no two different problems, and draws of one problem alone are left out. The same seed draws
    the same problems, so that differences of ratios in two subspaces are paired. Raises ZkitError for a single problem.
    """
    made, n = torch.Generator().manual_seed(seed), _several(between)
    rows = torch.randint(n, (draws, n), generator=made)
    weight = torch.zeros(draws, n, dtype=torch.float64).scatter_add_(1, rows, torch.ones(draws, n, dtype=torch.float64))
    weight = weight[weight.amax(1) < n]
    exact, squares = between.double(), weight.square()
    own = exact.diagonal()
    apart = ((weight @ exact) * weight).sum(1) - squares @ own
    return (weight @ own / n) / (apart / (n * n - squares.sum(1)))


def language_energy(zh: Float[Tensor, "n d"], en: Float[Tensor, "n d"], space: Subspace) -> float:
    """Share of the mean difference of the languages that lies in ``space``, over k / d: 1 is chance.

    |P m|^2 / |m|^2 / (k / d) with m = mean_i (zh_i - en_i). Raises ZkitError for states of different problems.
    """
    check_pairs(en, zh)
    mean = (zh - en).mean(0)
    return float(space.coordinates(mean).square().sum() / mean.square().sum()) / (space.k / space.d)


def _several(between: Float[Tensor, "n n"]) -> int:
    if len(between) < 2:
        raise ZkitError(f"a distance ratio needs at least two problems, got {len(between)}")
    return len(between)
