"""Experiment D: whether a linear map takes the states of a problem in one language to those in the other.

Source: the Phase 3 specification, D. It reports R^2 on the problems that the map was fitted to, which is 1 even for
noise if there are at least as many directions as problems. So the measure here is Q^2, on problems left out.

States may have leading dimensions (subspaces, or random pairings). What depends on x alone is then computed once, and
the rest in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zkit.errors import ZkitError
from zkit.stats import permutation_p

Fit = Callable[..., Tensor]
Centre = Literal["own", "common", "none"]
"""What is subtracted from states: each language's mean, the mean of both (the map then has to represent the difference
between languages), or nothing. Means are over the problems that a map is fitted to."""
PENALTIES = tuple(10.0**e for e in range(-4, 5))  # of ridge, in units of the mean squared norm of the states
INNER = 5  # folds of the problems that a map is fitted to, for the choice of a penalty
_AT_A_TIME = 100_000  # most entries of all maps in one batch of pairings


def linear(x: Float[Tensor, "*batch N k"], y: Float[Tensor, "*batch N m"]) -> Float[Tensor, "*batch k m"]:
    """W = argmin |y - x W|_F, of least norm if it is not unique (for N < k the normal equations are singular)."""
    return torch.linalg.pinv(x) @ y


def normal_equations(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"]) -> Float[Tensor, "k m"]:
    """W = (x^T x)^-1 x^T y, as specified. Raises ZkitError where x^T x is singular: always for N < k."""
    gram = x.T @ x
    rank = int(torch.linalg.matrix_rank(x))
    if rank < x.shape[1]:
        raise ZkitError(
            f"x^T x is singular: {x.shape[0]} problems span {rank} of {x.shape[1]} directions; take fewer directions, "
            "or zkbook.experiments.bridge.linear or ridge"
        )
    return torch.linalg.solve(gram, x.T @ y)


def ridge(penalty: float) -> Fit:
    """The fit W = argmin |y - x W|^2 + penalty * s |W|^2, with s the mean squared norm of the rows of x.

    Raises ZkitError for a penalty that is not positive.
    """
    if not penalty > 0:
        raise ZkitError(f"a penalty is positive, got {penalty}; without one, use zkbook.experiments.bridge.linear")

    def fit(x: Tensor, y: Tensor) -> Tensor:
        right, inner = _ridges(x, y, (penalty,))
        return right @ inner[0]

    return fit


def nested_ridge(
    x: Float[Tensor, "*batch N k"], y: Float[Tensor, "*batch N m"], groups: Sequence[Hashable] | None = None
) -> Float[Tensor, "*batch k m"]:
    """Ridge with a penalty chosen by cross-validation in five folds of the given problems only.

    groups: the name of each problem's group, which stays in one fold (None: each problem is a group). Raises ZkitError
    for fewer than two groups.
    """
    names = list(range(x.shape[-2])) if groups is None else list(groups)
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    if len(names) != x.shape[-2] or len(order) < 2:
        raise ZkitError(
            f"{x.shape[-2]} problems named by {len(names)} in {len(order)} groups: a penalty is chosen over two or more"
        )
    missed: list[Tensor] = []  # by fold [n_penalties, *batch]
    for held, rest in folds([order[name] % INNER for name in names]):
        right, inner = _ridges(x[..., rest, :], y[..., rest, :], PENALTIES)
        missed.append(_missed(x[..., held, :] @ right, inner, y[..., held, :]))
    best = torch.stack(missed).sum(0).argmin(0)  # [*batch]
    right, inner = _ridges(x, y, PENALTIES)
    return right @ inner.gather(0, best[None, ..., None, None].expand(1, *inner.shape[1:]))[0]


def _ridges(
    x: Tensor, y: Tensor, penalties: Sequence[float]
) -> tuple[Float[Tensor, "*batch k r"], Float[Tensor, "n_penalties *batch r m"]]:
    """W for each penalty as a product of two factors, of which only the second depends on the penalty and on y."""
    x = x[(None,) * (y.dim() - x.dim())]
    values, vectors = torch.linalg.eigh(x.mT @ x)
    size = x.square().sum((-2, -1)) / x.shape[-2]  # [*batch]
    weights = torch.tensor(penalties, dtype=x.dtype).view(-1, *[1] * size.dim()) * size
    shrunk = 1 / (values.clamp(min=0) + weights.unsqueeze(-1))
    return vectors, shrunk.unsqueeze(-1) * (vectors.mT @ (x.mT @ y))


def _missed(x: Tensor, w: Tensor, y: Tensor) -> Tensor:
    """|y - x W|^2 for many W, [n_penalties, *batch]; for N >= k from products of x and y of the size of W."""
    if x.shape[-2] < x.shape[-1]:
        return (y - x @ w).square().sum((-2, -1))
    explained = w * (2 * (x.mT @ y) - (x.mT @ x) @ w)
    return y.square().sum((-2, -1)) - explained.sum((-2, -1))


def rotation(x: Float[Tensor, "*batch N k"], y: Float[Tensor, "*batch N k"]) -> Float[Tensor, "*batch k k"]:
    """The orthogonal W that minimises |y - x W|, as scipy.linalg.orthogonal_procrustes does for a single pair x, y.

    Source: Schoenemann 1966. Raises ZkitError for fewer problems than directions, which do not determine a rotation.
    """
    if x.shape[-2] < x.shape[-1]:
        raise ZkitError(
            f"{x.shape[-2]} problems do not determine a rotation of {x.shape[-1]} directions; take fewer directions"
        )
    u, _, vt = torch.linalg.svd(x.mT @ y)
    return u @ vt


def identity(x: Float[Tensor, "*batch N k"], y: Float[Tensor, "*batch N k"]) -> Float[Tensor, "k k"]:
    """W = I: predict the states of the other language by those of the first."""
    return torch.eye(x.shape[-1], dtype=x.dtype)


def nothing(x: Float[Tensor, "*batch N k"], y: Float[Tensor, "*batch N m"]) -> Float[Tensor, "k m"]:
    """W = 0: predict the mean of the other language, if each language is centred by its own mean; Q^2 is then 0."""
    return x.new_zeros(x.shape[-1], y.shape[-1])


def r2(x: Float[Tensor, "N k"], y: Float[Tensor, "N m"], fit: Fit, *, centre: Centre = "own") -> float:
    """1 - |y - x W|^2 / |y - mean y|^2 on the problems that W is fitted to; the specification has centre="none".

    Raises ZkitError for fewer than three problems, states that are not finite, and dimensions that do not vary.
    """
    _check(x, y, range(x.shape[-2]))
    shift, onto = means(x, y, centre)
    residual = (y - onto) - (x - shift) @ fit(x - shift, y - onto)
    return 1 - float(residual.square().sum() / (y - y.mean(0)).square().sum())


def left_out(
    x: Float[Tensor, "*batch N k"],
    y: Float[Tensor, "*batch N m"],
    fit: Fit,
    groups: Sequence[Hashable],
    *,
    centre: Centre = "own",
) -> tuple[Float[Tensor, "*batch n_groups"], Float[Tensor, "*batch n_groups"]]:
    """For each group |y - predicted|^2 and |y - mean of the others|^2, predicted by a map fitted to the other groups.

    x, y: states of the same problems. fit: such as :func:`linear`. groups: each problem's group, which is left out as a
    whole: problems of the same answer, or single problems. centre: see :data:`Centre`. Raises ZkitError for fewer than
    three problems or two groups, states that are not finite, and dimensions that do not vary over the problems.
    """
    _check(x, y, groups)
    missed, spread = [], []
    for held, rest in folds(groups):
        shift, onto = means(x[..., rest, :], y[..., rest, :], centre)
        given = x[..., rest, :] - shift, y[..., rest, :] - onto
        w = fit(*given, [groups[i] for i in rest]) if fit is nested_ridge else fit(*given)
        said = onto + (x[..., held, :] - shift) @ w
        missed.append((y[..., held, :] - said).square().sum((-2, -1)))
        usual = y[..., rest, :].mean(-2, keepdim=True)
        spread.append((y[..., held, :] - usual).square().sum((-2, -1)))
    return torch.stack(missed, -1), torch.stack(spread, -1)


def q2(
    x: Float[Tensor, "N k"],
    y: Float[Tensor, "N m"],
    fit: Fit,
    groups: Sequence[Hashable],
    *,
    centre: Centre = "own",
) -> float:
    """1 - |y - predicted|^2 / |y - mean of the others|^2, with both sums over all groups.

    It is below 0 if the map predicts worse than the mean. x, y, fit, groups, centre: see :func:`left_out`. Raises
    ZkitError for fewer than three problems or two groups, states that are not finite, and dimensions that do not vary.
    """
    missed, spread = left_out(x, y, fit, groups, centre=centre)
    return 1 - float(missed.sum() / spread.sum())


def orthogonality_error(w: Float[Tensor, "k k"]) -> float:
    """|W^T W - I|_F / k, as specified: 0 for a rotation, 1 / sqrt(k) for W = 0."""
    return float((w.T @ w - torch.eye(w.shape[1], dtype=w.dtype)).norm() / w.shape[1])


def within_span(*states: Float[Tensor, "_ d"]) -> list[Float[Tensor, "_ r"]]:
    """Coordinates of all the given states in a basis of their common span, of at most as many dimensions as rows.

    Norms and inner products are unchanged, so that a map of r x r can be fitted in place of one of d x d.
    """
    every = torch.cat(states)
    u, sigma, _ = torch.linalg.svd(every, full_matrices=False)
    kept = sigma > max(every.shape) * torch.finfo(every.dtype).eps * sigma.max()
    return list((u[:, kept] * sigma[kept]).split([len(rows) for rows in states]))


@dataclass(frozen=True)
class Bridge:
    """Q^2 of a map; null, its values for random pairings; and p, the share of these that are at least as large."""

    q2: float
    p: float
    null: list[float]


def bridge(
    x: Float[Tensor, "N k"],
    y: Float[Tensor, "N m"],
    fit: Fit,
    groups: Sequence[Hashable],
    *,
    centre: Centre = "own",
    draws: int = 999,
    seed: int = 0,
    within: Sequence[Hashable] | None = None,
) -> Bridge:
    """Q^2 and a permutation test: its p value among ``draws`` random pairings of x with y, drawn with ``seed``.

    x, y, fit, groups, centre: see :func:`left_out`. within: a name for each problem, such as its wording. Only problems
    of the same name are permuted, so that p says whether the map knows more than the name. Raises ZkitError for fewer
    than three problems or two groups, states that are not finite, and dimensions that do not vary over the problems.
    """
    found = q2(x, y, fit, groups, centre=centre)
    null = []
    for order in pairings(len(y), draws, seed, within).split(max(1, _AT_A_TIME // (x.shape[-1] * y.shape[-1]))):
        missed, spread = left_out(x, y[order], fit, groups, centre=centre)
        null += (1 - missed.sum(-1) / spread.sum(-1)).tolist()
    return Bridge(found, permutation_p(found, null), null)


def pairings(n: int, draws: int, seed: int = 0, within: Sequence[Hashable] | None = None) -> Int[Tensor, "draws n"]:
    """Random permutations of n problems; with ``within``, a name for each, only problems of one name change places."""
    order = {name: i for i, name in enumerate(dict.fromkeys(within or []))}
    code = torch.tensor([order[name] for name in within] if within else [0] * n, dtype=torch.float64)
    if len(code) != n:
        raise ZkitError(f"{len(code)} names for {n} problems; give each problem the name of what it is permuted within")
    drawn = torch.rand(draws, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = torch.empty(draws, n, dtype=torch.long)
    found[:, code.argsort(stable=True)] = (code + drawn).argsort(1)
    return found


def folds(groups: Sequence[Hashable]) -> list[tuple[list[int], list[int]]]:
    """For each group the indices inside and outside of it."""
    names = list(dict.fromkeys(groups))
    return [
        ([i for i, g in enumerate(groups) if g == name], [i for i, g in enumerate(groups) if g != name])
        for name in names
    ]


def means(x: Tensor, y: Tensor, centre: Centre) -> tuple[Float[Tensor, "*batch 1 k"], Float[Tensor, "*batch 1 m"]]:
    """What ``centre`` subtracts from x and y. ZkitError for an unknown one, or "common" with different dimensions."""
    of_x, of_y = x.mean(-2, keepdim=True), y.mean(-2, keepdim=True)
    if centre == "own":
        return of_x, of_y
    if centre == "none":
        return torch.zeros_like(of_x), torch.zeros_like(of_y)
    if centre != "common" or x.shape[-1] != y.shape[-1]:
        raise ZkitError(
            f"centre={centre!r} of {x.shape[-1]} and {y.shape[-1]} dimensions; choose 'own', 'none', or, for as many "
            "dimensions on either side, 'common'"
        )
    return (of_x + of_y) / 2, (of_x + of_y) / 2


def _check(x: Tensor, y: Tensor, groups: Sequence[Hashable]) -> None:
    n = len(groups)
    if x.dim() < 2 or y.dim() < 2 or not x.shape[-2] == y.shape[-2] == n:
        raise ZkitError(f"row i of x, of y and of the groups is problem i: got {tuple(x.shape)}, {tuple(y.shape)}, {n}")
    if n < 3 or len(set(groups)) < 2:
        raise ZkitError(f"{n} problems in {len(set(groups))} groups: leaving out needs three problems and two groups")
    for name, states in (("x", x), ("y", y)):
        if not bool(states.isfinite().all()):
            raise ZkitError(f"{name} holds NaN or infinity; look at what it was recorded from")
        extent = (
            (states - states.mean(-2, keepdim=True)).abs().amax(-2).reshape(-1, states.shape[-1])
        )  # one row for each batch
        still = int((extent <= torch.finfo(states.dtype).eps * states.abs().amax()).any(0).sum())
        if still:
            raise ZkitError(
                f"{still} of {extent.shape[-1]} dimensions of {name} are the same in all {n} problems; leave them out, "
                "or take coordinates by zkbook.experiments.bridge.within_span"
            )
