"""How strong an addition is: alpha says little between layers and models, the dose compares them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.anatomies import Dissected, dissect
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering.vectors import SteeringVector

NEUTRAL = (
    "Explain what a mutex is.",
    "How does bread rise?",
    "Why are there tides?",
    "What is photosynthesis?",
)
"""Questions without a style, for reference norms."""


def reference_norms(model: Model, prompts: Sequence[Prompt] = NEUTRAL) -> Float[Tensor, " n_layers"]:
    """The median norm of usual tokens, at the output of each layer: of the messages, and not massive.

    Those of the built-in questions are measured once for a model, outside any block that edits it. Raises ZkitError
    inside such a block if they were not measured before, for prompts that recording refuses, and if some prompts leave
    no usual token at a layer.
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
    """The median norm of the usual tokens of some prompts, at each layer. Raises ZkitError where there is none."""
    norms, usual = (torch.cat([getattr(part, name) for part in found]) for name in ("norms", "usual"))
    if not bool(usual.any(0).all()):
        raise ZkitError("the prompts have no token of a message that is not massive; give longer ones")
    return torch.where(usual, norms, torch.nan).nanmedian(dim=0).values


def dose(alpha: float, v: SteeringVector, reference: Float[Tensor, " n_layers"]) -> float:
    """alpha |v| over the usual norm of a token at the layer: the size of the change as a share of the state.

    ``v`` has one layer; ``reference`` is :func:`reference_norms`. Signed as alpha. Raises ZkitError for several layers.
    """
    return alpha * v.norm / _usual(v, reference)


def residual_share(alpha: float, v: SteeringVector, mean_norm: float) -> float:
    """alpha |v| over the mean norm of all tokens, the first included: the published "percent of the residual".

    ``mean_norm`` is that of the vector's layer: the column of :func:`zkit.steering.geometry`, or a published figure.
    Where some tokens are massive the mean is mostly theirs, and the share says little about a usual token; the dose
    does. Raises ZkitError for several layers, and for a norm that is not above zero.
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
