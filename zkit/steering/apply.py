"""Apply a steering vector: as edits, as a context, folded into a copy of the model, or distributed over several layers.

Values of alpha cannot be compared between layers and models. Doses, alpha |v| over the usual norm of a token, can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zkit.anatomies import Dissected, dissect
from zkit.edits import Block, Change, Edit, add, edit
from zkit.errors import ZkitError
from zkit.folding import folded
from zkit.models import Model
from zkit.positions import Positions, parse, trackers
from zkit.prompts import Prompt
from zkit.steering.vectors import SteeringVector

NEUTRAL = (
    "Explain what a mutex is.",
    "How does bread rise?",
    "Why are there tides?",
    "What is photosynthesis?",
)
"""Questions in neutral style, for reference norms."""


def reference_norms(model: Model, prompts: Sequence[Prompt] = NEUTRAL) -> Float[Tensor, " n_layers"]:
    """The median norm of usual tokens (of messages, not massive, not the first) at the output of each layer.

    For the built-in questions it is measured once per model, outside any block that edits it. Raises ZkitError inside
    such a block if it was not measured before, for no prompts or an empty prompt, and if the prompts have no usual
    token at a layer.
    """
    if prompts is not NEUTRAL:
        return usual_norms(dissect(model, prompts))

    def measured() -> Tensor:
        if trackers(model.decoder):
            raise ZkitError(
                f"reference norms are those of {model.id!r} as it is, and a block edits it; ask for them, or for a "
                "dose, outside of it first"
            )
        return usual_norms(dissect(model, NEUTRAL))

    return model.once("reference norms", measured).clone()


def usual_norms(found: Sequence[Dissected]) -> Float[Tensor, " n_layers"]:
    """The median norm of the usual tokens of some prompts, at each layer. Raises ZkitError for a layer without any."""
    norms, usual = (torch.cat([getattr(part, name) for part in found]) for name in ("norms", "usual"))
    if not bool(usual.any(0).all()):
        raise ZkitError("the prompts have no token of a message that is not massive; give longer ones")
    return torch.where(usual, norms, torch.nan).nanmedian(dim=0).values


def dose(alpha: float, v: SteeringVector, reference: Float[Tensor, " n_layers"]) -> float:
    """alpha |v| over the usual norm of a token at the layer: the size of the change as a share of the state.

    ``v`` has one layer; ``reference`` is :func:`reference_norms`. The dose has the sign of alpha. Raises ZkitError for
    several layers.
    """
    return alpha * v.norm / _usual(v, reference)


def residual_share(alpha: float, v: SteeringVector, mean_norm: float) -> float:
    """alpha |v| over the mean norm of all tokens, the first included: the published "percent of the residual".

    mean_norm: of the vector's layer, from the column of :func:`zkit.steering.geometry` or from a publication. If some
    tokens are massive, they make up most of the mean, and the share says little about a usual token; use the dose then.
    Raises ZkitError for several layers, and for a norm that is not above zero.
    """
    if not mean_norm > 0:
        raise ZkitError(f"the mean norm is {mean_norm}; it must be above zero")
    return alpha * v.norm / mean_norm


def alpha_for(target: float, v: SteeringVector, reference: Float[Tensor, " n_layers"]) -> float:
    """The alpha that gives a dose. Raises ZkitError for several layers or a zero vector."""
    if v.norm == 0:
        raise ZkitError("no alpha gives a zero vector a dose")
    return target * _usual(v, reference) / v.norm


def _usual(v: SteeringVector, reference: Tensor) -> float:
    layer = v.layers[0]
    if layer >= len(reference):
        raise ZkitError(f"the reference norms have {len(reference)} layers, the vector speaks of layer {layer}")
    return float(reference[layer])


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
    """Edits at the output of each layer of ``v``.

    alpha, or dose: the strength, as a factor on ``v`` (default: alpha = 1), or as alpha |v| over the usual norm of a
    token at the layer of ``v`` (:func:`zkit.steering.dose`).
    positions, first_token: the tokens that are steered (:func:`zkit.positions.parse`).
    operator: ``"add"``, h <- h + alpha v (no edit if alpha = 0), or ``"project"``, h <- h - (h . u) u + alpha v with
    u = v / |v|, which sets the part of the state along v to alpha v (alpha = 0 removes the direction).
    Raises ZkitError for both strengths, a dose of several layers, alpha not finite, unknown positions or operator, a
    zero vector to project on, and a vector of another width or layer than the model has.
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
    """Steer everything the model does inside the block.

    v, alpha, dose, positions, first_token, operator: see :func:`edits`. Raises ZkitError for both strengths, a dose of
    several layers, a vector of another width or layer than the model has, and other input that :func:`edits` refuses.
    """
    return edit(model, edits(model, v, alpha, positions, first_token, operator, dose=dose))


def _projection(unit: Float[Tensor, " d_model"], target: Float[Tensor, " d_model"]) -> Change:
    """h -> h - (h . unit) unit + target, computed in float32 or better."""

    def fn(h: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32))
        u = unit.to(wide)
        return wide + (target.to(wide) - (wide @ u).unsqueeze(-1) * u)

    return fn


def fold(model: Model, v: SteeringVector, alpha: float = 1.0) -> Model:
    """A copy of the model with alpha v in the bias of ``down_proj``: steering at every token, the first included.

    It equals ``steer(..., first_token=True)`` up to rounding; this is checked. The copy cannot be saved: these
    architectures have no such bias in their configuration, so ``save_pretrained`` would lose it. Raises ZkitError for a
    vector of another width or layer than the model has, inside a block that edits the model, and for a model whose
    weights cannot hold the vector (see :func:`zkit.folding.folded`), such as one that normalises the output of its
    MLPs.
    """

    def change(layer: int, down: nn.Linear) -> None:
        if layer not in v.layers:
            return
        shift = (alpha * v.vectors[layer]).to(down.weight.device, model.dtype)  # the weight may hold integers
        bias = shift if down.bias is None else down.bias + shift
        down.bias = nn.Parameter(bias.clone(), requires_grad=False)

    return folded(model, change, edits(model, v, alpha, first_token=True), "resid_post")


def plan(
    v: SteeringVector,
    layers: Sequence[int],
    *,
    alpha: float | None = None,
    dose: float | None = None,
    reference: Float[Tensor, " n_layers"] | None = None,
) -> SteeringVector:
    """The parts of ``v`` at some ``layers``, each scaled to an equal share of a total; steer with it at alpha = 1.

    alpha: the total of the factors (the published comparison). dose: instead of alpha, the total of the doses, with
    reference: the result of :func:`zkit.steering.reference_norms`. Raises ZkitError for both totals or neither, a dose
    without ``reference``, no layers or one given twice, and layers that ``v`` lacks.
    """
    if (alpha is None) == (dose is None) or (dose is None) != (reference is None):
        raise ZkitError("give a plan alpha=..., or dose=... and reference=...")
    if len(set(layers)) < max(len(layers), 1):
        raise ZkitError(f"a plan needs layers, each once; got {list(layers)}")
    parts = [v.at(layer) for layer in layers]
    factors = [
        alpha / len(parts) if alpha is not None else alpha_for(dose / len(parts), part, reference)  # type: ignore
        for part in parts
    ]
    scaled = {p.layers[0]: p.vectors[p.layers[0]] * f for p, f in zip(parts, factors, strict=True)}
    total = f"alpha {alpha:g}" if alpha is not None else f"dose {dose:g}"
    return SteeringVector(scaled, {**v.note, "plan": f"{total} over layers {sorted(scaled)}"})
