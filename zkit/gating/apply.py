"""Apply gates: soft or hard, rescaled or not, by a hook or folded into the weights.

With activations h of a layer's neurons (the input of ``down_proj``) and gates lambda, a soft gate is
h <- h * lambda / c, where c is mean(lambda) ("mean"), sqrt(mean(lambda^2)) ("energy") or 1 ("none"). A hard gate
replaces lambda by 0 if it is below a threshold, else by 1 (or keeps it). Either is a constant factor for each neuron,
so it folds exactly into the columns of ``down_proj``.
Source: the cards of the Qwen3 lambda gates; choices that they do not state are options here.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from zkit.edits import Block, Edit, edit
from zkit.errors import ZkitError
from zkit.folding import folded
from zkit.gating.gates import Gates
from zkit.gating.hard_concrete import settled
from zkit.models import Model
from zkit.positions import parse

SCALES = ("mean", "energy", "none")
SCOPES = ("layer", "global")
KEPT = ("one", "lambda")
EVERY_TOKEN = parse("all", first_token=True)


def rescaled(
    factors: Float[Tensor, "n_layers d_mlp"], scale: str, scope: str = "layer"
) -> Float[Tensor, "n_layers d_mlp"]:
    """factors / c: rescaled to a mean ("mean") or a mean square ("energy") of 1, or unchanged ("none").

    scope: whether there is a c for each layer ("layer"), or one for all layers ("global"). Differentiable. Raises
    ZkitError for an unknown scale or scope, and for a layer (or with "global" a model) whose neurons are all off.
    """
    if scale not in SCALES:
        raise ZkitError(f"unknown scale {scale!r}; choose one of {', '.join(SCALES)}")
    if scope not in SCOPES:
        raise ZkitError(f"unknown scope {scope!r}; choose one of {', '.join(SCOPES)}")
    if scale == "none":
        return factors
    power = factors if scale == "mean" else factors.square()
    c = power.mean(-1, keepdim=True) if scope == "layer" else power.mean().reshape(1, 1)
    if bool((c == 0).any()):
        where = f"layer {int((c == 0).flatten().nonzero()[0])}" if scope == "layer" else "the model"
        raise ZkitError(
            f"every neuron of {where} is off, so nothing is left to rescale; lower the threshold, or use scale='none'"
        )
    return factors / (c if scale == "mean" else c.sqrt())


def neuron_factors(
    gates: Gates,
    scale: str | None = None,
    threshold: float | None = None,
    kept: str = "one",
    scope: str = "layer",
) -> Float[Tensor, "n_layers d_mlp"]:
    """The factor of each neuron: soft gates, or hard ones if a threshold is given.

    scale: as in :func:`rescaled`; None means "none" for hard gates, and for soft ones the scale in their note.
    threshold: a neuron is off if its lambda is below. kept: the factor of a neuron that a hard gate leaves on, "one" or
    its own "lambda". scope: as in :func:`rescaled`.
    Soft gates that were trained as hard concrete ones, by their note, have the values of these without noise.
    Raises ZkitError for unknown choices, a threshold outside (0, 1), soft gates without a scale in their note if none
    is given, and a layer that is to be rescaled but is all off.
    """
    if kept not in KEPT:
        raise ZkitError(f"unknown kept value {kept!r}; choose one of {', '.join(KEPT)}")
    if threshold is None:
        chosen = scale or gates.note.get("scale")
        if chosen is None:
            raise ZkitError("these gates do not say which scale they were trained with; give scale='mean' or 'energy'")
        hard = gates.note.get("gate") == "hard_concrete"
        return rescaled(settled(gates.logits) if hard else gates.values, str(chosen), scope)
    on = ~gates.off(threshold)
    return rescaled(on * gates.values if kept == "lambda" else on.float(), scale or "none", scope)


def factor_edits(factors: Float[Tensor, "n_layers d_mlp"]) -> list[Edit]:
    """Edits that multiply every layer's neurons by their factors, at every token, the first included."""
    return [Edit("mlp_act", layer, _times(row), EVERY_TOKEN, sound=True) for layer, row in enumerate(factors)]


def _times(row: Float[Tensor, " d_mlp"]) -> Any:
    return lambda h: h * row.to(h.device, h.dtype)


def edits(model: Model, gates: Gates, **options: Any) -> list[Edit]:
    """The gates as edits of ``model``; ``options`` are those of :func:`neuron_factors`. Raises ZkitError for gates of
    another shape or model, an unknown scale or scope, and other options that :func:`neuron_factors` refuses.
    """
    gates.check(model)
    return factor_edits(neuron_factors(gates, **options))


def gate(
    model: Model,
    gates: Gates,
    scale: str | None = None,
    threshold: float | None = None,
    kept: str = "one",
    scope: str = "layer",
) -> Block:
    """Gate everything the model does inside the block: soft, or hard if a threshold is given.

    scale, threshold, kept, scope: see :func:`neuron_factors`. Raises ZkitError for gates of another shape or model, an
    unknown scale or scope, and a threshold that leaves no neuron of a layer on if the layer is to be rescaled.
    """
    return edit(model, edits(model, gates, scale=scale, threshold=threshold, kept=kept, scope=scope))


def fold(
    model: Model,
    gates: Gates,
    scale: str | None = None,
    threshold: float | None = None,
    kept: str = "one",
    scope: str = "layer",
) -> Model:
    """A copy of the model with the gates multiplied into the columns of ``down_proj``.

    scale, threshold, kept, scope: see :func:`neuron_factors`. The copy's ``.hf`` runs without zkit and can be saved by
    ``.hf.save_pretrained``. The product is taken in float32, and the copy is compared with the hooked model. Raises
    ZkitError for gates of another shape or model, options that :func:`neuron_factors` refuses, inside a block that
    edits the model, and for a model whose weights cannot hold the gates (see :func:`zkit.folding.folded`).
    """
    gates.check(model)
    return fold_factors(model, neuron_factors(gates, scale, threshold, kept, scope))


def fold_factors(model: Model, factors: Float[Tensor, "n_layers d_mlp"]) -> Model:
    """:func:`fold` for given factors: W_down[:, j] <- W_down[:, j] * factor[j]."""

    def change(layer: int, down: nn.Linear) -> None:
        down.weight.copy_(down.weight.float() * factors[layer].to(down.weight.device))

    return folded(model, change, factor_edits(factors), "mlp_out")
