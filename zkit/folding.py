"""Fold an edit into the weights of a copy of the model, and compare the copy with the hooked model."""

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
"""Smallest tolerance, as a share of the norm of a token's state: the precision of TF32, which a GPU may use."""
ROUNDINGS = 2
"""Tolerance in epsilons of the model's dtype, used if it is larger than FLOOR."""


def folded(model: D, change: Callable[[int, Any], None], edits: Sequence[Edit], site: str) -> D:
    """A copy of the model on which ``change(layer, down_proj)`` was called for every layer, to the effect of ``edits``.

    The copy is compared with the edited model in a forward pass of one short batch: each module at ``site`` must give
    the same output for the same input, up to the larger of `ROUNDINGS` epsilons and `FLOOR` of the output's norm at
    each token. Modules are compared one by one, so that errors neither add up over layers nor cancel.
    Raises ZkitError inside a block that edits the model, if ``change`` fails, and if the outputs differ by more. They
    differ for weights that do not multiply the states directly (offloaded, in 8 or 4 bits, under an adapter), and for
    MLPs whose output is changed before it is added to the residual stream (by a multiplier or a norm).
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
    except Exception as error:  # packed or offloaded weights raise exceptions of many types
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
    """For each layer, the maximum over tokens of |folded - hooked| / |hooked|; NaN if the module never ran."""
    batch = model.tokenize(TEXTS, chat=False)
    real, shares = batch["attention_mask"].bool(), [float("nan")] * model.n_layers

    def compared(layer: int) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            shares[layer] = _share(_states(output), _states(twin.site(site, layer)(*args, **kwargs)), real)

        return hook

    with edit(model, edits), Hooks() as hooks:  # registered after those of the edits, so that they see edited states
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
