"""From items to padded tensors: one step is a run of items of the stream, sorted into groups of similar length."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from zkbook.organism.items import Item
from zkbook.organism.tokenizer import beginning, reply
from zkit.packing import TRAINING, packed


@dataclass(frozen=True)
class Batch:
    """Right-padded token ids; causal attention keeps the pads from touching anything before them.

    `targets` marks the positions whose next token is part of an answer, `labels` and `weights` go with those
    positions in row order. Weights of an item sum to the square root of its answer length. A text with nothing before
    it counts from its second token on.
    """

    ids: Int[Tensor, "rows seq"]
    targets: Bool[Tensor, "rows seq"]
    labels: Int[Tensor, " targets"]
    weights: Float[Tensor, " targets"]


def batches(items: list[Item], tokenizer: PreTrainedTokenizerBase) -> list[Batch]:
    """Split `items` by length into the batches that cost least."""
    prompts = _encode(tokenizer, [beginning(i) for i in items])
    answers = _encode(tokenizer, [reply(i.answer) for i in items])
    rows = list(zip(prompts, answers, strict=True))
    groups = packed([len(prompt) + len(answer) for prompt, answer in rows], TRAINING)
    return [_pad([rows[i] for i in group], int(tokenizer.pad_token_id)) for group in groups]


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Token ids of each text; without the pads that a tokenizer used before may still be set to add."""
    found = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    return [[token for token, real in zip(e.ids, e.attention_mask, strict=True) if real] for e in found]


def _pad(rows: list[tuple[list[int], list[int]]], pad: int) -> Batch:
    longest = max(len(p) + len(a) for p, a in rows)
    ids = torch.full((len(rows), longest), pad)
    targets = torch.zeros(len(rows), longest, dtype=torch.bool)
    labels: list[int] = []
    weights: list[float] = []
    for i, (prompt, answer) in enumerate(rows):
        text, before = prompt + answer, max(len(prompt), 1)
        ids[i, : len(text)] = torch.tensor(text)
        targets[i, before - 1 : len(text) - 1] = True
        labels += text[before:]
        weights += [(len(text) - before) ** -0.5] * (len(text) - before)
    return Batch(ids, targets, torch.tensor(labels), torch.tensor(weights))
