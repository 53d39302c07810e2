"""Divide rows, arms times prompts, into batches, and read beginnings that rows have in common once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from zkit.decoder import Decoder
from zkit.edits import Edit
from zkit.errors import ZkitError
from zkit.memory import Room
from zkit.packing import OVERHEAD, packed
from zkit.positions import trackers
from zkit.prefill import (
    Ids,
    Reading,
    blank,
    nothing,
    plan,
    read_own,
    read_shared,
    reusable,
    selectors_in_force,
    spent,
)
from zkit.prompts import Prompt, check_prompts

Arms = Sequence[Sequence[Edit]]


@dataclass(frozen=True)
class Batch:
    """Rows that run together, arm after arm: each of ``prompts`` under each of ``arms`` (both are lists of indices).

    ``reading`` holds the tokens that were read already; ``rest`` the remaining tokens of each row's prompt, at least
    one; ``still`` the edits of each arm that can affect these or the tokens that follow them.
    """

    arms: list[int]
    prompts: list[int]
    reading: Reading
    rest: list[Ids]
    still: list[list[Edit]]

    def edits(self, rows: Sequence[int]) -> list[Edit]:
        """The edits for a batch that holds only these ``rows`` of this one, given in ascending order."""
        found: list[Edit] = []
        start, n = 0, len(self.prompts)
        for i, arm in enumerate(self.still):
            mine = [row % n for row in rows if row // n == i]
            stop = start + len(mine)
            if mine:
                where = None if len(mine) == len(rows) else slice(start, stop)
                found += [replace(item.for_prompts(torch.tensor(mine)), rows=where) for item in arm]
            start = stop
        return found


def tokens(model: Decoder, prompts: Sequence[Prompt], chat: bool | Sequence[bool]) -> list[Ids]:
    """The tokens of each prompt. ``chat``: whether to use the chat template, for all prompts or one value for each.

    Raises ZkitError for no prompts, a prompt without a token, a conversation without the chat template, and a list
    ``chat`` of another length.
    """
    found: list[Ids] = [[]] * len(check_prompts(prompts))
    if isinstance(chat, bool):
        chat = [chat] * len(prompts)
    if len(chat) != len(prompts):
        raise ZkitError(f"{len(prompts)} prompts but chat has {len(chat)} entries; give one for each, or one for all")
    for through in set(map(bool, chat)):
        places = [i for i, c in enumerate(chat) if bool(c) == through]
        batch = model.tokenize([prompts[i] for i in places], through)
        for i, row, mask in zip(places, batch["input_ids"].tolist(), batch["attention_mask"].tolist(), strict=True):
            found[i] = row[len(row) - sum(mask) :]  # left-padded
    return found


def check_lengths(model: Decoder, prompts: Sequence[Ids], new: Sequence[int]) -> None:
    """Raise ZkitError if a prompt with its number of ``new`` tokens needs more positions than the model has."""
    limit = model.n_positions
    for i, (prompt, more) in enumerate(zip(prompts, new, strict=True)):
        if limit is not None and len(prompt) + more > limit:
            left = limit - len(prompt)
            raise ZkitError(
                f"prompt {i} has {len(prompt)} tokens{f' and {more} are to follow' if more else ''}, and "
                f"{model.id!r} has positions for {limit}; "
                f"{f'let at most {left} follow' if left > 0 else 'shorten the prompt'}"
            )


def check_arms(model: Decoder, arms: Arms, n_prompts: int) -> None:
    """Raise ZkitError for no arms, an edit at an unknown site or layer, an edit that names rows or has vectors for
    another number of prompts, and edits in force that :func:`check_rows_free` refuses.
    """
    if len(arms) == 0:
        raise ZkitError("the list of arms is empty; give at least one ([] is the model as it is)")
    for item in (item for arm in arms for item in arm):
        model.site(item.site, item.layer)
        if item.rows is not None:
            raise ZkitError("an edit of an arm names rows, but the arms lay out the batch; leave rows=None")
        if item.n_prompts not in (None, n_prompts):
            raise ZkitError(
                f"the edit at {item.site} of layer {item.layer} has vectors for {item.n_prompts} prompts, and there "
                f"are {n_prompts}; give one for each"
            )
    check_rows_free(model)


def check_rows_free(model: Decoder) -> None:
    """Raise ZkitError if an edit in force names rows or has a vector per prompt: rows are rearranged into batches."""
    if any(tracker.by_row for tracker in trackers(model.decoder)):
        raise ZkitError(
            "an edit in force names rows, or has a vector per prompt, but batches are laid out anew here; "
            "give it as an arm, arms=[[edit]]"
        )


def batches(
    model: Decoder,
    prompts: Sequence[Ids],
    arms: Arms,
    room: Room,
    new: Sequence[int],
    distributions: Sequence[int],
    *,
    overhead: float = OVERHEAD,
    cached: bool = True,
    prefix: bool = True,
) -> Iterator[Batch]:
    """Batches in which every prompt occurs once under every arm, with the beginnings that rows share already read.

    room: the limits of a batch, and the memory that a row needs. new: number of tokens that will follow each prompt.
    distributions: number of distributions over the vocabulary that are kept for each prompt.
    overhead: fixed cost of a batch, in tokens (:func:`zkit.packing.packed`).
    cached: whether rows of which nothing was read get an empty cache. prefix: whether shared beginnings are read once.
    Prompts of similar length run together, with as many arms as fit; the other arms follow in further batches that use
    the same beginnings.
    """
    lengths = [len(prompt) + extra for prompt, extra in zip(prompts, new, strict=True)]
    weights = [room.weight(columns, rows) for columns, rows in zip(lengths, distributions, strict=True)]
    together = _arms_together(len(arms), len(prompts), max(1, min(room.rows, int(room.memory // max(weights)))))
    groups = packed(lengths, overhead, max(1, room.rows // together), weights, room.memory / together)
    again = prefix and reusable(model)
    outside = selectors_in_force(model)
    for group in groups:
        asked = [prompts[i] for i in group]
        mine = [[item.for_prompts(torch.tensor(group)) for item in arm] for arm in arms]
        planned = plan(asked, mine, outside) if again else nothing(len(group))
        shared = read_shared(model, asked, planned)
        for start in range(0, len(arms), together):
            chosen = range(start, min(start + together, len(arms)))
            own = read_own(model, asked, [mine[a] for a in chosen], planned)
            if own is not None:
                n = len(planned.beginnings)
                reading = own.picked([a * n + k for a in range(len(chosen)) for k in planned.of])
            elif shared is not None:
                reading = shared[0].picked([row for _ in chosen for row in shared[1]])
            else:
                reading = blank(model, len(chosen) * len(group), cached)
            rest = [row[done:] for row, done in zip(asked, planned.each, strict=True)]
            over = planned.each if own is not None else (0,) * len(group)
            still = [[item for item in mine[a] if not spent(item, asked, over)] for a in chosen]
            yield Batch(list(chosen), group, reading, [row for _ in chosen for row in rest], still)


def _arms_together(n_arms: int, n_prompts: int, rows: int) -> int:
    """How many arms run together in a batch of at most ``rows`` rows, so that there are as few batches as possible."""

    def n_batches(together: int) -> int:
        return -(-n_arms // together) * -(-n_prompts // (rows // together))

    sizes = {-(-n_arms // chunks) for chunks in range(1, n_arms + 1)}
    return min((size for size in sorted(sizes, reverse=True) if size <= rows), key=n_batches)
