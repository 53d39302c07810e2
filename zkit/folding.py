"""Fold an edit into the weights of a copy, and ask the copy whether it is what the hook says before anyone gets it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zkit.decoder import Decoder
from zkit.edits import Edit, check_unedited, edit
from zkit.errors import ZkitError
from zkit.held import no_grad
from zkit.hooks import Hooks

D = TypeVar("D", bound=Decoder)
TEXTS = ("The first token is not the whole story.", "1 + 1 = 2")
FLOOR = 1e-3
"""Least tolerance, as a share of the norm of a token's state: TF32, where a GPU has it on, is no finer."""
ROUNDINGS = 2
"""Tolerance in epsilons of the model's dtype, where that is more."""


def folded(model: D, change: Callable[[int, Any], None], edits: Sequence[Edit], site: str) -> D:
    """A copy of the model in which ``change(layer, down_proj)`` was made to every layer: what ``edits`` do by hooks.

    Raises ZkitError inside a block that edits the model, where ``change`` fails, and unless each module at ``site`` of
    the copy gives what the edited one gives for the same input, in a forward pass of one short batch. At each token
    they may differ by rounding: `ROUNDINGS` epsilons, or `FLOOR`, of the output's norm. Asked layer by layer, errors do
    not add up and no layer hides behind another. So what cannot be folded into is refused, whatever its name: weights
    that are not what multiplies the states (offloaded, in 8 or 4 bits, under an adapter), and MLPs whose output is
    changed on its way to the residual stream (by a multiplier, by a norm).
    """
    check_unedited(model, "fold")
    try:
        twin = replace(model, hf=copy.deepcopy(model.hf))
        with no_grad():
            for layer, block in enumerate(twin.layers):
                change(layer, block.mlp.down_proj)
            shares = _differences(model, twin, edits, site)
    except ZkitError:
        raise
    except Exception as error:  # weights that are packed, or elsewhere, fail in ways of their own
        raise ZkitError(f"{model.id!r} cannot be folded ({type(error).__name__}: {error}); {_REMEDY}") from error
    allowed = max(FLOOR, ROUNDINGS * torch.finfo(model.dtype).eps)
    for layer, share in enumerate(shares):
        if not share <= allowed:
            raise ZkitError(
                f"the folded copy of {model.id!r} is not the hooked model: at layer {layer} the largest difference is "
                f"{share:.2g} of a state's norm, where rounding makes at most {allowed:.2g}; {_REMEDY}"
            )
    return twin


_REMEDY = (
    "a fold needs plain weights in `down_proj` (not quantised, offloaded or under an adapter), and one of steering "
    "also an MLP whose output is added as it is; use the block instead, which acts on any model"
)


def _differences(model: Decoder, twin: Decoder, edits: Sequence[Edit], site: str) -> list[float]:
    """For each layer, the largest over tokens of |folded - hooked| / |hooked|; NaN where the module never ran."""
    batch = model.tokenize(TEXTS, chat=False)
    real, shares = batch["attention_mask"].bool(), [float("nan")] * model.n_layers

    def compared(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            shares[layer] = _share(_states(output), _states(twin.site(site, layer)(*args, **kwargs)), real)

        return hook

    with edit(model, edits), Hooks() as hooks:  # these come after those of the edits, and see what they left
        for layer in range(model.n_layers):
            hooks.after(model.site(site, layer), compared(layer))
        model.decoder(**batch, use_cache=False)
    return shares


def _states(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _share(
    hooked: Float[Tensor, "batch seq d"], copied: Float[Tensor, "batch seq d"], real: Bool[Tensor, "batch seq"]
) -> float:
    one, two = (x[real.to(x.device)].double().cpu() for x in (hooked, copied))
    return float(((two - one).norm(dim=-1) / one.norm(dim=-1).clamp(min=1e-30)).max())
