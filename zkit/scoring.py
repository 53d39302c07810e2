"""Teacher-forced logits of continuations, for arms times prompts in batches, each scored as soon as it is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zkit.batching import Arms, batches, check_arms, check_lengths, tokens
from zkit.decoder import Decoder
from zkit.edits import edit
from zkit.errors import ZkitError
from zkit.memory import Room, free
from zkit.positions import prompt_width
from zkit.prefill import Ids, Reading, padded, read
from zkit.progress import progress
from zkit.prompts import Prompt


def scored(
    model: Decoder,
    prompts: Sequence[Prompt],
    tails: Sequence[Ids],
    after: Sequence[Sequence[int]],
    arms: Arms | None,
    score: Callable[[Float[Tensor, "n_rows vocab"], Int[Tensor, " n_tokens"]], Tensor],
    chat: bool | Sequence[bool],
    limits: Room,
    prefix: bool,
    width: int = 1,
) -> list[list[Tensor]]:
    """For each arm and prompt the result of ``score(logits, tail)``.

    tails: the tokens of each prompt's continuation. after: for each tail, after how many of its tokens logits are
    wanted; ``score`` gets a row for each. width: how many numbers ``score`` keeps of a row.
    arms, chat, prefix: see :func:`zkit.generation.complete`. limits: of a batch.
    Raises ZkitError for results that do not fit into memory, no prompts, arms that cannot be applied, prompts that with
    their tails need more positions than the model has, and logits that are not finite.
    """
    every: Arms = [[]] if arms is None else arms
    ids = tokens(model, prompts, chat)
    check_arms(model, every, len(ids))
    check_lengths(model, ids, [len(tail) for tail in tails])
    new, kept = [len(tail) for tail in tails], [len(rows) for rows in after]
    size, left = 4 * width * sum(kept) * len(every), free(torch.device("cpu"))
    if size > left:
        raise ZkitError(
            f"these distributions take {size / 2**30:.1f} GiB and {left / 2**30:.1f} GiB are free; name the tokens of "
            "interest with among, or ask for fewer prompts or arms at a time"
        )
    found: list[list[Any]] = [[None] * len(ids) for _ in every]
    with progress(len(every) * len(ids), "row", "scoring") as bar:
        for batch in batches(model, ids, every, limits, new, kept, prefix=prefix, cached=False):
            n = len(batch.prompts)
            owners = [batch.prompts[row % n] for row in range(len(batch.rest))]
            asked, follow = padded(model, batch.rest, left=True), padded(model, [tails[i] for i in owners], left=False)
            both = Reading(torch.cat((asked.ids, follow.ids), 1), torch.cat((asked.mask, follow.mask), 1))
            columns, start = batch.reading.ids.shape[1] + asked.ids.shape[1], asked.ids.shape[1] - 1
            wanted = torch.zeros_like(both.mask, dtype=torch.bool)
            for row, i in enumerate(owners):
                wanted[row, [start + t for t in after[i]]] = True
            with edit(model, batch.edits(range(len(owners)))), prompt_width(model.decoder, columns):
                _, logits = read(model, batch.reading, both, wanted)
            assert logits is not None
            for row, mine in enumerate(logits.split(wanted.sum(1).tolist())):
                check_logits(mine)
                i = owners[row]
                tail = torch.tensor(tails[i], dtype=torch.long, device=mine.device)
                found[batch.arms[row // n]][i] = score(mine, tail).cpu()
            bar.update(len(owners))
    return found


def continued(model: Decoder, continuations: Sequence[str]) -> list[Ids]:
    """The tokens of each continuation, without special tokens. Raises ZkitError for a continuation without tokens."""
    found = [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in continuations]
    for text, tail in zip(continuations, found, strict=True):
        if not tail:
            raise ZkitError(f"continuation {text!r} has no tokens here")
    return found


def places(tails: Sequence[Ids], after: Sequence[Sequence[int]] | None) -> Sequence[Sequence[int]]:
    """The given ``after``, checked, or its default: for each tail all numbers of tokens from 0 to its length.

    Raises ZkitError unless there is one list for each tail, of ascending numbers in this range.
    """
    if after is None:
        return [range(len(tail) + 1) for tail in tails]
    if len(after) != len(tails):
        raise ZkitError(f"{len(tails)} prompts but after has {len(after)} lists; give one for each")
    for i, (rows, tail) in enumerate(zip(after, tails, strict=True)):
        if not rows or list(rows) != sorted(set(rows)) or not 0 <= rows[0] <= rows[-1] <= len(tail):
            raise ZkitError(
                f"after[{i}] is {list(rows)[:5]}; it must be ascending numbers of tokens of continuation {i}, "
                f"from 0 to {len(tail)}"
            )
    return after


def check_logits(logits: Tensor) -> None:
    """Raise ZkitError unless all logits are finite."""
    if not bool(torch.isfinite(logits).all()):
        raise ZkitError(
            "the model's logits are not finite; load it in float32 or bfloat16, and check the weights and the strength "
            "of any edit in force"
        )
