"""Z from attention weights: the directions that the query-key kernels of a layer read.

Source: the Phase 3 specification (its `build_multi_head_z_mask`). For query head h with weights W_Q,h and the key head
W_K that it shares, the kernel is K_h = W_Q,h^T W_K. The k leading right singular vectors of each K_h are stacked, and
the k leading right singular vectors of the stack span Z. K_h has d x d entries but rank d_head, so it is not computed.
With W_Q^T = Q_q R_q, and W_K = C B^T in an orthonormal basis B of the keys of all heads, its singular values, and its
right singular vectors in coordinates of B, are those of the small matrix R_q C. The stack is as small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.subspaces import Subspace

PUBLISHED_RANK = 80.4
"""Published mean effective rank of the heads at layer 33 of Qwen2.5-3B, of which k is chosen as a share."""
Side = Literal["key", "query"]


@dataclass(frozen=True, eq=False)
class Attention:
    """Query and key weights of one layer by head, in float32, with biases by head or None.

    gamma: the scale of the norm before the attention, or None.
    """

    q: Float[Tensor, "heads d_head d"]
    k: Float[Tensor, "kv_heads d_head d"]
    q_bias: Float[Tensor, "heads d_head"] | None = None
    k_bias: Float[Tensor, "kv_heads d_head"] | None = None
    gamma: Float[Tensor, " d"] | None = None

    @property
    def d(self) -> int:
        return self.q.shape[-1]

    def with_gamma(self) -> Attention:
        """The weights that act on a state before the norm's scale: W diag(gamma). Raises ZkitError without a norm."""
        if self.gamma is None:
            raise ZkitError("this layer has no norm before its attention whose scale could be folded in")
        return Attention(self.q * self.gamma, self.k * self.gamma, self.q_bias, self.k_bias, None)

    def with_biases(self) -> Attention:
        """The weights that act on a state with a 1 appended, [x; 1]: the biases are their last column.

        The kernel of (W_Q x + b_Q)^T (W_K y + b_K) is then one matrix of d + 1 rows. Raises ZkitError without biases.
        """
        if self.q_bias is None or self.k_bias is None:
            raise ZkitError("this model's queries and keys have no biases; leave the arm `bias` out")
        wide = [torch.cat((w, b.unsqueeze(-1)), -1) for w, b in ((self.q, self.q_bias), (self.k, self.k_bias))]
        return Attention(wide[0], wide[1])


def kernel(
    q: Float[Tensor, "d_head d"], k: Float[Tensor, "d_head d"]
) -> tuple[Float[Tensor, "d d_head"], Float[Tensor, " d_head"], Float[Tensor, "d_head d"]]:
    """Thin SVD of q^T k: left vectors as columns, singular values in descending order, right vectors as rows."""
    q_basis, q_small = torch.linalg.qr(q.T)
    k_basis, k_small = torch.linalg.qr(k.T)
    left, sigma, right = torch.linalg.svd(q_small @ k_small.T, full_matrices=False)
    return q_basis @ left, sigma, right @ k_basis.T


def spectra(attention: Attention) -> Float[Tensor, "heads d_head"]:
    """The singular values of the kernel of every query head."""
    share = attention.q.shape[0] // attention.k.shape[0]
    small = torch.linalg.qr(attention.k.mT, mode="r")[1]
    return torch.linalg.svdvals(torch.linalg.qr(attention.q.mT, mode="r")[1] @ small.mT.repeat_interleave(share, 0))


def stacked(attention: Attention, k: int, *, weighted: bool = False, side: Side = "key") -> Float[Tensor, "rows d"]:
    """The k leading right (``side="key"``) or left singular vectors of each head's kernel, stacked as rows.

    weighted: whether each is multiplied by its singular value. Raises ZkitError unless 1 <= k <= the rank of every
    kernel.
    """
    rows, basis = _stacked(attention, k, weighted, side)
    return rows @ basis.T


def _stacked(
    attention: Attention, k: int, weighted: bool, side: Side
) -> tuple[Float[Tensor, "rows m"], Float[Tensor, "d m"]]:
    """:func:`stacked` in coordinates of an orthonormal basis of the span of all keys (or queries), and this basis.

    All singular vectors of a side lie in the span of its m rows, so the second SVD is small in these coordinates.
    """
    if k < 1:
        raise ZkitError(f"k = {k} directions; choose at least one")
    share = attention.q.shape[0] // attention.k.shape[0]
    keys = attention.k.repeat_interleave(share, 0)
    mine, other = (keys, attention.q) if side == "key" else (attention.q, keys)
    once = attention.k if side == "key" else attention.q
    basis = torch.linalg.qr(once.flatten(0, 1).T)[0]
    small = torch.linalg.qr(other.mT, mode="r")[1] @ (mine @ basis)
    _, sigma, right = torch.linalg.svd(small, full_matrices=False)
    ranks = (sigma > attention.d * torch.finfo(sigma.dtype).eps * sigma[:, :1]).sum(1)
    if k > int(ranks.min()):
        head = int(ranks.argmin())
        raise ZkitError(f"k = {k}, but the kernel of head {head} has rank {int(ranks[head])}; choose a smaller k")
    rows = right[:, :k] * (sigma[:, :k, None] if weighted else 1.0)
    return rows.flatten(0, 1), basis


def z_space(
    attention: Attention,
    k: int,
    *,
    weighted: bool = False,
    side: Side = "key",
    kv_head: int | None = None,
    gamma: bool = False,
    bias: bool = False,
) -> Subspace:
    """Z: the span of the k leading right singular vectors of the stack of all heads. Without options, as published.

    weighted: multiply vectors by their singular values before stacking, as the specification's text says; its code does
    not. side: "key", or "query" for the directions that queries read. kv_head: use only the query heads of one key
    head. gamma: use the weights that act before the scale of the norm. bias: include the biases as a further
    coordinate, which is removed from the result.
    Raises ZkitError for a k larger than the rank of a head's kernel or of the stack, an unknown key head, and options
    that the layer has no weights for.
    """
    if kv_head is not None:
        if not 0 <= kv_head < attention.k.shape[0]:
            raise ZkitError(f"no key head {kv_head}; there are {attention.k.shape[0]}, counted from 0")
        share = attention.q.shape[0] // attention.k.shape[0]
        mine, one = slice(kv_head * share, (kv_head + 1) * share), slice(kv_head, kv_head + 1)
        attention = Attention(
            attention.q[mine],
            attention.k[one],
            None if attention.q_bias is None else attention.q_bias[mine],
            None if attention.k_bias is None else attention.k_bias[one],
            attention.gamma,
        )
    if gamma:
        attention = attention.with_gamma()
    width = attention.d
    if bias:
        attention = attention.with_biases()
    rows, reads = _stacked(attention, k, weighted, side)
    _, sigma, right = torch.linalg.svd(rows, full_matrices=False)
    rank = int((sigma > max(rows.shape) * torch.finfo(rows.dtype).eps * sigma[0]).sum())
    if k > rank:
        raise ZkitError(f"k = {k}, but the stack of all heads has rank {rank}; choose a smaller k")
    right = right[:k] @ reads.T
    if not bias:
        return Subspace(right)
    basis, scale, _ = torch.linalg.svd(right[:, :width].T, full_matrices=False)
    if float(scale[-1]) < 1e-6:
        raise ZkitError("one of the k directions is the bias alone, which is none of the residual stream; take k - 1")
    return Subspace(basis.T)


def stack_rank(attention: Attention, k: int) -> int:
    """The rank of the stack of which Z is computed: at most kv_heads * d_head, for any number of query heads."""
    return int(torch.linalg.matrix_rank(stacked(attention, k)))


def effective_rank(sigma: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """exp of the entropy of sigma / sum(sigma) (Roy and Vetterli 2007): n for equal values, 1 for a single one."""
    share = sigma / sigma.sum(-1, keepdim=True)
    return torch.special.entr(share).sum(-1).exp()


def gaussian_rank(d: int, d_head: int, draws: int, generator: torch.Generator) -> Float[Tensor, " draws"]:
    """Effective ranks of the kernels of random Gaussian weights of the same shape, which have no structure."""
    pairs = (torch.randn(2, d_head, d, generator=generator) for _ in range(draws))
    return torch.stack([effective_rank(kernel(q, k)[1]) for q, k in pairs])


def layer_similarity(one: Subspace, other: Subspace) -> float:
    """Mean squared cosine of the principal angles: 1 for the same subspace, about k / d for random ones."""
    return float(one.overlap(other).square().mean())


def ffn_avoidance(gate: Float[Tensor, "d_ffn d"], space: Subspace) -> float:
    """Share of the gate rows' squared norm in the subspace, divided by k / d: 1 is chance, less is avoidance."""
    return float(space.coordinates(gate).square().sum() / gate.square().sum()) / (space.k / space.d)


def phase_boundary(similarity: Sequence[float]) -> int:
    """The layer l with the largest drop of the similarity of neighbouring layers, sim(l - 1, l) - sim(l, l + 1).

    ``similarity[l]`` is that of layers l and l + 1. The published boundary of Qwen2.5-3B is layer 33. Raises ZkitError
    for fewer than three layers.
    """
    if len(similarity) < 2:
        raise ZkitError("a boundary needs the similarities of at least three layers")
    drops = [before - after for before, after in pairwise(similarity)]
    return 1 + max(range(len(drops)), key=drops.__getitem__)


def k_by_rule(rank: float, published: int, most: int) -> int:
    """The k that is the same share of ``rank`` as ``published`` is of PUBLISHED_RANK, at least 1, at most ``most``."""
    return max(1, min(most, round(published * rank / PUBLISHED_RANK)))
