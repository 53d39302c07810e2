"""Experiment D: does a linear map lead from the states of a problem in one language to those in the other?

Source: the Phase 3 specification, D. Its figure is R^2 on the problems that the map was fitted to, which is 1 for pure
noise as soon as there are as many directions as problems. What counts is Q^2, on problems left out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.linalg import orthogonal_procrustes
from torch import Tensor

from zkit.errors import ZkitError
from zkit.stats import permutation_p

Fit = Callable[[Tensor, Tensor], Tensor]
PENALTIES = tuple(10.0**e for e in range(-4, 5))  # of ridge, times the mean squared length of the states


def linear(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"]) -> Float[Tensor, "k m"]:
    """W = argmin |y - x W|_F, the shortest where there are several (N < k, where the normal equations are singular)."""
    return torch.linalg.pinv(x) @ y


def normal_equations(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"]) -> Float[Tensor, "k m"]:
    """W = (x^T x)^-1 x^T y, as specified. Raises ZkitError where x^T x is singular: always for N < k."""
    gram = x.T @ x
    rank = int(torch.linalg.matrix_rank(x))
    if rank < x.shape[1]:
        raise ZkitError(
            f"x^T x is singular: {x.shape[0]} problems span {rank} of {x.shape[1]} directions; take fewer directions, "
            "or zkit.phase3.bridge.linear or ridge"
        )
    return torch.linalg.solve(gram, x.T @ y)


def ridge(penalty: float) -> Fit:
    """W = argmin |y - x W|^2 + penalty * s |W|^2, with s the mean squared length of the rows of x."""
    if not penalty > 0:
        raise ZkitError(f"a penalty is positive, got {penalty}; without one, use zkit.phase3.bridge.linear")

    def fit(x: Tensor, y: Tensor) -> Tensor:
        return _ridges(x, y, (penalty,))[0]

    return fit


def nested_ridge(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"]) -> Float[Tensor, "k m"]:
    """Ridge whose penalty is chosen by five folds of the problems it is given, so that none left out is seen."""
    missed = sum(
        (y[held] - x[held] @ _ridges(x[rest], y[rest], PENALTIES)).square().sum((1, 2))
        for held, rest in folds([i % 5 for i in range(len(x))])
    )
    return ridge(PENALTIES[int(torch.as_tensor(missed).argmin())])(x, y)


def _ridges(x: Tensor, y: Tensor, penalties: Sequence[float]) -> Float[Tensor, "n_penalties k m"]:
    u, sigma, vt = torch.linalg.svd(x, full_matrices=False)
    weights = torch.tensor(penalties, dtype=x.dtype).unsqueeze(1) * x.square().sum(1).mean()
    return vt.T @ ((sigma / (sigma.square() + weights)).unsqueeze(2) * (u.T @ y))


def rotation(x: Float[Tensor, "N k"], y: Float[Tensor, "N k"]) -> Float[Tensor, "k k"]:
    """The orthogonal W nearest to y = x W (Schoenemann 1966), by scipy."""
    found, _ = orthogonal_procrustes(x.double().numpy(), y.double().numpy())
    return torch.from_numpy(found).to(x)


def identity(x: Float[Tensor, "N k"], y: Float[Tensor, "N k"]) -> Float[Tensor, "k k"]:
    """W = I: the states of one language as they are."""
    return torch.eye(x.shape[1], dtype=x.dtype)


def nothing(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"]) -> Float[Tensor, "k m"]:
    """W = 0: the mean of the other language, where states are centred; its Q^2 is 0."""
    return x.new_zeros(x.shape[1], y.shape[1])


def r2(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"], fit: Fit, *, centred: bool = True) -> float:
    """1 - |y - x W|^2 / |y - mean y|^2 on the problems that W is fitted to, as specified (there, not centred)."""
    _check(x, y, range(len(x)))
    shift, onto = _means(x, y, centred)
    residual = (y - onto) - (x - shift) @ fit(x - shift, y - onto)
    return 1 - float(residual.square().sum() / (y - y.mean(0)).square().sum())


def q2(
    x: Float[Tensor, "N k"],
    y: Float[Tensor, "N m"],
    fit: Fit,
    groups: Sequence[Hashable],
    *,
    centred: bool = True,
) -> float:
    """1 - |y - predicted|^2 / |y - mean of the others|^2, each group predicted from a map fitted to the others.

    ``groups`` names what is left out together: problems of one answer, or each for itself. Means are those of the
    problems fitted to. Below zero where the map does worse than the mean. Raises ZkitError for fewer than three
    problems or two groups, and states that do not vary.
    """
    _check(x, y, groups)
    missed = spread = 0.0
    for held, rest in folds(groups):
        shift, onto = _means(x[rest], y[rest], centred)
        said = onto + (x[held] - shift) @ fit(x[rest] - shift, y[rest] - onto)
        missed += float((y[held] - said).square().sum())
        spread += float((y[held] - y[rest].mean(0)).square().sum())
    return 1 - missed / spread


def orthogonality_error(w: Float[Tensor, "k k"]) -> float:
    """|W^T W - I|_F / k, as specified: 0 for a rotation, 1 / sqrt(k) for W = 0."""
    return float((w.T @ w - torch.eye(w.shape[1], dtype=w.dtype)).norm() / w.shape[1])


@dataclass(frozen=True)
class Bridge:
    """Q^2 of a map, and p: the share of pairings drawn anew with one as large."""

    q2: float
    p: float
    null: list[float]


def bridge(
    x: Float[Tensor, "N k"],
    y: Float[Tensor, "N m"],
    fit: Fit,
    groups: Sequence[Hashable],
    *,
    centred: bool = True,
    draws: int = 999,
    seed: int = 0,
) -> Bridge:
    """Q^2 and its place among those of ``draws`` permutations of which y goes with which x."""
    made = torch.Generator().manual_seed(seed)
    found = q2(x, y, fit, groups, centred=centred)
    null = [q2(x, y[torch.randperm(len(y), generator=made)], fit, groups, centred=centred) for _ in range(draws)]
    return Bridge(found, permutation_p(found, null), null)


def folds(groups: Sequence[Hashable]) -> list[tuple[list[int], list[int]]]:
    """For each group the indices inside and outside of it."""
    names = list(dict.fromkeys(groups))
    return [
        ([i for i, g in enumerate(groups) if g == name], [i for i, g in enumerate(groups) if g != name])
        for name in names
    ]


def _means(x: Tensor, y: Tensor, centred: bool) -> tuple[Tensor, Tensor]:
    return (x.mean(0), y.mean(0)) if centred else (x.new_zeros(x.shape[1]), y.new_zeros(y.shape[1]))


def _check(x: Tensor, y: Tensor, groups: Sequence[Hashable]) -> None:
    if x.dim() != 2 or y.dim() != 2 or not len(x) == len(y) == len(groups):
        raise ZkitError(
            f"row i of x, of y and of the groups is problem i: got {tuple(x.shape)}, {tuple(y.shape)}, {len(groups)}"
        )
    if len(x) < 3 or len(set(groups)) < 2:
        raise ZkitError(
            f"{len(x)} problems in {len(set(groups))} groups: leaving out needs three problems and two groups"
        )
    for name, states in (("x", x), ("y", y)):
        if not bool(states.isfinite().all()):
            raise ZkitError(f"{name} holds NaN or infinity; look at what it was recorded from")
        if float((states - states.mean(0)).abs().max()) == 0:
            raise ZkitError(f"all rows of {name} are one and the same, so there is nothing to explain")
