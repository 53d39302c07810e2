"""Phase 2: do problems keep apart, and languages fall together, inside a subspace? States of pairs, before and after.

Rows are problems: ``zh[i]`` and ``en[i]`` are states of the same problem in two languages. Source: the Phase 3
specification's summary of its Phase 2; it prints the figures, and the definitions are ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.phase3.fits import check_pairs
from zkit.subspaces import Complement, Subspace


def distance_ratio(
    zh: Float[Tensor, "n d"], en: Float[Tensor, "n d"], space: Subspace | Complement | None = None
) -> float:
    """Mean distance of a problem's two languages over that of different problems' in two languages, inside ``space``.

    mean_i |P (zh_i - en_i)| / mean_{i != j} |P (zh_i - en_j)|: below one, problems meet across languages; the lower,
    the better they keep apart. Raises ZkitError for states of different problems.
    """
    check_pairs(en, zh)
    if isinstance(space, Complement):
        within = space.of.reject(zh), space.of.reject(en)
    else:
        within = (zh, en) if space is None else (space.coordinates(zh), space.coordinates(en))
    distances = torch.cdist(*within)
    n, own = len(zh), distances.diagonal()
    return float(own.mean() / ((distances.sum() - own.sum()) / (n * (n - 1))))


def language_energy(zh: Float[Tensor, "n d"], en: Float[Tensor, "n d"], space: Subspace) -> float:
    """Share of the mean difference of the languages that lies in ``space``, over k / d: 1 is chance.

    |P m|^2 / |m|^2 / (k / d) with m = mean_i (zh_i - en_i). Raises ZkitError for states of different problems.
    """
    check_pairs(en, zh)
    mean = (zh - en).mean(0)
    return float(space.coordinates(mean).square().sum() / mean.square().sum()) / (space.k / space.d)
