"""What edits make of the states at one site, at the positions and rows that they speak of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.positions import Tracker

if TYPE_CHECKING:
    from zkit.edits import Edit


def apply(h: Float[Tensor, "batch seq width"], group: list[Edit], tracker: Tracker) -> Tensor:
    """The states of one site after all edits there. Raises ZkitError as :func:`zkit.edit` says."""
    if h.dim() != 3 or h.shape[:2] != tracker.shape:
        raise ZkitError(
            f"the states at {group[0].site} of layer {group[0].layer} have shape {tuple(h.shape)} in a forward pass of "
            f"{tracker.shape[0]} rows and {tracker.shape[1]} tokens, and edits take [rows, tokens, width]; use another "
            "site, and run whole models, not single layers, inside the block"
        )
    out, own = h, False
    for item in group:
        chosen = tracker.select(item.positions)
        if chosen is False:
            continue
        if item.rows is None:
            out, own = _kept(item, out, chosen, tracker), False
            continue
        low, high = item.rows.start or 0, tracker.batch if item.rows.stop is None else item.rows.stop
        if item.rows.step not in (None, 1) or not 0 <= low < high <= tracker.batch:
            raise ZkitError(
                f"an edit speaks of the rows {item.rows}, the batch has {tracker.batch} rows; "
                "give a slice inside it, without a step"
            )
        if not own:  # what the module returned is not ours to write into
            out, own = out.clone(), True
        out[item.rows] = _kept(item, out[item.rows], chosen if chosen is True else chosen[item.rows], tracker)
    return out


def _kept(item: Edit, part: Float[Tensor, "rows seq width"], chosen: Tensor | bool, tracker: Tracker) -> Tensor:
    """The states changed where ``chosen``, untouched elsewhere."""
    given = part if item.sound else part.clone()
    if item.per_prompt is None:
        new = item.fn(given)
    elif item.n_prompts == part.shape[0]:
        new = item.fn(given, _of_tokens(item, chosen, tracker) if item.by_token else item.per_prompt)
    else:
        raise ZkitError(
            f"a tensor per prompt of shape {tuple(item.per_prompt.shape)} does not fit the {part.shape[0]} rows that "
            f"the edit at {item.site} of layer {item.layer} speaks of; give one for each row, or one vector for all"
        )
    _check(item, part, new, chosen)
    new = new.to(part.dtype)
    return torch.where(chosen.unsqueeze(-1).to(part.device), new, part) if isinstance(chosen, Tensor) else new


def _of_tokens(item: Edit, chosen: Tensor | bool, tracker: Tracker) -> Float[Tensor, "rows seq ..."]:
    """The tensors of the tokens in the running pass. ZkitError if one that is chosen has none."""
    assert item.per_prompt is not None
    places = tracker.places()[slice(None) if item.rows is None else item.rows].to(item.per_prompt.device)
    rows, most = torch.arange(len(places), device=places.device).unsqueeze(1), item.per_prompt.shape[1] - 1
    own = item.per_prompt[rows, places.clamp(0, most)]
    wanted = chosen.to(places.device) if isinstance(chosen, Tensor) else torch.ones_like(places, dtype=torch.bool)
    absent = (places > most) | own.flatten(2).isnan().any(-1)
    if bool((absent & wanted).any()):
        raise ZkitError(
            f"the edit at {item.site} of layer {item.layer} has no source for token "
            f"{int(places[absent & wanted].min())} of a prompt; give one for each token that it chooses, or choose "
            "fewer, such as positions 'prompt'"
        )
    return own


def _check(item: Edit, part: Tensor, new: Any, chosen: Tensor | bool) -> None:
    """Raise ZkitError unless what an ``fn`` made of the states can take their place."""
    where = f"the edit at {item.site} of layer {item.layer}"
    if not isinstance(new, Tensor):
        raise ZkitError(f"{where} turned states into {type(new).__name__}; its fn must return the states, edited")
    if new.shape != part.shape:
        raise ZkitError(
            f"{where} turned states of shape {tuple(part.shape)} into {tuple(new.shape)}; "
            "its vectors must have the width of the site and one row per row of the batch"
        )
    if item.sound:
        return
    if (new.dtype, new.device) != (part.dtype, part.device):
        raise ZkitError(
            f"{where} turned states of {part.dtype} on {part.device} into {new.dtype} on {new.device}; "
            "its fn must keep both: end it with .to(h)"
        )
    broken = part.isfinite() & ~new.isfinite()
    if isinstance(chosen, Tensor):
        broken &= chosen.unsqueeze(-1).to(part.device)
    if bool(broken.any()):
        raise ZkitError(
            f"{where} made NaN or infinity of finite states, at {int(broken.any(-1).sum())} tokens; "
            "look for a division by zero, a logarithm, or a number too large for the dtype"
        )
