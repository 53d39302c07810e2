"""Subspaces of the residual stream, stored as orthonormal bases [k, d], never as projectors of d x d entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError


class Projector(Protocol):
    """A linear projection onto a subspace, orthogonal or oblique."""

    def project(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]: ...


@dataclass(frozen=True, eq=False)
class Subspace:
    """The span of the k orthonormal rows of ``basis`` [k, d]; P = basis^T basis, P_perp = I - P."""

    basis: Float[Tensor, "k d"]

    @property
    def k(self) -> int:
        return self.basis.shape[0]

    @property
    def d(self) -> int:
        return self.basis.shape[1]

    def project(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """P x, in the dtype and on the device of ``x``; costs 2 k d multiplications per vector."""
        basis = self.basis.to(x.device, x.dtype)
        return (x @ basis.T) @ basis

    def reject(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """P_perp x = x - P x."""
        return x - self.project(x)

    def coordinates(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch k"]:
        return x @ self.basis.to(x.device, x.dtype).T

    def complement(self) -> Complement:
        """The orthogonal complement, of dimension d - k; it needs no memory of its own."""
        return Complement(self)

    def overlap(self, other: Subspace | Complement) -> Float[Tensor, " n"]:
        """Cosines of the min(k, other.k) principal angles between the two, the largest first (Bjorck and Golub 1973).

        A cosine is 1 for a direction in both spaces, and 0 for one that is orthogonal to the whole other space.
        Computed in float64. Raises ZkitError for spaces of different d.
        """
        _check_same_width(self, other)
        mine = self.basis.double()
        shared = mine @ other.basis.double().T if isinstance(other, Subspace) else other.project(mine)
        return torch.linalg.svdvals(shared)[: min(self.k, other.k)].clamp(max=1.0)


@dataclass(frozen=True, eq=False)
class Complement:
    """The orthogonal complement of the subspace ``of``: the same projectors, exchanged. Made by ``complement()``."""

    of: Subspace

    @property
    def k(self) -> int:
        return self.of.d - self.of.k

    @property
    def d(self) -> int:
        return self.of.d

    def project(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.of.reject(x)

    def reject(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return self.of.project(x)

    def complement(self) -> Subspace:
        return self.of

    def overlap(self, other: Subspace | Complement) -> Float[Tensor, " n"]:
        """See :meth:`Subspace.overlap`. The angles of two complements are those of the spaces that they leave out; all
        further angles are zero.
        """
        if isinstance(other, Subspace):
            return other.overlap(self)
        between, n = self.of.overlap(other.of), min(self.k, other.k)
        return torch.cat((between.new_ones(max(0, n - len(between))), between))[max(0, len(between) - n) :]


def _check_same_width(one: Subspace, other: Subspace | Complement) -> None:
    if one.d != other.d:
        raise ZkitError(
            f"subspaces of {one.d} and of {other.d} dimensions have no overlap; take both from one model and site"
        )


def spanned_by(vectors: Float[Tensor, "n d"], rtol: float | None = None) -> Subspace:
    """The span of the rows, by SVD, without directions of singular values below ``rtol`` times the largest.

    Default ``rtol``: max(n, d) times the machine epsilon. Raises ZkitError if nothing is left or a value is not finite.
    """
    vectors = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    if vectors.dim() != 2 or not bool(torch.isfinite(vectors).all()):
        raise ZkitError(f"a subspace needs finite vectors of shape [n, d], got shape {tuple(vectors.shape)}")
    _, sigma, right = torch.linalg.svd(vectors, full_matrices=False)
    rtol = max(vectors.shape) * torch.finfo(vectors.dtype).eps if rtol is None else rtol
    kept = right[(sigma > rtol * sigma.max()) & (sigma > 0)] if sigma.numel() else right
    if kept.shape[0] == 0:
        raise ZkitError("the vectors span nothing: they are all zero")
    return Subspace(kept)


def principal(states: Float[Tensor, "n d"], k: int) -> Subspace:
    """The k leading principal directions of the centred rows. Raises ZkitError unless 1 <= k <= their rank."""
    space = spanned_by(states - states.mean(0))
    if not 1 <= k <= space.k:
        raise ZkitError(f"k = {k} principal directions asked of {space.k}; choose 1 <= k <= {space.k}")
    return Subspace(space.basis[:k])


def low_variance(states: Float[Tensor, "n d"], k: int) -> Subspace:
    """The k directions along which the centred rows vary least, including those of no variation.

    Raises ZkitError unless 1 <= k <= d.
    """
    if states.dim() != 2 or not 1 <= k <= states.shape[1]:
        raise ZkitError(f"no {k} directions of states of shape {tuple(states.shape)}; choose 1 <= k <= their width")
    centred = (states - states.mean(0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)  # ascending
    return Subspace(vectors[:, :k].T.contiguous().to(torch.promote_types(states.dtype, torch.float32)))


def coordinate_subspace(index: Sequence[int], d: int) -> Subspace:
    """The span of some of the d coordinate axes. Raises ZkitError for no index, one given twice or one out of range."""
    chosen = list(index)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= j < d for j in chosen):
        raise ZkitError(f"coordinates are different integers from 0 to {d - 1}, at least one; got {chosen[:5]}")
    return Subspace(torch.eye(d)[chosen])


def random_subspace(k: int, d: int, generator: torch.Generator) -> Subspace:
    """A uniformly random k-dimensional subspace of R^d (QR of a Gaussian). Raises ZkitError unless 1 <= k <= d."""
    if not 1 <= k <= d:
        raise ZkitError(f"no {k}-dimensional subspace of {d} dimensions; choose 1 <= k <= {d}")
    return Subspace(torch.linalg.qr(torch.randn(d, k, generator=generator, dtype=torch.float64))[0].T.float())
