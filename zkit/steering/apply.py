"""Apply a steering vector: as edits, as a context, or folded into a copy of the model."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zkit.edits import Block, Change, Edit, add, edit
from zkit.errors import ZkitError
from zkit.folding import folded
from zkit.models import Model
from zkit.positions import Positions, parse
from zkit.steering.strength import alpha_for, reference_norms
from zkit.steering.vectors import SteeringVector

Operator = Literal["add", "project"]


def edits(
    model: Model,
    v: SteeringVector,
    alpha: float | None = None,
    positions: str | Positions = "all",
    first_token: bool = False,
    operator: Operator = "add",
    *,
    dose: float | None = None,
) -> list[Edit]:
    """Edits at the output of each layer of ``v``, as strong as ``alpha`` says (1 if nothing does), or the ``dose``.

    A dose is alpha |v| over the usual norm of a token at the layer of ``v`` (:func:`zkit.steering.dose`).
    ``"add"``: h <- h + alpha v; alpha = 0 is no edit at all. ``"project"``: h <- h - (h . u) u + alpha v with
    u = v / |v|, which makes the part of the state along v equal to alpha v; alpha = 0 takes the direction away.
    Raises ZkitError for both strengths, a dose of several layers, alpha not finite, an unknown operator, a zero vector
    to project on, and if the vector's layers or width are not the model's.
    """
    if operator not in get_args(Operator):
        raise ZkitError(f"unknown operator {operator!r}; use {' or '.join(get_args(Operator))}")
    if alpha is not None and dose is not None:
        raise ZkitError("give alpha=... or dose=..., not both")
    if dose is not None:
        alpha = alpha_for(dose, v, reference_norms(model))
    alpha = 1.0 if alpha is None else alpha
    if not math.isfinite(alpha):
        raise ZkitError(f"alpha is {alpha}; it must be a finite number")
    if v.width != model.d_model:
        raise ZkitError(
            f"the vector has width {v.width}, {model.id!r} has d_model {model.d_model}; "
            f"it was made from {v.note.get('model', 'another model')}: make one from this model"
        )
    where = parse(positions, first_token)
    for layer in v.layers:
        model.check_layer(layer)
    if operator == "project":
        units, targets = v.unit().vectors, (alpha * v).vectors
        return [Edit("resid_post", l, _projection(units[l], targets[l]), where, sound=True) for l in v.layers]
    return [] if alpha == 0 else [add("resid_post", layer, alpha * v.vectors[layer], where) for layer in v.layers]


def steer(
    model: Model,
    v: SteeringVector,
    alpha: float | None = None,
    positions: str | Positions = "all",
    first_token: bool = False,
    operator: Operator = "add",
    *,
    dose: float | None = None,
) -> Block:
    """Steer everything the model does inside the block. Arguments and errors are those of :func:`edits`."""
    return edit(model, edits(model, v, alpha, positions, first_token, operator, dose=dose))


def _projection(unit: Float[Tensor, " d_model"], target: Float[Tensor, " d_model"]) -> Change:
    """h -> h - (h . unit) unit + target, the difference taken in float32 or better."""

    def fn(h: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32))
        u = unit.to(wide)
        return wide + (target.to(wide) - (wide @ u).unsqueeze(-1) * u)

    return fn


def fold(model: Model, v: SteeringVector, alpha: float = 1.0) -> Model:
    """A copy of the model with alpha v in the bias of ``down_proj``: steering at every token, the first included.

    It equals ``steer(..., first_token=True)`` up to rounding, and is compared with it before it is given out. The copy
    lives in memory only: these architectures have no such bias in their configuration, so ``save_pretrained`` would
    lose it. Raises ZkitError as :func:`edits` does, inside a block that edits the model, and for a model whose weights
    cannot hold the vector (see :func:`zkit.folding.folded`), such as one that normalises the output of its MLPs.
    """

    def change(layer: int, down: nn.Linear) -> None:
        if layer not in v.layers:
            return
        shift = (alpha * v.vectors[layer]).to(down.weight.device, model.dtype)  # the weight may hold integers
        bias = shift if down.bias is None else down.bias + shift
        down.bias = nn.Parameter(bias.clone(), requires_grad=False)

    return folded(model, change, edits(model, v, alpha, first_token=True), "resid_post")
