"""Read prompts into the model's cache; beginnings that rows have in common are read once.

The columns of a batch are ``[beginning | padding | rest]``. The attention mask marks the real tokens, and positions are
counted along it, so padding in the middle has no effect. A beginning is shared between arms only if no edit of an arm
changes it, and between rows only if the edits in force choose the same of its tokens in every row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from zkit.decoder import Decoder
from zkit.edits import Edit, edit
from zkit.errors import ZkitError
from zkit.held import no_grad
from zkit.hooks import Hooks
from zkit.packing import OVERHEAD
from zkit.positions import Positions, prompt_width, trackers

Ids = list[int]


@dataclass(frozen=True)
class Reading:
    """The tokens that the rows of a batch have read (int64), the mask of real tokens (int64), and the model's cache."""

    ids: Int[Tensor, "rows columns"]
    mask: Int[Tensor, "rows columns"]
    cache: Any = None

    def picked(self, rows: Sequence[int]) -> Reading:
        """A copy of these rows; a row may be named several times."""
        cache = self.cache
        if cache is not None:
            cache = copy.copy(cache)
            cache.layers = [copy.copy(layer) for layer in cache.layers]
        return Reading(self.ids, self.mask, cache).kept(rows)

    def kept(self, rows: Sequence[int]) -> Reading:
        """Only these rows. The cache is not copied: the other rows are removed from it."""
        index = torch.tensor(rows, device=self.ids.device)
        if self.cache is not None:
            self.cache.batch_select_indices(index)
        return Reading(self.ids[index], self.mask[index], self.cache)


def blank(model: Decoder, rows: int, cached: bool = True) -> Reading:
    """Rows that have read nothing. ``cached``: whether they get a cache; else each pass computes everything again."""
    none = torch.zeros(rows, 0, dtype=torch.long, device=model.device)
    return Reading(none, none, DynamicCache(config=model.hf.config) if cached else None)


def padded(model: Decoder, rows: Sequence[Ids], left: bool) -> Reading:
    """Rows of tokens padded to one length, on the ``left`` or on the right."""
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), model.tokenizer.pad_token_id)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(len(row))
        ids[i, place] = torch.tensor(row, dtype=torch.long)
        mask[i, place] = 1
    return Reading(ids.to(model.device), mask.to(model.device))


def joined(parts: Sequence[Reading]) -> Reading:
    """The rows of all parts, one part after the other, padded on the left to the same number of columns. The cache of
    the first part is extended and used."""
    more = [max(part.ids.shape[1] for part in parts) - part.ids.shape[1] for part in parts]

    def stacked(name: str, layer: int) -> Tensor:
        rows = (getattr(part.cache.layers[layer], name) for part in parts)
        return torch.cat([pad(x, (0, 0, by, 0)) for x, by in zip(rows, more, strict=True)])

    ids, mask = (
        torch.cat([pad(x, (by, 0)) for x, by in zip(columns, more, strict=True)])
        for columns in ([part.ids for part in parts], [part.mask for part in parts])
    )
    cache = parts[0].cache
    for i, layer in enumerate(cache.layers):
        layer.keys, layer.values = stacked("keys", i), stacked("values", i)
    return Reading(ids, mask, cache)


def read(
    model: Decoder, so_far: Reading, new: Reading, wanted: Bool[Tensor, "rows columns"] | None
) -> tuple[Reading, Float[Tensor, "wanted vocab"] | None]:
    """One forward pass over new columns; returns the reading, and the logits after the ``wanted`` ones, row by row.

    Without ``wanted`` there are no logits (None). Raises ZkitError for a model that does not compute its logits by its
    output embeddings.
    """
    ids, mask = torch.cat((so_far.ids, new.ids), 1), torch.cat((so_far.mask, new.mask), 1)
    fed = new.ids.shape[1] if so_far.cache is not None else ids.shape[1]
    given: dict[str, Any] = {
        "input_ids": ids[:, -fed:],
        "attention_mask": mask,
        "position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, -fed:],
        "past_key_values": so_far.cache,
        "use_cache": so_far.cache is not None,
    }
    with no_grad():
        if wanted is None:
            model.decoder(**given)
            return Reading(ids, mask, so_far.cache), None
        places = pad(wanted, (fed - wanted.shape[1], 0))

        def pick(_: Any, states: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
            return (states[0][places.to(states[0].device)].unsqueeze(0), *states[1:]), options

        # The output matrix is large, often a third of the model, so only the states of wanted tokens are multiplied.
        with Hooks(always=False) as hooks:
            hooks.before(model.hf.get_output_embeddings(), pick)
            logits = model.hf(**given).logits
    if logits.shape[:-1] != (1, int(wanted.sum())):
        raise ZkitError(
            f"{model.id} computes its logits by another way than its output embeddings: asked for "
            f"{int(wanted.sum())} distributions, got logits of shape {tuple(logits.shape)}; zkit cannot score it"
        )
    return Reading(ids, mask, so_far.cache), logits[0]


def last_column(new: Reading) -> Bool[Tensor, "rows columns"]:
    """A mask that marks the last column of every row."""
    wanted = torch.zeros_like(new.mask, dtype=torch.bool)
    wanted[:, -1] = True
    return wanted


def reusable(model: Decoder) -> bool:
    """Whether a beginning can be read once for rows of different lengths.

    It cannot with sliding-window attention (padding in the middle would count), with a cache that cannot be cropped,
    and with rotary embeddings that depend on the number of tokens read.
    """
    cache, rotary = DynamicCache(config=model.hf.config), getattr(model.decoder, "rotary_emb", None)
    kinds = getattr(rotary, "rope_type", "default")
    grows = any(kind == "longrope" or "dynamic" in kind for kind in ([kinds] if isinstance(kinds, str) else kinds))
    cut = all(getattr(layer, "is_croppable", False) for layer in cache.layers)
    return cut and not any(cache.is_sliding) and not grows


@dataclass(frozen=True)
class Beginnings:
    """What is read before rows differ.

    Prompt i begins with the shared beginning number ``of[i]``, of ``beginnings[of[i]]`` tokens, which is read once for
    all prompts that share it: once for all arms, or, with ``by_arm``, once for each arm. The first ``each[i]`` tokens
    of prompt i, its shared beginning included, are read before the rest, without ``by_arm`` once for all arms.
    """

    of: tuple[int, ...]
    beginnings: tuple[int, ...]
    each: tuple[int, ...]
    by_arm: bool = False


def nothing(n: int) -> Beginnings:
    """The plan for n prompts in which nothing is shared."""
    return Beginnings((0,) * n, (0,), (0,) * n)


def plan(
    prompts: Sequence[Ids], arms: Sequence[Sequence[Edit]], edits_in_force: Iterable[Positions] = ()
) -> Beginnings:
    """The plan that saves most tokens; an additional pass is planned only if it saves more than its fixed cost."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    every, n = [item for arm in arms for item in arm], len(prompts)
    alike = _alike(edits_in_force, lengths)
    free = lengths - 1
    for item in every:
        free = torch.minimum(free, _first_touched(item, lengths))
    of, ends, saved = shared_beginnings(prompts, torch.minimum(free, alike).tolist())
    saved *= len(arms)  # approximately: a beginning is read once for all arms
    if saved <= OVERHEAD:
        of, ends, saved = nothing(n).of, nothing(n).beginnings, 0
    start = [ends[k] for k in of]
    apart = (int(free.sum()) - sum(start)) * (len(arms) - 1)
    each = free.tolist() if apart > OVERHEAD else start
    saved += apart if apart > OVERHEAD else 0
    alike = torch.minimum(alike, _alike((item.positions for item in every), lengths))
    for item in every:
        if item.n_prompts is not None:  # its values differ between rows
            alike = torch.minimum(alike, _first_touched(item, lengths))
    own, own_ends, own_saved = shared_beginnings(prompts, torch.minimum(lengths - 1, alike).tolist())
    if own_saved * len(arms) > max(saved, OVERHEAD):
        return Beginnings(tuple(own), tuple(own_ends), tuple(own_ends[k] for k in own), by_arm=True)
    return Beginnings(tuple(of), tuple(ends), tuple(each))


def shared_beginnings(rows: Sequence[Ids], most: Sequence[int]) -> tuple[Sequence[int], Sequence[int], int]:
    """Group rows by common beginnings so that reading each beginning once saves most. Returns the group of each row,
    the length of each group's beginning (at most ``most[i]`` for row i), and the number of tokens saved."""
    order = sorted(range(len(rows)), key=lambda i: rows[i])
    common = [_common(rows[a], rows[b]) for a, b in pairwise(order)]
    best: list[tuple[int, int, int]] = [(0, 0, 0)]  # per row: tokens saved so far, start and length of its group
    for end in range(1, len(order) + 1):
        length = most[order[end - 1]]
        found = (best[end - 1][0], end - 1, 0)
        for start in range(end - 2, -1, -1):
            length = min(length, common[start], most[order[start]])
            if length == 0:
                break
            found = max(found, (best[start][0] + (end - start - 1) * length, start, length))
        best.append(found)
    of, end = [0] * len(rows), len(order)
    ends: list[int] = []
    while end:
        _, start, length = best[end]
        for i in order[start:end]:
            of[i] = len(ends)
        ends.append(length)
        end = start
    return of, ends, best[-1][0]


def _common(one: Ids, other: Ids) -> int:
    """Length of the common beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _first_touched(item: Edit, lengths: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """The first token of each row that an edit changes, or the row's length if it changes none of the prompt."""
    low, high = item.positions.bounds(lengths)
    return torch.where(low < high, torch.minimum(low, lengths), lengths)


def _alike(selectors: Iterable[Positions], lengths: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """For each row the length of a beginning in which the selectors choose the same tokens in every row."""
    most = lengths
    for positions in selectors:
        for bound in positions.bounds(lengths):
            if bool((bound != bound[0]).any()):
                most = torch.minimum(most, bound.clamp(min=0))
    return most


def read_shared(model: Decoder, prompts: Sequence[Ids], planned: Beginnings) -> tuple[Reading, list[int]] | None:
    """Read the beginnings that arms share; returns the reading and each prompt's row in it, or None without any."""
    if planned.by_arm or not any(planned.each):
        return None
    n, owners, reading = len(planned.beginnings), list(planned.of), None
    if any(planned.beginnings):
        firsts = [prompts[planned.of.index(k)] for k in range(n)]
        reading = _read_beginnings(model, blank(model, n), firsts, [0] * n, planned.beginnings)
    starts = [planned.beginnings[k] for k in planned.of]
    if list(planned.each) != starts:
        reading = blank(model, len(prompts)) if reading is None else reading.picked(owners)
        reading = _read_beginnings(model, reading, prompts, starts, planned.each)
        owners = list(range(len(prompts)))
    assert reading is not None
    return reading, owners


def read_own(
    model: Decoder, prompts: Sequence[Ids], arms: Sequence[Sequence[Edit]], planned: Beginnings
) -> Reading | None:
    """Read the beginnings that prompts share, under each arm's edits: a row for each arm and beginning, or None."""
    if not planned.by_arm:
        return None
    n, ends = len(planned.beginnings), torch.tensor(planned.beginnings)
    firsts = [prompts[planned.of.index(k)] for k in range(n)]
    lengths = torch.tensor([len(prompt) for prompt in firsts])
    edits = [  # those with a vector per prompt change only later tokens
        replace(item, rows=slice(a * n, (a + 1) * n))
        for a, arm in enumerate(arms)
        for item in arm
        if bool((_first_touched(item, lengths) < ends).any())
    ]
    with edit(model, edits):
        return _read_beginnings(
            model, blank(model, n * len(arms)), firsts * len(arms), [0] * n * len(arms), planned.beginnings * len(arms)
        )


def spent(item: Edit, prompts: Sequence[Ids], n_read: Sequence[int]) -> bool:
    """Whether an edit changes only tokens that have been read already, the first ``n_read[i]`` of prompt i."""
    low, high = item.positions.bounds(torch.tensor([len(prompt) for prompt in prompts]))
    return bool(((low < high) & (high <= torch.tensor(n_read))).all())


def _read_beginnings(
    model: Decoder, so_far: Reading, prompts: Sequence[Ids], starts: Sequence[int], ends: Sequence[int]
) -> Reading:
    """Read on from ``so_far``: tokens ``starts[i]`` to ``ends[i] - 1`` of prompt i, which are not all of it."""
    parts = [prompt[start:end] for prompt, start, end in zip(prompts, starts, ends, strict=True)]
    new = padded(model, parts, left=True)
    lengths = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)
    with prompt_width(model.decoder, so_far.ids.shape[1] + new.ids.shape[1], lengths):
        return read(model, so_far, new, None)[0]


def selectors_in_force(model: Decoder) -> list[Positions]:
    """The selectors of all edits in force."""
    return [positions for tracker in trackers(model.decoder) for positions in tracker.selectors]
