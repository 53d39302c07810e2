"""Whether two trainings find the same neurons: overlaps and correlations, compared with chance and initial logits."""

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
    """Number of neurons in both sets over number of neurons in either. Raises ZkitError if both are empty."""
    either = int((a | b).sum())
    if not either:
        raise ZkitError("two empty sets of neurons have no overlap to speak of; raise the threshold")
    return int((a & b).sum()) / either


def chance_jaccard(off: float) -> float:
    """Expected Jaccard overlap of two independent sets of a share ``off`` of many neurons: off / (2 - off)."""
    return off / (2 - off)


def rank_correlation(a: Float[Tensor, "n_layers d_mlp"], b: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Spearman's rank correlation over all neurons."""
    return float(stats.spearmanr(a.flatten(), b.flatten()).statistic)


def correlation(a: Float[Tensor, "n_layers d_mlp"], b: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Pearson's correlation over all neurons; NaN if one of them does not vary."""
    x, y = a.flatten().double(), b.flatten().double()
    return float(torch.corrcoef(torch.stack([x, y]))[0, 1])


def first_draw(gates: Gates) -> Float[Tensor, "n_layers d_mlp"]:
    """The logits that training started from, drawn again by the recipe in the gates' note. ZkitError without one."""
    made = gates.note.get("recipe")
    if not made:
        raise ZkitError("these gates do not record the recipe they were trained by, so their first draw is not known")
    return initial_logits(gates.n_layers, gates.d_mlp, made["init_std"], made["seed"]) + made["init_mean"]


def noise_std(init_std: float) -> float:
    """Standard deviation of lambda under the initial logits: init_std times sigmoid'(0) = 1/4, to first order."""
    return init_std / 4


def learned_share(gates: Gates, initial: Float[Tensor, "n_layers d_mlp"]) -> float:
    """Share of the logits' variance that the initial logits do not explain: 1 - correlation^2."""
    return 1 - correlation(gates.logits, initial) ** 2


def expected_correlation(gate_std: float, init_std: float) -> float:
    """Correlation of final with initial logits if the learned change is independent of the initial logits.

    It is the ratio of the initial to the final standard deviation of the logits. The latter is taken as 4 times
    ``gate_std``, the standard deviation of lambda, to first order.
    """
    return min(1.0, noise_std(init_std) / gate_std) if gate_std else math.nan


def agreement(runs: Sequence[Gates], offs: Sequence[float]) -> pd.DataFrame:
    """For every pair of runs the overlap of the neurons that are off at each share, that expected by chance, and the
    rank correlation of the logits.

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
