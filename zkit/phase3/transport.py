"""Which token of one prompt corresponds to which of another: optimal transport between the two clouds of states.

Source: the Phase 3 specification, A.6; solved exactly by POT (Flamary et al. 2021).
"""

from __future__ import annotations

import ot
import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError


def plan(source: Float[Tensor, "s d"], target: Float[Tensor, "t d"]) -> Float[Tensor, "s t"]:
    """pi* = argmin <pi, C> with C_st = |source_s - target_t|^2, under uniform marginals 1/s and 1/t; float64.

    Raises ZkitError for clouds of different widths or of fewer than two tokens, and for states that are not finite.
    """
    if source.dim() != 2 or target.dim() != 2 or source.shape[1] != target.shape[1]:
        raise ZkitError(
            f"transport takes states [tokens, d] of one d, got {tuple(source.shape)}, {tuple(target.shape)}"
        )
    if min(len(source), len(target)) < 2:
        raise ZkitError(
            f"{len(source)} tokens against {len(target)}: a plan for a single token is no alignment; use longer prompts"
        )
    cost = torch.cdist(source.double(), target.double()).square()
    if not bool(cost.isfinite().all()):
        raise ZkitError("states that are to be transported are not finite; look for NaN in what they were made from")
    scale = float(cost.max())
    found = ot.emd([], [], (cost / scale if scale > 0 else cost).cpu().numpy())
    return torch.from_numpy(found)


def barycentric(source: Float[Tensor, "s d"], target: Float[Tensor, "t d"]) -> Float[Tensor, "t d"]:
    """For each target token the mean of the source tokens that the plan maps to it: sum_s (pi*_st / b_t) source_s.

    Raises ZkitError for clouds of different widths or of fewer than two tokens, and for states that are not finite.
    """
    coupling = plan(source, target).to(source)
    return coupling.T @ source / coupling.sum(0).unsqueeze(1)
