"""Experiment C: which coordinates of the stream do two languages share, by the lengthscales of an ARD kernel?

Source: the Phase 3 specification, C.3 to C.5, whose objective is :func:`literal`. With every lengthscale endless all
tokens look alike and MMD^2 and penalty are zero; no MMD^2 is less but by the noise of its estimate, so that what keeps
a finite lengthscale fits noise. :func:`shared` asks the question so that it has an answer. The weights of the
coordinates are shares of one budget, so that none can grow or vanish for nothing; different problems have to stay
apart, so that seeing nothing does not pay; and an entropy term moves the weights from the uniform for a reason only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.kernels import Clouds, across, median_distance, mmd2_of_pairs, scaled
from zkit.subspaces import Subspace


@dataclass(frozen=True, eq=False)
class Descent:
    """What an optimiser passed through: at ``steps`` the parameter [n, d], the summed MMD^2 and the penalty [n]."""

    steps: list[int]
    log_lengthscale: Float[Tensor, "n d"]
    mmd2: Float[Tensor, " n"]
    penalty: Float[Tensor, " n"]

    @property
    def objective(self) -> Float[Tensor, " n"]:
        return self.mmd2 + self.penalty


def literal(
    zh: Clouds,
    en: Clouds,
    strength: float,
    start: Float[Tensor, " d"],
    steps: int = 500,
    lr: float = 0.01,
    every: int = 10,
) -> Descent:
    """min over l of sum_i MMD^2(zh_i, en_i; l) + strength * sum_j 1 / l_j, by Adam on log l, as specified.

    ``start`` is the first log l; the last step is always recorded. Raises ZkitError for clouds that are not pairs, a
    start of another width, and an objective that is not finite, naming the step.
    """
    if start.shape != zh.states.shape[-1:]:
        raise ZkitError(f"start has shape {tuple(start.shape)}, but the clouds have d = {zh.states.shape[-1]}")
    log_l = start.detach().clone().to(zh.states).requires_grad_()
    adam = torch.optim.Adam([log_l], lr=lr)
    seen: list[tuple[int, Tensor, float, float]] = []
    for step in range(steps + 1):
        lengthscale = log_l.exp()
        distance, penalty = mmd2_of_pairs(zh, en, lengthscale).sum(), strength * (1 / lengthscale).sum()
        if not bool((distance + penalty).isfinite()):
            raise ZkitError(f"the objective is not finite at step {step}; take a smaller lr or another start")
        if step % every == 0 or step == steps:
            seen.append((step, log_l.detach().clone(), float(distance.detach()), float(penalty.detach())))
        adam.zero_grad()
        (distance + penalty).backward()
        adam.step()
    at, path, distances, penalties = zip(*seen, strict=True)
    return Descent(list(at), torch.stack(path), torch.tensor(distances), torch.tensor(penalties))


def from_mask(space: Subspace, epsilon: float = 1e-6) -> Float[Tensor, " d"]:
    """The specified start, log l_j = -log(energy of coordinate j in Z + epsilon): small lengthscales where Z lies."""
    return -(space.basis.square().sum(0) + epsilon).log()


def lengthscale(weights: Float[Tensor, " d"], scale: float) -> Float[Tensor, " d"]:
    """l_j = scale / sqrt(d w_j): for uniform weights the same ``scale`` everywhere; endless for a weight of zero."""
    return scale / (len(weights) * weights).sqrt()


def contrast(zh: Clouds, en: Clouds, lengthscale: Float[Tensor, " d"], shifts: int = 2) -> Tensor:
    """mean_i MMD^2(zh_i, en_i) - mean MMD^2 of two different problems in one language, under one kernel.

    The terms within one cloud are in both means and cancel, so that nothing is won by making the tokens of a prompt
    alike: -2 <zh_i, en_i> + <zh_i, zh_j> + <en_i, en_j> is left, <.,.> being the mean of k over the tokens of two
    prompts. Another problem is the next one of the list, and so on, ``shifts`` of them: with all, the cost would be
    quadratic.
    """
    zh, en = scaled(zh, en, lengthscale)
    others = [across(c, rolled(c, n)).mean() for n in range(1, shifts + 1) for c in (zh, en)]
    return 2 * torch.stack(others).mean() - 2 * across(zh, en).mean()


def shared(
    zh: Clouds,
    en: Clouds,
    start: Float[Tensor, " d"] | None = None,
    *,
    temperature: float = 0.05,
    steps: int = 100,
    lr: float = 0.05,
    shifts: int = 2,
) -> Float[Tensor, " d"]:
    """The weights of the coordinates, of sum 1: large where a problem is the same in both languages and others are not.

    min over w on the simplex of contrast(l(w)) + temperature * KL(w | uniform), by Adam on log w from ``start``
    (weights; uniform if None); l(w) is :func:`lengthscale` with the median distance as scale. A coordinate that never
    varies has no say and keeps its share. Raises ZkitError for a start that is no distribution, clouds that are not
    pairs, fewer problems than ``shifts`` + 1 and clouds that are all one point.
    """
    d = zh.states.shape[-1]
    if len(zh) != len(en) or en.states.shape[-1] != d:
        raise ZkitError(f"row i of both is problem i: got {len(zh)} of {d} and {len(en)} of {en.states.shape[-1]}")
    if len(zh) <= shifts:
        raise ZkitError(f"{len(zh)} problems have no {shifts} others each; take more problems, or fewer shifts")
    first = torch.full((d,), 1 / d) if start is None else start
    if first.shape != (d,) or not bool((first > 0).all()) or abs(float(first.sum()) - 1) > 1e-4:
        raise ZkitError(
            f"start is {d} positive weights of sum 1, got shape {tuple(first.shape)}, sum {first.sum():.3g}"
        )
    scale = median_distance(torch.cat((zh.tokens(), en.tokens())))
    logits = first.log().to(zh.states).requires_grad_()
    adam = torch.optim.Adam([logits], lr=lr)
    for _ in range(steps):
        log_w = logits.log_softmax(0)
        w = log_w.exp()
        divergence = (w * log_w).sum() + math.log(d)
        adam.zero_grad()
        (contrast(zh, en, lengthscale(w, scale), shifts) + temperature * divergence).backward()
        adam.step()
    return logits.detach().softmax(0)


def rolled(clouds: Clouds, n: int) -> Clouds:
    """The same clouds in another order: the i-th is the (i - n)-th."""
    return Clouds(clouds.states.roll(n, 0), clouds.real.roll(n, 0))


def effective_number(weights: Float[Tensor, " d"]) -> float:
    """exp of the entropy of the weights: how many coordinates share the budget."""
    return float(torch.special.entr(weights).sum().exp())
