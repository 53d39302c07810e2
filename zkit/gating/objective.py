"""The terms of the loss that gates are trained with: forget the entities, retain the rest.

L = lambda_f F + lambda_r R + w N, with F on the entity tokens of the forget texts, R on the texts to be retained, and N
("NKE") on the tokens of the forget texts that are not entities.
Source: the cards of the Qwen3 lambda gates; choices that they do not state (the factor T^2, the mean over tokens or
texts) are options.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softplus

REDUCTIONS = ("token", "text")


def mean_by(values: Float[Tensor, " targets"], row: Int[Tensor, " targets"], reduction: str) -> Float[Tensor, ""]:
    """The mean of ``values`` over tokens, or with "text" over texts of each text's mean; 0 if there are no values.

    row: the text that each value belongs to. reduction: "token" or "text".
    """
    if not len(values):
        return values.sum()
    if reduction == "token":
        return values.mean()
    _, text = row.unique(return_inverse=True)
    count = torch.bincount(text).to(values)
    return (torch.zeros_like(count).index_add(0, text, values) / count).mean()


def entity_loss(logits: Float[Tensor, "targets vocab"], labels: Int[Tensor, " targets"]) -> Float[Tensor, " targets"]:
    """CE: minus the log-probability (nats) of each label."""
    return cross_entropy(logits.float(), labels, reduction="none")


def forget(
    logits: Float[Tensor, "targets vocab"],
    labels: Int[Tensor, " targets"],
    row: Int[Tensor, " targets"],
    beta: float = 4.0,
    reduction: str = "token",
) -> Float[Tensor, ""]:
    """F = mean softplus(beta - CE): increases the entities' loss, with a gradient that vanishes above ``beta`` nats.

    logits, labels: at the entities' tokens. row, reduction: of the mean (:func:`mean_by`).
    """
    return mean_by(softplus(beta - entity_loss(logits, labels)), row, reduction)


def divergence(
    base: Float[Tensor, "targets vocab"], gated: Float[Tensor, "targets vocab"], temperature: float = 1.0
) -> Float[Tensor, " targets"]:
    """KL(base || gated) (nats) at each target, with both logits divided by ``temperature``."""
    p, q = (log_softmax(x.float() / temperature, -1) for x in (base, gated))
    return (p.exp() * (p - q)).sum(-1)


def retain(
    base: Float[Tensor, "targets vocab"],
    gated: Float[Tensor, "targets vocab"],
    row: Int[Tensor, " targets"],
    temperature: float = 2.0,
    t_squared: bool = True,
    reduction: str = "token",
) -> Float[Tensor, ""]:
    """R = T^2 mean KL(base || gated) at temperature T.

    base, gated: logits without and with gates. row, reduction: of the mean (:func:`mean_by`). temperature: T.
    t_squared: whether the factor T^2 is used.
    """
    return mean_by(divergence(base, gated, temperature), row, reduction) * (temperature**2 if t_squared else 1.0)
