"""Generate greedily, many arms in one batch; score given continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zkit.batching import Arms, Batch, batches, check_arms, check_lengths, tokens
from zkit.decoder import Decoder
from zkit.edits import Block, edit
from zkit.errors import ZkitError
from zkit.memory import room
from zkit.packing import OVERHEAD, packed
from zkit.positions import prompt_width
from zkit.prefill import Reading, joined, last_column, padded, read, reusable
from zkit.progress import progress
from zkit.prompts import Prompt, check_answers, check_count, check_prompts
from zkit.scoring import check_logits, continued, places, scored

STEP = 25
"""Fixed cost of a decoding step, in tokens read."""
FEWEST = 1e9
"""A cost of a batch so large that as few batches as possible are made."""
ENDED = 0.1
"""Share of a batch's rows above which ended rows are dropped. Dropping copies the cache of the others."""


@dataclass(frozen=True)
class Completion:
    """A generated answer; ``truncated``: whether it reached the limit of new tokens before an end token."""

    text: str
    n_tokens: int
    truncated: bool


@overload
def complete(
    model: Decoder,
    prompts: Sequence[Prompt],
    arms: None = None,
    *,
    max_new_tokens: int = ...,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    use_cache: bool = ...,
    prefix: bool = ...,
) -> list[Completion]: ...
@overload
def complete(
    model: Decoder,
    prompts: Sequence[Prompt],
    arms: Arms,
    *,
    max_new_tokens: int = ...,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    use_cache: bool = ...,
    prefix: bool = ...,
) -> list[list[Completion]]: ...
def complete(
    model: Decoder,
    prompts: Sequence[Prompt],
    arms: Arms | None = None,
    *,
    max_new_tokens: int = 96,
    chat: bool | Sequence[bool] = True,
    batch_size: int | None = None,
    memory: int | None = None,
    use_cache: bool = True,
    prefix: bool = True,
) -> list[Completion] | list[list[Completion]]:
    """Greedy completions of the prompts, in the order given; with ``arms``, a list of completions for each arm.

    Decoding is plain argmax: sampling settings and penalties that a model ships are not used.

    arms: lists of edits. Each arm's edits apply to its own rows of the batch only; an edit with a vector per prompt
    stays with its prompts. The empty list is the unedited model.
    max_new_tokens: of each completion.
    chat: whether prompts go through the chat template, for all of them or one value for each, so that lists of both
    kinds can share batches (see :func:`zkit.packing.as_one`).
    batch_size: largest number of rows, arms times prompts, in a batch (None: :data:`zkit.memory.ROWS`).
    memory: largest number of bytes for a batch (None: a share of what is free). Rows of similar length run together.
    use_cache: whether keys and values are cached. prefix: whether a beginning that prompts or arms share is read once.

    Raises ZkitError for an empty list of prompts or arms, edits of arms that name rows or have vectors for another
    number of prompts, edits in force that name rows or have a vector per prompt, limits that are not whole numbers of
    at least 1, prompts that with their new tokens need more positions than the model has, and logits that are not
    finite.
    """
    max_new_tokens = check_count("max_new_tokens", max_new_tokens)
    limits = room(model, batch_size, memory)
    every = [[]] if arms is None else arms
    ids = tokens(model, prompts, chat)
    check_arms(model, every, len(ids))
    check_lengths(model, ids, [max_new_tokens] * len(ids))
    new, ends = [max_new_tokens] * len(ids), torch.tensor(model.end_tokens, dtype=torch.long, device=model.device)
    answers: list[list[Any]] = [[None] * len(ids) for _ in every]
    apart = use_cache and reusable(model)  # then rows of any lengths may decode together
    overhead = FEWEST if apart else OVERHEAD + STEP * max_new_tokens
    options: Any = {"overhead": overhead, "cached": use_cache, "prefix": prefix and use_cache}
    with progress(len(every) * len(ids) * max_new_tokens, "token", "generating") as bar:
        for batch in batches(model, ids, every, limits, new, [1] * len(ids), **options):
            done = bar.n
            for row, found in enumerate(_decode(model, batch, max_new_tokens, ends, apart, bar)):
                arm, i = divmod(row, len(batch.prompts))
                answers[batch.arms[arm]][batch.prompts[i]] = _completion(model, found, ends, max_new_tokens)
            bar.update(done + len(batch.rest) * max_new_tokens - bar.n)
    return answers[0] if arms is None else answers


def _decode(model: Decoder, batch: Batch, limit: int, ends: Tensor, apart: bool, bar: Any) -> list[list[int]]:
    """The new tokens of each row, up to an end token or the limit, and perhaps some beyond the end token.

    limit: largest number of new tokens. ends: ids of the end tokens. apart: as in :func:`_read_rest`. bar: the progress
    bar. Rows that have ended are dropped from the batch.
    """
    found: list[list[int]] = [[] for _ in batch.rest]
    rows = list(range(len(batch.rest)))
    with edit(model, batch.edits(rows)) as block:
        reading, last = _read_rest(model, batch, apart, block)
        with prompt_width(model.decoder, reading.ids.shape[1]):
            while True:
                steps = [last]
                left = limit - len(found[rows[0]])
                ended = torch.isin(last, ends)
                bar.update(len(rows))
                while len(steps) < left and int(ended.sum()) <= ENDED * len(rows):
                    reading, token = _read_on(model, reading, _column(steps[-1]))
                    steps.append(token)
                    ended |= torch.isin(steps[-1], ends)
                    bar.update(len(rows))
                for row, tail in zip(rows, torch.stack(steps, 1).tolist(), strict=True):
                    found[row] += tail
                on = [i for i, over in enumerate(ended.tolist()) if not over]
                if len(steps) == left or not on:
                    return found
                rows, reading = [rows[i] for i in on], reading.kept(on)
                block.go_on_with(batch.edits(rows))
                reading, last = _read_on(model, reading, _column(steps[-1][on]))


def _read_rest(model: Decoder, batch: Batch, apart: bool, block: Block) -> tuple[Reading, Int[Tensor, " rows"]]:
    """Read the rest of the prompts; returns the reading and each row's next token.

    apart: whether rows of different lengths are read separately, without padding, and then joined.
    """
    groups = packed([len(rest) for rest in batch.rest]) if apart else [list(range(len(batch.rest)))]
    parts, last = [], []
    for group in map(sorted, groups):
        new = padded(model, [batch.rest[i] for i in group], left=True)
        reading = batch.reading.picked(group) if len(groups) > 1 else batch.reading
        block.go_on_with(batch.edits(group))
        with prompt_width(model.decoder, reading.ids.shape[1] + new.ids.shape[1]):
            reading, token = _read_on(model, reading, new)
        parts.append(reading)
        last.append(token)
    if len(groups) == 1:
        return parts[0], last[0]
    order = torch.tensor([i for group in groups for i in sorted(group)]).argsort()
    block.go_on_with(batch.edits(range(len(batch.rest))))
    return joined(parts).kept(order.tolist()), torch.cat(last)[order.to(model.device)]


def _column(tokens: Int[Tensor, " rows"]) -> Reading:
    """A new token for each row."""
    return Reading(tokens.unsqueeze(1), torch.ones_like(tokens).unsqueeze(1))


def _read_on(model: Decoder, so_far: Reading, new: Reading) -> tuple[Reading, Int[Tensor, " rows"]]:
    """Read new columns; returns the reading and each row's next token."""
    reading, logits = read(model, so_far, new, last_column(new))
    assert logits is not None
    check_logits(logits)
    return reading, logits.argmax(-1).to(model.device)


def _completion(model: Decoder, new: list[int], ends: Tensor, limit: int) -> Completion:
    stop = set(ends.tolist())
    length = next((i for i, token in enumerate(new) if token in stop), len(new))
    return Completion(model.tokenizer.decode(new[:length], skip_special_tokens=True), length, length == limit)


@overload
def log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str],
    arms: None = None,
    *,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    prefix: bool = ...,
) -> list[Float[Tensor, " n_tokens"]]: ...
@overload
def log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str],
    arms: Arms,
    *,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    prefix: bool = ...,
) -> list[list[Float[Tensor, " n_tokens"]]]: ...
def log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str],
    arms: Arms | None = None,
    *,
    chat: bool | Sequence[bool] = True,
    batch_size: int | None = None,
    memory: int | None = None,
    prefix: bool = True,
) -> list[Float[Tensor, " n_tokens"]] | list[list[Float[Tensor, " n_tokens"]]]:
    """Teacher-forced log-probabilities (nats) of each token of ``continuations[i]`` after ``prompts[i]``.

    With ``arms``, one such list for each arm. A continuation is tokenized by itself, without special tokens. Edits in
    force apply; the continuation counts as generated. arms, chat, batch_size, memory, prefix: see :func:`complete`.
    Raises ZkitError for no prompts, lists of different lengths, an empty continuation, and other input that
    :func:`complete` refuses.
    """
    check_answers(prompts, continuations)

    def own(logits: Tensor, tail: Tensor) -> Tensor:
        wide = logits.float()
        return wide.gather(-1, tail.unsqueeze(-1)).squeeze(-1) - wide.logsumexp(-1)

    tails = continued(model, continuations)
    before = [range(len(tail)) for tail in tails]
    found = scored(model, prompts, tails, before, arms, own, chat, room(model, batch_size, memory), prefix)
    return found[0] if arms is None else found


@overload
def next_log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str] | None = None,
    arms: None = None,
    *,
    among: Sequence[int] | None = ...,
    after: Sequence[Sequence[int]] | None = ...,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    prefix: bool = ...,
) -> list[Float[Tensor, "n_rows among"]]: ...
@overload
def next_log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str] | None,
    arms: Arms,
    *,
    among: Sequence[int] | None = ...,
    after: Sequence[Sequence[int]] | None = ...,
    chat: bool | Sequence[bool] = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
    prefix: bool = ...,
) -> list[list[Float[Tensor, "n_rows among"]]]: ...
def next_log_probs(
    model: Decoder,
    prompts: Sequence[Prompt],
    continuations: Sequence[str] | None = None,
    arms: Arms | None = None,
    *,
    among: Sequence[int] | None = None,
    after: Sequence[Sequence[int]] | None = None,
    chat: bool | Sequence[bool] = True,
    batch_size: int | None = None,
    memory: int | None = None,
    prefix: bool = True,
) -> list[Float[Tensor, "n_rows among"]] | list[list[Float[Tensor, "n_rows among"]]]:
    """Teacher-forced log-probabilities (nats) of the next token, at every place from the end of the prompt to the end
    of the continuation.

    Row t is the distribution after t tokens of ``continuations[i]``, from t = 0 to all of them; without continuations
    there is one row, the distribution after the prompt.
    after: for each prompt the values of t to return, ascending (None: all). No logits are computed for the others.
    among: ids of the tokens to return, in this order (None: the whole vocabulary). In either case the distribution is
    normalised over the whole vocabulary.
    arms, chat, batch_size, memory, prefix: see :func:`complete`.
    Raises ZkitError for no prompts, an unknown token, a t that a continuation does not have, more distributions than
    fit into free memory, and other input that :func:`complete` refuses.
    """
    vocabulary = model.hf.get_input_embeddings().weight.shape[0]
    if among is not None and not (len(among) and all(0 <= token < vocabulary for token in among)):
        raise ZkitError(f"among must be token ids from 0 to {vocabulary - 1}; got {list(among)[:5]}")
    if continuations is not None:
        check_answers(prompts, continuations)
    chosen = None if among is None else torch.tensor(list(among), device=model.device)

    def every(logits: Tensor, tail: Tensor) -> Tensor:
        wide = logits.float()
        if chosen is None:
            return wide.log_softmax(-1)
        return wide[:, chosen.to(wide.device)] - wide.logsumexp(-1, keepdim=True)

    tails = [[] for _ in check_prompts(prompts)] if continuations is None else continued(model, continuations)
    width = vocabulary if among is None else len(among)
    rows = places(tails, after)
    found = scored(model, prompts, tails, rows, arms, every, chat, room(model, batch_size, memory), prefix, width)
    return found[0] if arms is None else found
