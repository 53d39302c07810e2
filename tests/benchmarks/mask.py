"""Speed of Z from attention weights, at the shape of Qwen2.5-3B's attention with random weights."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.side_by_side import ratio
from zkit.phase3.z import Attention, spectra, z_space

LAYERS, D, HEADS, KEY_HEADS, D_HEAD, K = 36, 2048, 16, 2, 128, 50


def drawn(seed: int = 0, dtype: torch.dtype = torch.float32) -> Attention:
    made = torch.Generator().manual_seed(seed)
    q, k = (torch.randn(n, D_HEAD, D, generator=made, dtype=torch.float64).to(dtype) for n in (HEADS, KEY_HEADS))
    return Attention(q, k)


def long_way(attention: Attention) -> tuple[Tensor, float]:
    """The rows of Z as published, a full d x d SVD for each head, and the gap of the stack after the k-th value."""
    share = HEADS // KEY_HEADS
    rows = [torch.linalg.svd(q.T @ attention.k[h // share])[2][:K] for h, q in enumerate(attention.q)]
    _, sigma, right = torch.linalg.svd(torch.cat(rows), full_matrices=False)
    return right[:K], float((sigma[K - 1] - sigma[K]) / sigma[0])


def against_full_svd() -> dict[str, Any]:
    """One layer: seconds of a full SVD per head over those of the thin one, and how far apart the projectors are.

    The projectors are compared in float64. They agree as far as the gaps allow: rounding over the smallest gap between
    the k-th singular value and the next, as shares of the largest, of any head and of the stack.
    """
    attention, exact = drawn(), drawn(dtype=torch.float64)
    measured = ratio(lambda: long_way(attention), lambda: z_space(attention, K), pairs=1)
    slow, stack_gap = long_way(exact)
    fast = z_space(exact, K)
    sigma = spectra(exact)
    head_gap = float(((sigma[:, K - 1] - sigma[:, K]) / sigma[:, 0]).min())
    apart = float((slow - fast.project(slow)).norm())
    rounding = D * torch.finfo(torch.float64).eps
    if apart > 10 * rounding / min(head_gap, stack_gap):
        raise SystemExit(
            f"the thin and the full SVD give projectors {apart:.2g} apart; gaps {head_gap:.2g}, {stack_gap:.2g}"
        )
    return measured | {"target": 200.0, "apart": apart, "head_gap": head_gap, "stack_gap": stack_gap}


def all_layers() -> dict[str, Any]:
    """Seconds for Z of all layers, over 10."""
    weights = [drawn(seed) for seed in range(LAYERS)]
    z_space(weights[0], K)
    start = time.perf_counter()
    for attention in weights:
        z_space(attention, K)
    spent = time.perf_counter() - start
    return {"ratio": spent / 10, "target": 1.0, "at_most": True, "seconds": spent}
