"""Which tokens an edit or a recording applies to.

Positions count the real tokens of a row from 0, whatever the padding. The first token often carries the attention sink,
so every selector leaves it out unless ``first_token=True``. Every selector is an interval [low, high) that may depend
on the length of the row's prompt, so it means the same with and without the KV cache and padding.
"""

from __future__ import annotations

from asyncio import current_task
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from inspect import signature
from threading import get_ident
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from zkit.errors import ZkitError
from zkit.held import Held
from zkit.hooks import Hooks, acting_before

_END = 1 << 40


@dataclass(frozen=True)
class Positions:
    """A selector of tokens; make one with :func:`parse`, :func:`last`, :func:`span` or :func:`inner`."""

    kind: Literal["all", "prompt", "generated", "last", "span", "inner"]
    start: int = 0
    stop: int = 0
    first_token: bool = False

    def bounds(self, prompt: Int[Tensor, "*batch"]) -> tuple[Int[Tensor, "*batch"], Int[Tensor, "*batch"]]:
        """The interval [low, high) of positions, given each row's prompt length in tokens."""
        zero, end = torch.zeros_like(prompt), torch.full_like(prompt, _END)
        low, high = {
            "all": (zero, end),
            "prompt": (zero, prompt),
            "generated": (prompt, end),
            "last": (prompt - self.stop, prompt),
            "span": (zero + self.start, zero + self.stop),
            "inner": (zero + self.start, prompt - self.stop),
        }[self.kind]
        return (low if self.first_token else low.clamp(min=1)), high


def last(k: int, first_token: bool = False) -> Positions:
    """Select the last ``k`` tokens of the prompt. Raises ZkitError unless k >= 1."""
    if k < 1:
        raise ZkitError(f"last({k}) selects no token; k must be at least 1")
    return Positions("last", stop=k, first_token=first_token)


def span(start: int, stop: int, first_token: bool = False) -> Positions:
    """Select tokens ``start`` to ``stop - 1`` of the row, prompt and answer alike, counted from its first real token.

    Raises ZkitError for an empty or negative span, and for span(0, 1) without ``first_token=True``.
    """
    if not (0 <= start < stop and (stop > 1 or first_token)):
        raise ZkitError(
            f"span({start}, {stop}) selects no token; use 0 <= start < stop, and first_token=True for token 0"
        )
    return Positions("span", start, stop, first_token)


def inner(before: int, after: int, first_token: bool = False) -> Positions:
    """Select the prompt without its first ``before`` and its last ``after`` tokens, such as those of a chat template.

    Raises ZkitError for a negative number.
    """
    if before < 0 or after < 0:
        raise ZkitError(f"inner({before}, {after}) leaves out a negative number of tokens; give two counts from 0")
    return Positions("inner", before, after, first_token)


def parse(positions: str | Positions, first_token: bool = False) -> Positions:
    """Turn ``"all"``, ``"prompt"``, ``"generated"``, ``"last"`` or a Positions into a Positions.

    With ``first_token=True`` the selector includes the first token if its interval does. Raises ZkitError for any other
    word.
    """
    if isinstance(positions, Positions):
        return replace(positions, first_token=positions.first_token or first_token)
    if positions == "last":
        return last(1, first_token)
    if positions in ("all", "prompt", "generated"):
        return Positions(positions, first_token=first_token)  # type: ignore[arg-type]
    raise ZkitError(
        f"unknown positions {positions!r}; use 'all', 'prompt', 'generated', 'last', "
        "zkit.positions.last(k), zkit.positions.span(start, stop) or zkit.positions.inner(before, after)"
    )


class Tracker:
    """A forward pre-hook on a decoder that tracks the position of each token of the running forward pass.

    It belongs to the thread and the asyncio task that made it, and refuses forward passes of others. The first columns
    of a batch, up to the declared width (:func:`prompt_width`), are the prompt, the others are generated.
    selectors: those of the edits it is used for. by_row: whether any of these names rows or has a vector per prompt.
    """

    def __init__(self, selectors: Sequence[Positions] = (), by_row: bool = False) -> None:
        self.selectors, self.by_row = tuple(selectors), by_row
        self.owner = _here()
        self.passes = 0
        """Forward passes that have begun."""
        self.shape = (0, 0)
        """Rows and tokens of the running forward pass."""
        self.chose: dict[Positions, Tensor | bool] = {}
        """For every selector that was used, whether it has chosen a token in any pass."""
        self._past = 0
        self._width: int | None = None
        self._lengths: Int[Tensor, "#batch 1"] | None = None
        self._mask = torch.ones(0, 0)
        self._selected: dict[Positions, Bool[Tensor, "batch seq"]] = {}

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if _here() != self.owner:
            raise ZkitError(
                "this model is being edited or recorded by another thread or task, whose edits would act on this "
                "forward pass too; let each have a model of its own, or wait until the block of the other is closed"
            )
        named = {**signature(module.forward).bind_partial(*args).arguments, **kwargs} if args else kwargs
        tokens = named["input_ids"] if named.get("input_ids") is not None else named["inputs_embeds"]
        mask, cache = named.get("attention_mask"), named.get("past_key_values")
        if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
            raise ZkitError(
                "edits and recordings read the two-dimensional attention mask, and this forward pass has another kind "
                "(a static or compiled cache makes one); use the default cache"
            )
        self.shape = (tokens.shape[0], tokens.shape[1])
        self._past = 0 if cache is None else int(cache.get_seq_length())
        total = self._past + self.shape[1]
        if mask is None:
            mask = torch.ones(self.shape[0], total, dtype=torch.long, device=tokens.device)
        elif mask.shape[1] < total or (cache is None and mask.shape[1] > total):
            raise ZkitError(
                f"the attention mask has {mask.shape[1]} columns for {total} tokens, those in the cache included; give "
                "it one column for each token"
            )
        self._mask = mask
        here = [item for item in _declared.get() if item.decoder is module and item.in_force]
        self._width, self._lengths = (here[-1].width, here[-1].lengths) if here else (None, None)
        self._selected = {}
        self.passes += 1

    @property
    def batch(self) -> int:
        """Rows in the running forward pass."""
        return self.shape[0]

    def select(self, positions: Positions) -> Bool[Tensor, "batch seq"] | bool:
        """The chosen tokens of the running forward pass; True or False if it is known to be all or none of them."""
        if positions.kind not in ("all", "span"):
            if self._width is None:
                raise ZkitError(
                    f"positions {positions.kind!r} need to know where the prompt ends, and nothing said so; use "
                    "Model.generate, or wrap the call in zkit.positions.prompt_width(model.decoder, columns)"
                )
            if positions.kind != "generated" and self._past >= self._width > 0:
                self.chose.setdefault(positions, False)
                return False
        if positions.kind != "span" and self.shape[1] == 1 and self._past >= (self._width or _END):
            self.chose[positions] = True
            return True
        if positions not in self._selected:
            chosen = self._selected[positions] = self._compute(positions)
            self.chose[positions] = self.chose.get(positions, False) | chosen.any()
        return self._selected[positions]

    def places(self) -> Int[Tensor, "batch seq"]:
        """The position of each token of the running forward pass in its row, counted from 0 at the first real one."""
        return (self._mask.cumsum(1) - 1)[:, self._past : self._past + self.shape[1]]

    def _compute(self, positions: Positions) -> Bool[Tensor, "batch seq"]:
        now, width = slice(self._past, self._past + self.shape[1]), self._width or 0
        place = self.places()
        lengths = self._lengths
        if lengths is None:
            to_come = max(0, width - self._mask.shape[1])  # columns of the prompt in later passes: all are real
            lengths = self._mask[:, :width].sum(1, keepdim=True) + to_come
        low, high = positions.bounds(lengths)
        return (place >= low) & (place < high) & self._mask[:, now].bool()


def trackers(decoder: nn.Module) -> list[Tracker]:
    """The trackers that are in force on ``decoder``, in the order in which they were added."""
    return [act for act in acting_before(decoder) if isinstance(act, Tracker)]


def follow(block: Hooks, decoder: nn.Module, selectors: Sequence[Positions] = (), by_row: bool = False) -> Tracker:
    """Put a Tracker on ``decoder`` while ``block`` is open. ZkitError if another thread or task has one there."""
    tracker = Tracker(selectors, by_row)
    block.before(decoder, tracker)
    if any(other.owner != tracker.owner for other in trackers(decoder)):
        raise ZkitError(
            "another thread or task is editing or recording this model; let each have a model of its own, or "
            "wait until the block of the other is closed"
        )
    return tracker


class prompt_width(Held):
    """Declare that the first ``width`` columns of a batch, padding included, are the prompt.

    It holds for every forward pass of ``decoder`` inside the block, whatever is in the cache. Without it the width is
    never guessed, because a prompt may be read in several passes, or together with the first tokens of its answer.
    lengths: number of tokens of each row's whole prompt, if the batch holds only the beginning of it. Raises ZkitError
    if ``decoder`` is not a module (pass ``model.decoder``) or ``width`` is not a whole number of at least 0.
    """

    def __init__(self, decoder: nn.Module, width: int, lengths: Int[Tensor, "#batch 1"] | None = None) -> None:
        if not isinstance(decoder, nn.Module) or isinstance(width, bool) or not isinstance(width, int) or width < 0:
            raise ZkitError(
                f"prompt_width takes model.decoder and a number of columns, got {type(decoder).__name__} and {width!r}"
            )
        self.decoder, self.width, self.lengths = decoder, width, lengths

    def _open(self) -> None:
        _declared.set((*_declared.get(), self))

    def _close(self) -> None:
        _declared.set(tuple(item for item in _declared.get() if item is not self and item.in_force))


_declared: ContextVar[tuple[prompt_width, ...]] = ContextVar("_declared", default=())


def _here() -> tuple[int, Any]:
    """The thread and the asyncio task that run this."""
    try:
        return get_ident(), current_task()
    except RuntimeError:  # no loop runs in this thread
        return get_ident(), None
