"""Gates that reach exactly 0 and 1 and can be trained by gradients: the hard concrete distribution.

Source: Louizos, Welling and Kingma 2018, learning sparse networks through L0 regularisation, with their constants.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

BETA, GAMMA, ZETA = 2 / 3, -0.1, 1.1
"""Temperature of the concrete distribution, and the ends of the interval that it is stretched to."""


def sample(logits: Float[Tensor, "n_layers d_mlp"], generator: torch.Generator) -> Float[Tensor, "n_layers d_mlp"]:
    """Random gates z = clip(sigmoid((log u - log(1 - u) + logit) / beta) (zeta - gamma) + gamma, 0, 1), u uniform."""
    u = torch.rand(logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6).to(logits.device)
    s = ((u.logit() + logits) / BETA).sigmoid()
    return (s * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def settled(logits: Float[Tensor, "n_layers d_mlp"]) -> Float[Tensor, "n_layers d_mlp"]:
    """The gates without noise: clip(sigmoid(logit) (zeta - gamma) + gamma, 0, 1); one half at a logit of 0."""
    return (logits.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def expected_off(logits: Float[Tensor, "n_layers d_mlp"]) -> Float[Tensor, ""]:
    """The expected share of gates that a sample puts at 0: the mean of 1 - sigmoid(logit - beta log(-gamma / zeta))."""
    return 1 - (logits - BETA * math.log(-GAMMA / ZETA)).sigmoid().mean()
