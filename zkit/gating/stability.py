"""Do two trainings find the same neurons? Overlaps and correlations, beside chance and what the first draw gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy import stats
from torch import Tensor

from zkit.errors import ZkitError
from zkit.gating.gates import Gates, initial_logits


def jaccard(a: Bool[Tensor, "n_layers d_mlp"], b: Bool[Tensor, "n_layers d_mlp"]) -> float:
    """Neurons in both sets over neurons in either. Raises ZkitError if both are empty."""
    either = int((a | b).sum())
    if not either:
        raise ZkitError("two empty sets of neurons have no overlap to speak of; raise the threshold")
    return int((a & b).sum()) / either


def chance_jaccard(off: float) -> float:
    """What two independent sets of a share ``off`` of many neurons overlap by: off / (2 - off)."""
    return off / (2 - off)


def rank_correlation(a: Float[Tensor, "n_layers d_mlp"], b: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Spearman's rank correlation over all neurons."""
    return float(stats.spearmanr(a.flatten(), b.flatten()).statistic)


def correlation(a: Float[Tensor, "n_layers d_mlp"], b: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Pearson's correlation over all neurons; NaN if one of them does not vary."""
    x, y = a.flatten().double(), b.flatten().double()
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def first_draw(gates: Gates) -> Float[Tensor, "n_layers d_mlp"]:
    """The logits that training started from, drawn again by the gates' own recipe. ZkitError for gates without one."""
    made = gates.note.get("recipe")
    if not made:
        raise ZkitError("these gates do not record the recipe they were trained by, so their first draw is not known")
    return initial_logits(gates.n_layers, gates.d_mlp, made["init_std"], made["seed"]) + made["init_mean"]


def noise_std(init_std: float) -> float:
    """The spread of lambda that the first draw alone gives: init_std times sigmoid'(0) = 1/4, to first order."""
    return init_std / 4


def learned_share(gates: Gates, initial: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Share of the logits' variance that the first draw does not explain: 1 - correlation^2."""
    return 1 - correlation(gates.logits, initial) ** 2


def expected_correlation(gate_std: float, init_std: float) -> float:
    """Correlation with the first draw if what is learned is independent of it: initial over final spread of logits.

    The logits' spread is read off the gates' as ``gate_std`` times 4, to first order.
    """
    return min(1.0, noise_std(init_std) / gate_std) if gate_std else math.nan


def agreement(runs: Sequence[Gates], offs: Sequence[float]) -> pd.DataFrame:
    """Every pair of runs: the overlap of their off sets at each share, with chance, and their rank correlation.

    Raises ZkitError for fewer than two runs or runs of different shapes.
    """
    if len(runs) < 2 or len({g.logits.shape for g in runs}) != 1:
        raise ZkitError("agreement compares at least two gates of one shape")
    rows = []
    for (i, a), (j, b) in combinations(enumerate(runs), 2):
        ranks = rank_correlation(a.logits, b.logits)
        for off in offs:
            same = jaccard(a.off(a.threshold(off)), b.off(b.threshold(off)))
            rows.append(
                {"a": i, "b": j, "off": off, "jaccard": same, "chance": chance_jaccard(off), "rank correlation": ranks}
            )
    return pd.DataFrame(rows)
