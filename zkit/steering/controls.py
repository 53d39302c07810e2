"""Controls for steering vectors: random, sink and shuffled-pair directions, which do not hold the vector's contrast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.anatomies import dissect
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering.apply import NEUTRAL
from zkit.steering.vectors import SteeringVector


def random_like(v: SteeringVector, n: int, seed: int = 0) -> list[SteeringVector]:
    """``n`` vectors of uniformly random directions, each with the norm of ``v`` at each of its layers."""
    generator = torch.Generator().manual_seed(seed)
    return [
        _as_long(v, {l: torch.randn(v.width, generator=generator) for l in v.layers}, f"random direction {i}")
        for i in range(n)
    ]


def sink_direction(model: Model, v: SteeringVector, prompts: Sequence[Prompt] = NEUTRAL) -> SteeringVector:
    """The pure sink direction, with the norm of ``v``: the difference between massive tokens and the others.

    It is the mean over prompts of the mean state of the first and the massive tokens minus that of all other tokens. A
    literal vector of two prompts of different lengths contains some of it. Raises ZkitError for no prompts and for an
    unknown layer.
    """
    parts = []
    for part in dissect(model, prompts, v.layers):
        group = part.massive.clone()  # [n_tokens, n_layers]
        group[0] = True
        one, other = (
            (part.states * side[..., None]).sum(0) / side.sum(0)[:, None].clamp(min=1) for side in (group, ~group)
        )
        parts.append(one - other)
    excess = torch.stack(parts).mean(0)  # [n_layers, d_model]
    return _as_long(v, dict(zip(v.layers, excess, strict=True)), "pure sink direction")


def shuffled_pairs(
    deltas: Float[Tensor, "n_pairs n_layers d_model"], layers: Sequence[int], seed: int = 0
) -> SteeringVector:
    """The mean difference with the two sides of a random half of the pairs swapped.

    It is not rescaled: its norm shows what is left if the sides are not distinguished. Raises ZkitError for fewer than
    two pairs, and unless ``layers`` has a number for each layer of ``deltas``.
    """
    if len(deltas) < 2 or len(layers) != deltas.shape[1]:
        raise ZkitError(
            f"swapping sides needs at least two pairs and their layers; got {len(deltas)} pairs of {deltas.shape[1]} "
            f"layers, and {len(layers)} layers"
        )
    order = torch.randperm(len(deltas), generator=torch.Generator().manual_seed(seed))
    signs = torch.ones(len(deltas)).index_fill(0, order[: len(deltas) // 2], -1.0)
    mean = (deltas * signs[:, None, None]).mean(0)
    return SteeringVector({l: mean[i].clone() for i, l in enumerate(layers)}, {"method": "shuffled pairs"})


def _as_long(v: SteeringVector, directions: dict[int, Tensor], method: str) -> SteeringVector:
    scaled = {l: d * (v.vectors[l].norm() / d.norm()) for l, d in directions.items()}
    return SteeringVector(scaled, {"method": method})
