"""The basic operation: edit the states of a model at named sites while it runs.

Steering, gates, projections and patches are functions that return Edits; only :func:`edit` registers hooks that change
states.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self
from weakref import finalize

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zkit.decoder import Decoder
from zkit.errors import ZkitError
from zkit.hooks import Hooks
from zkit.positions import Positions, Tracker, follow, parse, trackers
from zkit.sites import attach
from zkit.subspaces import Projector

ALL = parse("all")
Change = Callable[..., Float[Tensor, "rows seq width"]]


@dataclass(frozen=True, eq=False)
class Edit:
    """Replace the states at one site by ``fn(states)``, at the chosen positions of the chosen rows.

    site: one of ``zkit.sites.SITES``. layer: counted from 0.
    fn: states [rows, seq, width] -> states of the same shape, dtype and device. It is called on all positions, but its
    result is used only at the chosen ones. It is given a copy of the states and may write into it.
    positions: which tokens are edited.
    rows: a slice of the batch, or None for all of it.
    per_prompt: one tensor per prompt, [n_prompts, ...], or None. If given, ``fn(states, per_prompt)`` is called, and
    the prompts are the edited rows, in the same order; :meth:`for_prompts` picks those of a batch.
    by_token: whether ``per_prompt`` is [n_prompts, n_tokens, ...], with a tensor for each token, counted from the first
    real one; ``fn`` is then given the tensors of the tokens in the running pass.
    sound: whether ``fn`` is known not to write into its argument and to return finite states on the same device. It
    then gets no copy, and its result is checked for its shape only and converted to the dtype of the states.
    """

    site: str
    layer: int
    fn: Change
    positions: Positions = ALL
    rows: slice | None = None
    per_prompt: Float[Tensor, "n_prompts ..."] | None = None
    by_token: bool = False
    sound: bool = False

    @property
    def n_prompts(self) -> int | None:
        """How many prompts the edit has tensors for; None if it is the same for every prompt."""
        return None if self.per_prompt is None else self.per_prompt.shape[0]

    def for_prompts(self, index: Int[Tensor, " rows"]) -> Edit:
        """The edit with only the tensors of the prompts ``index``, in this order; itself if it has no such tensors."""
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
    """h <- h + delta, at one site of one layer.

    delta: one vector [width], or one per prompt [n_prompts, width]. site, layer, positions, rows: see :class:`Edit`.
    Raises ZkitError if ``delta`` is not finite.
    """
    return _with_vectors(site, layer, delta, lambda h, x: h + x.to(h.dtype), positions, rows, "the vector added")


def patch(
    site: str,
    layer: int,
    source: Float[Tensor, "*prompts width"] | Sequence[Float[Tensor, "n_tokens width"]],
    subspace: Projector | None = None,
    positions: Positions = ALL,
    rows: slice | None = None,
    like: Projector | None = None,
) -> Edit:
    """h <- h + P (source - h): move the part of the states inside ``subspace`` (default: all of it) to the source.

    source: one state [width], one per prompt [n_prompts, width], or one per token: a list with a tensor
    [n_tokens, width] for each prompt, from its first token on, whatever the padding.
    subspace: where the states are moved. P is its projector.
    like: another subspace. The change is then scaled for each token to the norm of the change that a patch inside
    ``like`` would make, for controls of equal change: h <- h + c P (source - h), with
    c = |P_like (source - h)| / |P (source - h)|.
    site, layer, positions, rows: see :class:`Edit`.
    The difference is taken in float32 or better; a patch with the states' own values adds exactly zero. Raises
    ZkitError if the source is not finite and, in a forward pass, if a token is chosen that has no source.
    """

    def fn(h: Tensor, x: Tensor) -> Tensor:
        wide = h.to(torch.promote_types(h.dtype, torch.float32))
        change = x.to(wide.dtype) - wide
        inside = change if subspace is None else subspace.project(change)
        if like is None:
            return wide + inside
        norm = inside.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(wide.dtype).tiny)
        return wide + inside * (like.project(change).norm(dim=-1, keepdim=True) / norm)

    return _with_vectors(site, layer, source, fn, positions, rows, "the source patched in")


def _with_vectors(
    site: str,
    layer: int,
    x: Float[Tensor, "*prompts width"] | Sequence[Float[Tensor, "n_tokens width"]],
    fn: Callable[[Tensor, Tensor], Tensor],
    positions: Positions,
    rows: slice | None,
    what: str,
) -> Edit:
    """An edit by ``fn(states, x)``.

    x: one vector, or a tensor per prompt. what: the name of x in error messages. The others: see :class:`Edit`.
    """
    by_token = not isinstance(x, Tensor)
    if not all(bool(torch.isfinite(one).all()) for one in ([x] if isinstance(x, Tensor) else x)):
        raise ZkitError(
            f"{what} at {site} of layer {layer} is not finite; look for NaN or infinity in what it was made from"
        )
    if not isinstance(x, Tensor):  # NaN marks tokens beyond the end of a shorter prompt, which have no source
        x = pad_sequence(list(x), batch_first=True, padding_value=torch.nan)
    elif x.dim() > 2:
        raise ZkitError(f"{what} has shape {tuple(x.shape)}; sources for every token are a list, one tensor a prompt")
    if x.dim() == 1:
        return Edit(site, layer, lambda h: fn(h, _fitting(x, h)), positions, rows, sound=True)
    return Edit(site, layer, lambda h, own: fn(h, _fitting(own, h)), positions, rows, x, by_token, sound=True)


def edit(model: Decoder, edits: Sequence[Edit]) -> Block:
    """Apply ``edits`` to every forward pass inside a ``with`` block; edits at the same site apply in list order.

    The block leaves the model unchanged, whatever happens inside, also when Ctrl-C interrupts its opening or closing
    (:mod:`zkit.held`). Compiled models run uncompiled inside it. A block belongs to the thread and the asyncio task
    that open it; others cannot run or edit the model meanwhile.

    Raises ZkitError at once for something else than Edits and for an unknown site or layer; on entry, if another thread
    or task is editing or recording the model; in a forward pass, for rows outside the batch, an ``fn`` that returns
    something else than states, states of another shape, dtype or device, or NaN or infinity for finite states, for
    positions that depend on the end of the prompt where none was declared (:func:`zkit.positions.prompt_width`), and
    for an edit that was not applied because the pass bypassed its module.
    Warns (RuntimeWarning) if the block was never entered, and (UserWarning) at its end if a selector other than
    ``"generated"`` chose no token in any pass.
    """
    if isinstance(edits, Edit) or not all(isinstance(item, Edit) for item in edits):
        raise ZkitError("edit takes a list of Edits, such as [zkit.edits.add(...)]")
    for item in edits:
        model.site(item.site, item.layer)
    return Block(model, edits)


class Block(Hooks):
    """Edits that are in force only inside a ``with`` statement. Made by :func:`edit`."""

    def __init__(self, model: Decoder, edits: Sequence[Edit]) -> None:
        super().__init__()
        self._model = model
        self.go_on_with(edits)
        self._unused = finalize(self, _warn_of_no_use, repr(self))  # not __del__: it loses a signal's exception
        self._unused.atexit = False

    def __enter__(self) -> Self:
        if self.in_force:
            raise ZkitError("these edits are in force already; make them anew for a block inside their own")
        return super().__enter__()

    def __repr__(self) -> str:
        n = sum(map(len, self._groups.values()))
        state = "in force" if self.in_force else "not in force, put it in a `with` statement"
        return f"<block of {n} edits of {self._model.id!r}, {state}>"

    def go_on_with(self, edits: Sequence[Edit]) -> None:
        """Replace the block's edits by ``edits``, at the same sites or fewer, when the rows of the batch change."""
        self._groups: dict[tuple[str, int], list[Edit]] = {}
        for item in edits:
            self._groups.setdefault((item.site, item.layer), []).append(item)

    def _open(self) -> None:
        self._unused.detach()
        if not self._groups:
            return
        hf, decoder = self._model.hf, self._model.decoder
        self._reached: dict[tuple[str, int], int] = {}  # the pass in which the edits of a site were last applied
        self._before = 0
        if hf is not decoder:
            self.before(hf, self._on_model)
            self.after(hf, self._after_model)
        every = [item for group in self._groups.values() for item in group]
        by_row = any(item.rows is not None or item.per_prompt is not None for item in every)
        self._tracker = follow(self, decoder, [item.positions for item in every], by_row)
        self.after(decoder, self._after_decoder)
        for site, layer in self._groups:
            attach(self, self._model.site(site, layer), site, partial(self._act, (site, layer)))

    def _left(self, kind: type[BaseException] | None) -> None:
        if kind is None and self._groups:
            self._warn_of_idle_positions()

    def _act(self, place: tuple[str, int], h: Tensor) -> Tensor:
        self._reached[place] = self._tracker.passes
        return apply(h, self._groups.get(place, []), self._tracker)

    def _on_model(self, *_: object) -> None:
        self._before = self._tracker.passes

    def _after_model(self, *_: object) -> None:
        if self._tracker.passes == self._before:
            raise ZkitError(f"a forward pass of {self._model.id!r} went by the hooks of its decoder: {_REMEDY}")

    def _after_decoder(self, *_: object) -> None:
        """Check at the end of a pass that every edit was applied. A pass that was stopped early is not checked."""
        for site, layer in self._groups:
            if self._reached.get((site, layer)) != self._tracker.passes:
                raise ZkitError(
                    f"the edits at {site} of layer {layer} were not applied in a forward pass of {self._model.id!r}, "
                    f"which went by the hooks there: {_REMEDY}"
                )

    def _warn_of_idle_positions(self) -> None:
        for positions, chose in self._tracker.chose.items():
            if positions.kind != "generated" and not bool(chose):
                warnings.warn(
                    f"{positions} chose no token in any forward pass of this block, so its edits changed nothing; "
                    "positions count the tokens of each row from 0, and the first is chosen with first_token=True only",
                    UserWarning,
                    stacklevel=4,
                )


def _warn_of_no_use(block: str) -> None:
    warnings.warn(f"nothing was edited: {block} was thrown away", RuntimeWarning, stacklevel=3)


_REMEDY = (
    "something calls its modules' `forward` instead of the modules, or has put other code in their place; load the "
    "model anew with zkit.load"
)


def check_unedited(model: Decoder, what: str) -> None:
    """Raise ZkitError inside a block that edits the model: a copy made there would keep the edits."""
    if trackers(model.decoder):
        raise ZkitError(
            f"{what} copies the model, and the copy would keep the edits in force; call it outside the block"
        )


def _fitting(x: Float[Tensor, "*prompts width"], h: Float[Tensor, "rows seq width"]) -> Tensor:
    """x on the device of the states, in a shape that can be added to them."""
    if x.shape[-1] != h.shape[-1]:
        raise ZkitError(
            f"a vector of shape {tuple(x.shape)} does not fit states of shape {tuple(h.shape)} (rows, tokens, width); "
            "was it made from another model?"
        )
    x = x.to(h.device)
    return x.unsqueeze(1) if x.dim() == 2 else x


def apply(h: Float[Tensor, "batch seq width"], group: list[Edit], tracker: Tracker) -> Tensor:
    """The states of one site after all edits there. Raises ZkitError for states that are not [rows, tokens, width] of
    the running pass, rows outside the batch, and an `fn` that returns another shape, dtype or device.
    """
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
        if not own:  # the module's own output is not written into
            out, own = out.clone(), True
        out[item.rows] = _kept(item, out[item.rows], chosen if chosen is True else chosen[item.rows], tracker)
    return out


def _kept(item: Edit, part: Float[Tensor, "rows seq width"], chosen: Tensor | bool, tracker: Tracker) -> Tensor:
    """The states with the edit applied at the ``chosen`` tokens only."""
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
    """The edit's tensors for the tokens in the running pass. Raises ZkitError if a chosen token has none."""
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
    """Raise ZkitError unless the result of an ``fn`` can replace the states."""
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
