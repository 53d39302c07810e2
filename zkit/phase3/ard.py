"""Experiment C: which coordinates of the residual stream two languages share, by the lengthscales of an ARD kernel.

Source: the Phase 3 specification, C.3 to C.5, whose objective is :func:`literal`. If every lengthscale is infinite, all
tokens look alike, and MMD^2 and penalty are 0. The true MMD^2 is never below 0, only its estimate is, by noise. So a
lengthscale that stays finite fits noise. :func:`shared` has a meaningful optimum: the weights of the coordinates have a
fixed sum, so no single one can grow or vanish without cost; different problems must remain apart, so a kernel for which
all tokens look alike gains nothing; and an entropy term keeps the weights uniform unless the data favour others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.kernels import Clouds, median_distance, positive
from zkit.subspaces import Subspace

_FAR = 120.0
"""Squared distance from which on k, there below 1e-26, is set to 0, because subnormal numbers are slow."""


@dataclass(frozen=True, eq=False)
class Descent:
    """The path of an optimiser: at ``steps``, the log lengthscales, the summed MMD^2 and the penalty."""

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

    zh, en: the clouds of the two languages, row i of both being problem i. start: the first log l. steps, lr: of Adam.
    every: how often a step is recorded; the last one always is. Raises ZkitError for clouds that are not pairs, a start
    of another width, and an objective that is not finite, naming the step.
    """
    if start.shape != zh.states.shape[-1:]:
        raise ZkitError(f"start has shape {tuple(start.shape)}, but the clouds have d = {zh.states.shape[-1]}")
    log_l = start.detach().clone().to(zh.states).requires_grad_()
    adam = torch.optim.Adam([log_l], lr=lr)
    distances = mmd2_sum(zh, en)
    seen: list[tuple[int, Tensor, float, float]] = []
    for step in range(steps + 1):
        lengthscale = log_l.exp()
        distance, penalty = distances(lengthscale), strength * (1 / lengthscale).sum()
        if not bool((distance + penalty).isfinite()):
            raise ZkitError(f"the objective is not finite at step {step}; take a smaller lr or another start")
        if step % every == 0 or step == steps:
            seen.append((step, log_l.detach().clone(), float(distance.detach()), float(penalty.detach())))
        adam.zero_grad()
        (distance + penalty).backward()
        adam.step()
    at, path, distance_path, penalties = zip(*seen, strict=True)
    return Descent(list(at), torch.stack(path), torch.tensor(distance_path), torch.tensor(penalties))


def from_mask(space: Subspace, epsilon: float = 1e-6) -> Float[Tensor, " d"]:
    """The specified start, log l_j = -log(energy of coordinate j in Z + epsilon): small for the coordinates of Z."""
    return -(space.basis.square().sum(0) + epsilon).log()


def lengthscale(weights: Float[Tensor, " d"], scale: float) -> Float[Tensor, " d"]:
    """l_j = scale / sqrt(d w_j): equal to ``scale`` for uniform weights, infinite for a weight of 0."""
    return scale / (len(weights) * weights).sqrt()


def contrast(zh: Clouds, en: Clouds, lengthscale: Float[Tensor, " d"], shifts: int = 2) -> Tensor:
    """mean_i MMD^2(zh_i, en_i) - mean MMD^2 of two different problems in one language, under one kernel.

    The terms within one cloud occur in both means and cancel, so making the tokens of a prompt alike gains nothing.
    What remains is -2 <zh_i, en_i> + <zh_i, zh_j> + <en_i, en_j>, where <.,.> is the mean of k over the tokens of two
    prompts. Problem i is compared with the next ``shifts`` problems of the list, because comparing it with all would
    have quadratic cost. Raises ZkitError for clouds that are not pairs, and for fewer than ``shifts`` + 1 problems.
    """
    return contrasted(zh, en, shifts)(lengthscale)


def shared(
    zh: Clouds,
    en: Clouds,
    start: Float[Tensor, " d"] | None = None,
    *,
    temperature: float = 0.05,
    most: int = 1000,
    lr: float = 0.05,
    shifts: int = 2,
) -> Float[Tensor, " d"]:
    """Weights of the coordinates, of sum 1: large where translations of a problem agree and other problems differ.

    The minimum over w on the simplex of contrast(l(w)) + temperature * KL(w | uniform), by Adam on log w, where l(w) is
    :func:`lengthscale` with the median distance as scale.
    zh, en: clouds, row i of both being problem i. start: the first weights (None: uniform). lr: of Adam. shifts: of
    :func:`contrast`. most: largest number of steps; it ends earlier when within ten steps no weight has changed by a
    hundredth of an equal share.
    A coordinate that never varies does not affect the contrast. Raises ZkitError for a start that is no distribution, a
    temperature that is not positive, clouds that are not pairs, fewer than ``shifts`` + 1 problems, and clouds in which
    most tokens coincide.
    """
    d = zh.states.shape[-1]
    if not temperature > 0:
        raise ZkitError(f"a temperature is positive, got {temperature}; a small one leaves the weights free")
    first = torch.full((d,), 1 / d) if start is None else start
    if first.shape != (d,) or not bool((first > 0).all()) or abs(float(first.sum()) - 1) > 1e-4:
        raise ZkitError(
            f"start is {d} positive weights of sum 1, got shape {tuple(first.shape)}, sum {first.sum():.3g}"
        )
    apart = contrasted(zh, en, shifts)
    scale = median_distance(torch.cat((zh.tokens(), en.tokens())))
    logits = first.log().to(zh.states).requires_grad_()
    adam = torch.optim.Adam([logits], lr=lr)
    before = logits.detach().softmax(0)
    for step in range(1, most + 1):
        log_w = logits.log_softmax(0)
        w = log_w.exp()
        divergence = (w * log_w).sum() + math.log(d)
        adam.zero_grad()
        (apart(lengthscale(w, scale)) + temperature * divergence).backward()
        adam.step()
        if step % 10 == 0:
            now = logits.detach().softmax(0)
            if float((now - before).abs().max()) * d < 0.01:
                break
            before = now
    return logits.detach().softmax(0)


def mmd2_sum(zh: Clouds, en: Clouds) -> WeighedKernel:
    """sum_i MMD^2(zh_i, en_i; l) as a function of the lengthscales: :func:`zkit.phase3.kernels.mmd2_of_pairs`."""
    clouds, pair = _together(zh, en), torch.arange(len(zh))
    zh_at, en_at = pair, pair + len(zh)
    own = torch.cat((zh_at, en_at))
    inside = 1 / (clouds.sizes * (clouds.sizes - 1))
    return WeighedKernel(
        clouds, torch.cat((own, zh_at)), torch.cat((own, en_at)), torch.cat((inside, -2 / (zh.sizes * en.sizes)))
    )


def contrasted(zh: Clouds, en: Clouds, shifts: int) -> WeighedKernel:
    """:func:`contrast` as a function of the lengthscales. Raises ZkitError for the input that it refuses: clouds that
    are not pairs, and too few problems.
    """
    if len(zh) <= shifts:
        raise ZkitError(f"{len(zh)} problems have no {shifts} others each; take more problems, or fewer shifts")
    clouds, n = _together(zh, en), len(zh)
    left, right, share = [torch.arange(n)], [torch.arange(n) + n], [torch.full((n,), -2.0 / n)]
    for shift in range(1, shifts + 1):
        for language in (0, n):
            left.append(torch.arange(n) + language)
            right.append(torch.arange(n).roll(shift) + language)
            share.append(torch.full((n,), 1.0 / (n * shifts)))
    one, other = torch.cat(left), torch.cat(right)
    return WeighedKernel(clouds, one, other, torch.cat(share) / (clouds.sizes[one] * clouds.sizes[other]))


class WeighedKernel:
    """sum_b share_b sum_x,y k_l(x, y) over the tokens x of cloud left_b and y of cloud right_b, as a function of l.

    A token is not compared with itself. With W = share * k the derivative with respect to log l_j is
    sum W (x_j - y_j)^2 / l_j^2. It is computed by products of W with the clouds, of which autograd would keep copies.
    """

    def __init__(
        self, clouds: Clouds, left: Int[Tensor, " b"], right: Int[Tensor, " b"], share: Float[Tensor, " b"]
    ) -> None:
        middle = clouds.tokens().mean(0)
        self.states = (clouds.states - middle) * clouds.real.unsqueeze(2)
        self.left, self.right = left, right
        there = clouds.real.to(clouds.states)
        self.share = share.to(there)[:, None, None] * there[left].unsqueeze(2) * there[right].unsqueeze(1)
        self.share[left == right] *= 1 - torch.eye(there.shape[1], dtype=there.dtype, device=there.device)

    def __call__(self, lengthscale: Float[Tensor, " d"]) -> Tensor:
        return _Weighed.apply(positive(lengthscale, self.states), self)


class _Weighed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, lengthscale: Tensor, of: WeighedKernel) -> Tensor:
        scaled = of.states / lengthscale
        length, x, y = scaled.square().sum(-1), scaled[of.left], scaled[of.right]
        apart = length[of.left].unsqueeze(2) + length[of.right].unsqueeze(1) - 2 * x @ y.mT
        w = of.share * (apart < _FAR) * (-0.5 * apart.clamp(0, _FAR)).exp()
        ctx.of = of
        ctx.save_for_backward(lengthscale, scaled, x, y, w)
        return w.sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        lengthscale, scaled, x, y, w = ctx.saved_tensors
        of_token = torch.zeros_like(scaled[..., 0])
        of_token.index_add_(0, ctx.of.left, w.sum(2)).index_add_(0, ctx.of.right, w.sum(1))
        own = (of_token.unsqueeze(2) * scaled).mul_(scaled).sum((0, 1))
        return grad * (own - 2 * (w @ y).mul_(x).sum((0, 1))) / lengthscale, None


def _together(zh: Clouds, en: Clouds) -> Clouds:
    """The clouds of both languages in one batch, Chinese first. ZkitError for different numbers or widths of clouds."""
    if len(zh) != len(en) or en.states.shape[-1] != zh.states.shape[-1]:
        raise ZkitError(
            f"row i of both is problem i: got {len(zh)} of {zh.states.shape[-1]} dimensions and {len(en)} of "
            f"{en.states.shape[-1]}"
        )
    return Clouds.of([*zh.split(), *en.split()])


def effective_number(weights: Float[Tensor, " d"]) -> float:
    """exp of the entropy of the weights: the effective number of coordinates that they are spread over."""
    return float(torch.special.entr(weights).sum().exp())
