"""Which tokens an edit or a recording touches.

Positions count the real tokens of a row from 0, whatever the padding; the first one often carries the attention sink,
so every selector leaves it out unless ``first_token=True``. Every selector is an interval [low, high) that may depend
on the length of the row's prompt, which is why it means the same with and without the KV cache and padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from zkit.errors import ZkitError

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
    """The last ``k`` tokens of the prompt. Raises ZkitError unless k >= 1."""
    if k < 1:
        raise ZkitError(f"last({k}) selects no token; k must be at least 1")
    return Positions("last", stop=k, first_token=first_token)


def span(start: int, stop: int, first_token: bool = False) -> Positions:
    """Tokens ``start`` to ``stop - 1``, counted from 0 at the first real token of the row, prompt and answer alike.

    Raises ZkitError for an empty or negative span, and for span(0, 1) without ``first_token=True``.
    """
    if not (0 <= start < stop and (stop > 1 or first_token)):
        raise ZkitError(
            f"span({start}, {stop}) selects no token; use 0 <= start < stop, and first_token=True for token 0"
        )
    return Positions("span", start, stop, first_token)


def inner(before: int, after: int, first_token: bool = False) -> Positions:
    """The prompt without its first ``before`` and its last ``after`` tokens, such as those of a chat template.

    Raises ZkitError for a negative number.
    """
    if before < 0 or after < 0:
        raise ZkitError(f"inner({before}, {after}) leaves out a negative number of tokens; give two counts from 0")
    return Positions("inner", before, after, first_token)


def parse(positions: str | Positions, first_token: bool = False) -> Positions:
    """Turn ``"all"``, ``"prompt"``, ``"generated"``, ``"last"`` or a Positions into a Positions.

    ``first_token=True`` lets the selector have the first token where it covers it. Raises ZkitError for another word.
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
    """A forward pre-hook on the decoder that follows where each token of the running forward pass stands.

    Columns of a batch left of ``width`` are prompt, the others generated. Unless declared (see :func:`prompt_width`)
    the width is that of the last forward pass that started without a cache. ``selectors`` are those of the edits in
    force; ``by_row`` says whether some of these speak of single rows of the batch.
    """

    def __init__(self, selectors: Sequence[Positions] = (), by_row: bool = False) -> None:
        self.selectors = tuple(selectors)
        self.by_row = by_row
        self.declared: int | None = None
        self.lengths: Int[Tensor, "#batch 1"] | None = None
        self._width = 0
        self._past = 0
        self._mask: Tensor | None = None
        self._shape = (0, 0)
        self._device = torch.device("cpu")
        self._uncached = False
        self._selected: dict[Positions, Bool[Tensor, "batch seq"]] = {}

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        tokens = next(x for x in (kwargs.get("input_ids"), kwargs.get("inputs_embeds"), *args) if isinstance(x, Tensor))
        mask, cache = kwargs.get("attention_mask"), kwargs.get("past_key_values")
        if mask is not None and (not isinstance(mask, Tensor) or mask.dim() != 2):
            raise ZkitError(
                "edits and recordings read the two-dimensional attention mask, and this forward pass has another kind "
                "(a static or compiled cache makes one); use the default cache"
            )
        self._shape, self._device, self._mask = (tokens.shape[0], tokens.shape[1]), tokens.device, mask
        cached = cache.get_seq_length() if cache is not None else 0
        self._past = mask.shape[1] - self._shape[1] if mask is not None else cached
        self._uncached = kwargs.get("use_cache") is False
        if self.declared is not None:
            self._width = self.declared
        elif self._past == 0:
            self._width = self._shape[1]
        self._selected = {}

    @property
    def batch(self) -> int:
        """Rows in the running forward pass."""
        return self._shape[0]

    def select(self, positions: Positions) -> Bool[Tensor, "batch seq"] | bool:
        """The chosen tokens of the running forward pass; True or False where it is plainly all or none of them."""
        unknown = self.declared is None and (self._uncached or self._width == 0)
        if unknown and positions.kind in ("prompt", "generated", "last", "inner"):
            raise ZkitError(
                f"positions {positions.kind!r} need to know where the prompt ends, and a forward pass without a cache, "
                "or with one filled before the block, does not say; use Model.generate, or wrap the call in "
                "zkit.positions.prompt_width"
            )
        if self._past >= self._width > 0 and positions.kind != "span":
            return positions.kind in ("all", "generated")
        if positions not in self._selected:
            self._selected[positions] = self._compute(positions)
        return self._selected[positions]

    def _compute(self, positions: Positions) -> Bool[Tensor, "batch seq"]:
        batch, seq = self._shape
        mask = self._mask
        if mask is None:
            mask = torch.ones(batch, self._past + seq, dtype=torch.long, device=self._device)
        place = (mask.cumsum(1) - 1)[:, self._past :]
        lengths = mask[:, : self._width].sum(1, keepdim=True) if self.lengths is None else self.lengths
        low, high = positions.bounds(lengths)
        return (place >= low) & (place < high) & mask[:, self._past :].bool()


def in_force(decoder: nn.Module) -> list[Tracker]:
    """The trackers of the edits on ``decoder``, the outermost block first."""
    return [hook for hook in decoder._forward_pre_hooks.values() if isinstance(hook, Tracker)]


@contextmanager
def prompt_width(decoder: nn.Module, width: int, lengths: Int[Tensor, "#batch 1"] | None = None) -> Iterator[None]:
    """Declare to every edit on ``decoder`` that the first ``width`` columns of the batch are of the prompt.

    ``lengths``: how many tokens each row's prompt has, where these columns are only the beginning of it.
    """
    trackers = in_force(decoder)
    before = [(tracker.declared, tracker.lengths) for tracker in trackers]
    for tracker in trackers:
        tracker.declared, tracker.lengths = width, lengths
    try:
        yield
    finally:
        for tracker, kept in zip(trackers, before, strict=True):
            tracker.declared, tracker.lengths = kept
