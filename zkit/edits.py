"""The one primitive: edit the states of a model at named sites while it runs.

Steering, gates, projections and patches are functions that return Edits; :func:`edit` is the only place where a hook
that changes anything is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zkit.errors import ZkitError
from zkit.positions import Positions, Tracker, parse
from zkit.projectors import Subspace

if TYPE_CHECKING:
    from zkit.models import Model

ALL = parse("all")
Change = Callable[..., Float[Tensor, "rows seq width"]]


@dataclass(frozen=True, eq=False)
class Edit:
    """Replace the states at one site by ``fn(states)``, at the chosen positions of the chosen rows.

    site: one of ``zkit.models.SITES``. layer: counted from 0.
    fn: states [rows, seq, width] -> the same shape; it sees every position, only the chosen ones are kept.
    rows: a slice of the batch, or None for all of it.
    per_prompt: one tensor per prompt, [n_prompts, ...], or None. ``fn(states, per_prompt)`` then takes both, and the
    prompts are the rows that the edit speaks of, in their order; :meth:`for_prompts` picks those of a batch.
    """

    site: str
    layer: int
    fn: Change
    positions: Positions = ALL
    rows: slice | None = None
    per_prompt: Float[Tensor, "n_prompts ..."] | None = None

    @property
    def n_prompts(self) -> int | None:
        """How many prompts the edit has tensors for; None if it is the same for every prompt."""
        return None if self.per_prompt is None else self.per_prompt.shape[0]

    def for_prompts(self, index: Int[Tensor, " rows"]) -> Edit:
        """The edit with the tensors of the prompts ``index``, one row each; itself if it has no such tensors."""
        if self.per_prompt is None:
            return self
        return replace(self, per_prompt=self.per_prompt[index.to(self.per_prompt.device)])


def add(
    site: str,
    layer: int,
    delta: Float[Tensor, "*prompts width"],
    positions: Positions = ALL,
    rows: slice | None = None,
) -> Edit:
    """h <- h + delta. ``delta`` is one vector [width], or one per prompt [n_prompts, width].

    ZkitError if it is not finite.
    """
    return _with_vectors(site, layer, delta, lambda h, x: h + x.to(h.dtype), positions, rows, "the vector added")


def patch(
    site: str,
    layer: int,
    source: Float[Tensor, "*prompts width"],
    subspace: Subspace | None = None,
    positions: Positions = ALL,
    rows: slice | None = None,
) -> Edit:
    """h <- h + P (source - h): move the part of the states inside ``subspace`` (default: all of it) to the source.

    ``source`` is one state [width], one per prompt [n_prompts, width], or one per token of each prompt
    [n_prompts, seq, width], padding included. In this form a patch with the states' own values adds exactly zero. The
    difference is taken in float32 or better. ZkitError if the source is not finite.
    """

    def fn(h: Tensor, x: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32))
        change = x.to(wide.dtype) - wide
        return wide + (change if subspace is None else subspace.project(change))

    return _with_vectors(site, layer, source, fn, positions, rows, "the source patched in")


def _with_vectors(
    site: str,
    layer: int,
    x: Float[Tensor, "*prompts width"],
    fn: Callable[[Tensor, Tensor], Tensor],
    positions: Positions,
    rows: slice | None,
    what: str,
) -> Edit:
    """An edit by ``fn(states, x)``, where x is one vector, or a tensor per prompt."""
    if not bool(torch.isfinite(x).all()):
        raise ZkitError(f"{what} at {site} {layer} is not finite; look for NaN or infinity in what it was made from")
    if x.dim() == 1:
        return Edit(site, layer, lambda h: fn(h, _fitting(x, h)), positions, rows)
    return Edit(site, layer, lambda h, own: fn(h, _fitting(own, h)), positions, rows, per_prompt=x)


@contextmanager
def edit(model: Model, edits: Sequence[Edit]) -> Iterator[None]:
    """Apply ``edits`` to every forward pass inside the ``with`` block; edits at the same site apply in list order.

    Whatever happens inside, the model leaves the block as it was. Raises ZkitError for an unknown site or layer before
    anything is registered, and, in a forward pass, for rows outside the batch or an ``fn`` that changes the shape.
    """
    groups: dict[tuple[str, int], list[Edit]] = {}
    for item in edits:
        model.site(item.site, item.layer)
        groups.setdefault((item.site, item.layer), []).append(item)
    by_row = any(item.rows is not None or item.per_prompt is not None for item in edits)
    tracker = Tracker([item.positions for item in edits], by_row)
    with ExitStack() as stack:
        if groups:
            handle = model.decoder.register_forward_pre_hook(tracker, with_kwargs=True)
            stack.callback(handle.remove)
        for (site, layer), group in groups.items():
            stack.callback(_register(model.site(site, layer), site, group, tracker).remove)
        yield


def check_unedited(model: Model, what: str) -> None:
    """Raise ZkitError inside a block that edits the model: a copy made there would keep the edits."""
    if any(isinstance(hook, Tracker) for hook in model.decoder._forward_pre_hooks.values()):
        raise ZkitError(
            f"{what} copies the model, and the copy would keep the edits in force; call it outside the block"
        )


def _register(module: nn.Module, site: str, group: list[Edit], tracker: Tracker) -> Any:
    if site == "down_proj_in":
        return module.register_forward_pre_hook(lambda _, args: (_apply(args[0], group, tracker), *args[1:]))

    def hook(_: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # attention returns its weights beside the states
            return (_apply(output[0], group, tracker), *output[1:])
        return _apply(output, group, tracker)

    return module.register_forward_hook(hook)


def _apply(h: Float[Tensor, "batch seq width"], group: list[Edit], tracker: Tracker) -> Tensor:
    out, own = h, False
    for item in group:
        chosen = tracker.select(item.positions)
        if chosen is False:
            continue
        if item.rows is None:
            out, own = _kept(item, out, chosen), False
            continue
        low, high = item.rows.start or 0, tracker.batch if item.rows.stop is None else item.rows.stop
        if item.rows.step not in (None, 1) or not 0 <= low < high <= tracker.batch:
            raise ZkitError(
                f"an edit speaks of the rows {item.rows}, the batch has {tracker.batch} rows; "
                "give a slice inside it, without a step"
            )
        if not own:  # what the module returned is not ours to write into
            out, own = out.clone(), True
        out[item.rows] = _kept(item, out[item.rows], chosen if chosen is True else chosen[item.rows])
    return out


def _kept(item: Edit, part: Float[Tensor, "rows seq width"], chosen: Tensor | bool) -> Tensor:
    """The states changed where ``chosen``, untouched elsewhere."""
    new = item.fn(part) if item.per_prompt is None else item.fn(part, item.per_prompt)
    if new.shape != part.shape:
        raise ZkitError(
            f"the edit at {item.site} {item.layer} turned states of shape {tuple(part.shape)} into {tuple(new.shape)}; "
            "its vectors must have the width of the site and one row per row of the batch"
        )
    new = new.to(part.dtype)
    return torch.where(chosen.unsqueeze(-1).to(part.device), new, part) if isinstance(chosen, Tensor) else new


def _fitting(x: Float[Tensor, "*prompts width"], h: Float[Tensor, "rows seq width"]) -> Tensor:
    """x on the device of the states, in a shape that can be added to them."""
    if x.shape[-1] != h.shape[-1] or (x.dim() > 1 and x.shape[0] != h.shape[0]):
        raise ZkitError(
            f"a vector of shape {tuple(x.shape)} does not fit states of shape {tuple(h.shape)} (rows, tokens, width); "
            "was it made from another model, or for another number of prompts?"
        )
    x = x.to(h.device)
    return x.unsqueeze(1) if x.dim() == 2 else x
