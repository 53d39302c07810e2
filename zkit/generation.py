"""Generate greedily, many arms in one batch; score given continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from zkit.edits import Edit, edit
from zkit.errors import ZkitError
from zkit.positions import prompt_width
from zkit.prompts import Prompt, check_answers, check_batch_size, check_prompts

if TYPE_CHECKING:
    from zkit.models import Model


@dataclass(frozen=True)
class Completion:
    """A generated answer; ``truncated`` means that it ran into the limit before its end-of-text token."""

    text: str
    n_tokens: int
    truncated: bool


@overload
def complete(
    model: Model,
    prompts: Sequence[Prompt],
    arms: None = None,
    *,
    max_new_tokens: int = ...,
    chat: bool = ...,
    batch_size: int = ...,
    use_cache: bool = ...,
) -> list[Completion]: ...
@overload
def complete(
    model: Model,
    prompts: Sequence[Prompt],
    arms: Sequence[Sequence[Edit]],
    *,
    max_new_tokens: int = ...,
    chat: bool = ...,
    batch_size: int = ...,
    use_cache: bool = ...,
) -> list[list[Completion]]: ...
def complete(
    model: Model,
    prompts: Sequence[Prompt],
    arms: Sequence[Sequence[Edit]] | None = None,
    *,
    max_new_tokens: int = 96,
    chat: bool = True,
    batch_size: int = 64,
    use_cache: bool = True,
) -> list[Completion] | list[list[Completion]]:
    """Greedy completions of the prompts; with ``arms``, a list of them for each arm.

    An arm is a list of edits (the empty list: the model as it is) that apply to its rows of the batch only; up to
    ``batch_size`` rows, arms times prompts, run together. Decoding is plain argmax: sampling settings and penalties
    that a model ships are not used.

    Raises ZkitError for an empty list of prompts or arms, edits that already name rows, max_new_tokens below 1, and
    logits that are not finite.
    """
    if max_new_tokens < 1:
        raise ZkitError(f"max_new_tokens is {max_new_tokens}; it must be at least 1")
    check_batch_size(batch_size)
    if arms is None:
        return _chunked(model, prompts, [[]], max_new_tokens, chat, batch_size, use_cache)[0]
    if len(arms) == 0:
        raise ZkitError("the list of arms is empty; give at least one ([] is the model as it is)")
    if any(item.rows is not None for arm in arms for item in arm):
        raise ZkitError("an edit of an arm names rows, but the arms lay out the batch; leave rows=None")
    together = min(len(arms), batch_size)
    return [
        answers
        for start in range(0, len(arms), together)
        for answers in _chunked(
            model, prompts, arms[start : start + together], max_new_tokens, chat, batch_size, use_cache
        )
    ]


def _chunked(
    model: Model,
    prompts: Sequence[Prompt],
    arms: Sequence[Sequence[Edit]],
    max_new_tokens: int,
    chat: bool,
    batch_size: int,
    use_cache: bool,
) -> list[list[Completion]]:
    """Run the arms side by side over as many prompts at a time as the batch holds."""
    size = max(1, batch_size // len(arms))
    config = _greedy(model, max_new_tokens, use_cache)
    answers: list[list[Completion]] = [[] for _ in arms]
    for start in range(0, len(check_prompts(prompts)), size):
        batch = model.tokenize(prompts[start : start + size], chat)
        n, width = batch["input_ids"].shape
        edits = [
            replace(item, rows=slice(i * n, (i + 1) * n) if len(arms) > 1 else None)
            for i, arm in enumerate(arms)
            for item in arm
        ]
        stacked = {name: x.repeat(len(arms), 1) for name, x in batch.items()}
        with torch.no_grad(), edit(model, edits), prompt_width(model.decoder, width), _only(config, model.hf):
            new = model.hf.generate(
                **stacked,
                generation_config=config,
                logits_to_keep=_last(1, stacked["input_ids"].device),
                logits_processor=LogitsProcessorList([_RefuseNonFinite()]),
            )[:, width:]
        done = [_completion(model.tokenizer, row, config) for row in new]
        for i, arm_answers in enumerate(answers):
            arm_answers += done[i * n : (i + 1) * n]
    return answers


def log_probs(
    model: Model, prompts: Sequence[Prompt], continuations: Sequence[str], *, chat: bool = True, batch_size: int = 32
) -> list[Float[Tensor, " n_tokens"]]:
    """Teacher-forced log-probabilities (nats) of each token of ``continuations[i]`` after ``prompts[i]``.

    The continuation is tokenized by itself, without special tokens. Edits in force apply; the continuation counts as
    generated. Raises ZkitError for lists of different lengths, an empty continuation, logits that are not finite.
    """
    return [
        rows[:-1].gather(-1, ids.unsqueeze(-1)).squeeze(-1)
        for rows, ids in _teacher_forced(model, prompts, continuations, chat, batch_size)
    ]


def next_log_probs(
    model: Model, prompts: Sequence[Prompt], continuations: Sequence[str], *, chat: bool = True, batch_size: int = 32
) -> list[Float[Tensor, "n_tokens+1 vocab"]]:
    """Teacher-forced log-probabilities (nats) of every next token, before each token of the continuation and after it.

    Row t is the distribution after t tokens of ``continuations[i]``. Raises as :func:`log_probs` does.
    """
    return [rows.clone() for rows, _ in _teacher_forced(model, prompts, continuations, chat, batch_size)]


def _teacher_forced(
    model: Model, prompts: Sequence[Prompt], continuations: Sequence[str], chat: bool, batch_size: int
) -> Iterator[tuple[Float[Tensor, "n_tokens+1 vocab"], Int[Tensor, " n_tokens"]]]:
    """For each prompt the next-token log-probabilities along its continuation, and the continuation's tokens."""
    check_answers(prompts, continuations)
    for start in range(0, len(check_prompts(prompts)), check_batch_size(batch_size)):
        stop = start + batch_size
        batch, width = model.tokenize_answered(prompts[start:stop], continuations[start:stop], chat)
        ids, lengths = batch["input_ids"], batch["attention_mask"][:, width:].sum(1)
        with torch.no_grad(), prompt_width(model.decoder, width):
            columns = _last(ids.shape[1] - width + 1, ids.device)  # they predict the continuation and one more
            logits = model.hf(**batch, use_cache=False, logits_to_keep=columns).logits
        for row, tokens, length in zip(logits, ids[:, width:], lengths.tolist(), strict=True):
            _check_logits(row[: length + 1])
            yield row[: length + 1].float().log_softmax(-1).cpu(), tokens[:length].cpu()


def _last(n: int, device: torch.device) -> Int[Tensor, " n"]:
    """Indices of the last ``n`` columns. Indexing copies them; transformers' slice is a view that the head, on a CPU,
    multiplies by a copy of the output matrix for every row of the batch (18 GiB at 56 rows of Qwen3-0.6B)."""
    return torch.arange(-n, 0, device=device)


class _RefuseNonFinite(LogitsProcessor):
    def __call__(self, input_ids: Int[Tensor, "batch seq"], scores: Float[Tensor, "batch vocab"]) -> Tensor:
        _check_logits(scores)
        return scores


def _check_logits(logits: Tensor) -> None:
    if not bool(torch.isfinite(logits).all()):
        raise ZkitError(
            "the model's logits are not finite; load it in float32 or bfloat16, and check the weights and the strength "
            "of any edit in force"
        )


def _greedy(model: Model, max_new_tokens: int, use_cache: bool) -> GenerationConfig:
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        use_cache=use_cache,
        do_sample=False,
        eos_token_id=model.end_tokens or None,
        pad_token_id=model.tokenizer.pad_token_id,
    )


@contextmanager
def _only(config: GenerationConfig, hf: Any) -> Iterator[None]:
    """``hf.generate`` fills what a config leaves unset from the model's own settings: put the config in their place."""
    own = hf.generation_config
    hf.generation_config = config
    try:
        yield
    finally:
        hf.generation_config = own


def _completion(tokenizer: Any, new: Int[Tensor, " seq"], config: GenerationConfig) -> Completion:
    ends = config.eos_token_id
    stop = {ends} if isinstance(ends, int) else set(ends or ())
    ids = new.tolist()
    length = next((i for i, token in enumerate(ids) if token in stop), len(ids))
    return Completion(tokenizer.decode(ids[:length], skip_special_tokens=True), length, length == len(ids))
