"""Read prompts into the model's cache, what rows have in common only once.

The columns of a batch are ``[beginning | padding | rest]``; the attention mask says what is real, and positions are
counted along it, so padding in the middle changes nothing. A beginning is shared between arms only where no edit of an
arm touches it, and between rows only where the edits in force choose the same of its tokens in every row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from zkit.edits import Edit, edit
from zkit.packing import OVERHEAD
from zkit.positions import Positions, prompt_width, trackers

if TYPE_CHECKING:
    from zkit.models import Model

Ids = list[int]


@dataclass(frozen=True)
class Reading:
    """What the rows of a batch have read, int64 [rows, columns] and the mask of real tokens, and the model's cache."""

    ids: Int[Tensor, "rows columns"]
    mask: Int[Tensor, "rows columns"]
    cache: Any = None

    def picked(self, rows: Sequence[int]) -> Reading:
        """A copy of these rows, each as often as it is named."""
        cache = self.cache
        if cache is not None:
            cache = copy.copy(cache)
            cache.layers = [copy.copy(layer) for layer in cache.layers]
        return Reading(self.ids, self.mask, cache).kept(rows)

    def kept(self, rows: Sequence[int]) -> Reading:
        """These rows; the cache gives up the others."""
        index = torch.tensor(rows, device=self.ids.device)
        if self.cache is not None:
            self.cache.batch_select_indices(index)
        return Reading(self.ids[index], self.mask[index], self.cache)


def blank(model: Model, rows: int, cached: bool = True) -> Reading:
    """Rows that have read nothing; without a cache everything is computed again in each pass."""
    none = torch.zeros(rows, 0, dtype=torch.long, device=model.device)
    return Reading(none, none, DynamicCache(config=model.hf.config) if cached else None)


def padded(model: Model, rows: Sequence[Ids], left: bool) -> Reading:
    """Rows of tokens as a rectangle, padded on one side."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), model.tokenizer.pad_token_id)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return Reading(ids.to(model.device), mask.to(model.device))


def read(
    model: Model, so_far: Reading, new: Reading, distributions: int
) -> tuple[Reading, Float[Tensor, "rows distributions vocab"] | None]:
    """One forward pass over new columns; the logits of the last few of them, or None where none are asked for."""
    ids, mask = torch.cat((so_far.ids, new.ids), 1), torch.cat((so_far.mask, new.mask), 1)
    fed = new.ids.shape[1] if so_far.cache is not None else ids.shape[1]
    given: dict[str, Any] = {
        "input_ids": ids[:, -fed:],
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, -fed:],
        "past_key_values": so_far.cache,
        "use_cache": so_far.cache is not None,
    }
    with torch.no_grad():
        if not distributions:
            model.decoder(**given)
            return Reading(ids, mask, so_far.cache), None
        # An index copies the columns; transformers' slice is a view that the head, on a CPU, multiplies by a copy of
        # the output matrix for every row of the batch (18 GiB at 56 rows of Qwen3-0.6B).
        logits = model.hf(**given, logits_to_keep=torch.arange(-distributions, 0, device=ids.device)).logits
    return Reading(ids, mask, so_far.cache), logits


def reusable(model: Model) -> bool:
    """Whether a beginning can be read once for rows of different lengths.

    Not where attention slides over columns (padding in the middle would count), where a cache cannot be cut, and where
    the rotation of a position depends on how much has been read.
    """
    cache, rotary = DynamicCache(config=model.hf.config), getattr(model.decoder, "rotary_emb", None)
    kinds = getattr(rotary, "rope_type", "default")
    grows = any(kind == "longrope" or "dynamic" in kind for kind in ([kinds] if isinstance(kinds, str) else kinds))
    cut = all(getattr(layer, "is_croppable", False) for layer in cache.layers)
    return cut and not any(cache.is_sliding) and not grows


@dataclass(frozen=True)
class Plan:
    """How many tokens of the prompts are read before the rows part: ``shared`` once for all rows, ``each[i]`` (these
    included) once for all arms of prompt i; or else ``own``, once by each arm for all prompts."""

    shared: int
    each: tuple[int, ...]
    own: int


def plan(prompts: Sequence[Ids], arms: Sequence[Sequence[Edit]], edits_in_force: Iterable[Positions] = ()) -> Plan:
    """The plan that saves most; a pass more must save more than it costs."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    every, rows = [item for arm in arms for item in arm], len(prompts) * len(arms)
    common = min(_common(prompts), int(lengths.min()) - 1)
    common = _alike(edits_in_force, lengths, common)
    free = lengths - 1
    for item in every:
        low, high = item.positions.bounds(lengths)
        free = torch.where(low < high, torch.minimum(free, low), free)
    shared = min(common, int(free.min()))
    shared = shared if shared * (rows - 1) > OVERHEAD else 0
    apart = int((free - shared).sum()) * (len(arms) - 1)
    each = free.tolist() if apart > OVERHEAD else [shared] * len(prompts)
    saved = shared * (rows - 1) + (apart if apart > OVERHEAD else 0)
    own = _alike((item.positions for item in every), lengths, common)
    for item in every:
        if item.n_prompts is not None:  # its values differ between rows
            low, high = item.positions.bounds(lengths)
            own = min(own, int(torch.where(low < high, low, own).min()))
    if own * (rows - len(arms)) > max(saved, OVERHEAD):
        return Plan(0, (0,) * len(prompts), own)
    return Plan(shared, tuple(each), 0)


def _common(rows: Sequence[Ids]) -> int:
    """Length of the beginning that all rows share."""
    one, other = min(rows), max(rows)  # in the order of a dictionary: the two that part first
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _alike(selectors: Iterable[Positions], lengths: Int[Tensor, " rows"], most: int) -> int:
    """The longest beginning, up to ``most`` tokens, of which the selectors choose the same tokens in every row."""
    for positions in selectors:
        for bound in positions.bounds(lengths):
            if bool((bound != bound[0]).any()):
                most = min(most, int(bound.min()))
    return max(most, 0)


def read_shared(model: Model, prompts: Sequence[Ids], planned: Plan) -> tuple[Reading, list[int]] | None:
    """The beginnings that arms share, and the row of the reading that belongs to each prompt; None without any."""
    if not any(planned.each):
        return None
    reading, owners = blank(model, 1), [0] * len(prompts)
    if planned.shared:
        reading = _read_beginning(model, reading, [prompts[0][: planned.shared]], [len(prompts[0])])
    if max(planned.each) > planned.shared:
        parts = [prompt[planned.shared : end] for prompt, end in zip(prompts, planned.each, strict=True)]
        reading = reading.picked(owners) if planned.shared else blank(model, len(prompts))
        reading = _read_beginning(model, reading, parts, [len(prompt) for prompt in prompts])
        owners = list(range(len(prompts)))
    return reading, owners


def read_own(model: Model, prompts: Sequence[Ids], arms: Sequence[Sequence[Edit]], planned: Plan) -> Reading | None:
    """The beginning that all prompts share, as each arm edits it: a row for each arm. None without one."""
    if not planned.own:
        return None
    length = torch.tensor([len(prompts[0])])
    edits = []
    for a, arm in enumerate(arms):
        for item in arm:
            low, high = item.positions.bounds(length)
            if low < min(int(high), planned.own):  # those with a vector per prompt do not reach so far
                edits.append(replace(item, rows=slice(a, a + 1)))
    rows = [prompts[0][: planned.own]] * len(arms)
    with edit(model, edits):
        return _read_beginning(model, blank(model, len(arms)), rows, [len(prompts[0])] * len(arms))


def spent(item: Edit, prompts: Sequence[Ids], n_read: int) -> bool:
    """Whether all that an edit had to do lay in the first ``n_read`` tokens."""
    low, high = item.positions.bounds(torch.tensor([len(prompt) for prompt in prompts]))
    return n_read > 0 and bool(((low < high) & (high <= n_read)).all())


def _read_beginning(model: Model, so_far: Reading, rows: Sequence[Ids], lengths: Sequence[int]) -> Reading:
    """Read the beginnings of prompts that have ``lengths`` tokens in all."""
    new = padded(model, rows, left=True)
    width = so_far.ids.shape[1] + new.ids.shape[1]
    ends = torch.tensor(lengths, device=model.device).unsqueeze(1)
    with prompt_width(model.decoder, width, ends):
        return read(model, so_far, new, 0)[0]


def selectors_in_force(model: Model) -> list[Positions]:
    return [positions for tracker in trackers(model.decoder) for positions in tracker.selectors]
