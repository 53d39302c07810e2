"""Each token of a prompt: the norm of its states, whether it is massive, whether it belongs to the chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.models import Model
from zkit.prompts import Prompt
from zkit.recording import token_states
from zkit.tokens import massive


def anatomy(
    model: Model,
    prompts: Sequence[Prompt],
    *,
    layers: Sequence[int] | None = None,
    chat: bool = True,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """A table with one row for every token of every prompt at the output of each layer, sorted in that order.

    layers: their numbers (None: all). chat: whether prompts go through the chat template. batch_size: largest number
    of rows in a batch (None: :data:`zkit.memory.ROWS`).
    Columns: prompt and token, counted from 0; text, of the token; layer; norm, of the token's state; massive, whether
    the norm is above `zkit.tokens.MASSIVE` times the median of its prompt at that layer; template, whether the token
    belongs to the chat template and not to a message. States are recorded with the edits in force. Raises ZkitError
    for no prompts, an empty prompt, an unknown layer, and a chat template that changes or drops a message.
    """
    found = dissect(model, prompts, layers, chat, batch_size)
    numbers = list(range(model.n_layers)) if layers is None else list(layers)
    parts = []
    for i, part in enumerate(found):
        n, texts = len(part.ids), [model.tokenizer.decode([token]) for token in part.ids]
        parts.append(
            pd.DataFrame(
                {
                    "prompt": i,
                    "token": np.repeat(np.arange(n), len(numbers)),
                    "text": np.repeat(np.array(texts, dtype=object), len(numbers)),
                    "layer": np.tile(numbers, n),
                    "norm": part.norms.flatten().numpy(),
                    "massive": part.massive.flatten().numpy(),
                    "template": np.repeat(~part.content.numpy(), len(numbers)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True, eq=False)
class Dissected:
    """The tokens of one prompt."""

    ids: list[int]
    states: Float[Tensor, "n_tokens n_layers d_model"]
    content: Bool[Tensor, " n_tokens"]
    massive: Bool[Tensor, "n_tokens n_layers"]

    @property
    def norms(self) -> Float[Tensor, "n_tokens n_layers"]:
        return self.states.norm(dim=-1)

    @property
    def usual(self) -> Bool[Tensor, "n_tokens n_layers"]:
        """The tokens in the default pool of :func:`zkit.record`: content, not massive, not the first token."""
        chosen = self.content[:, None] & ~self.massive
        chosen[0] = False
        return chosen


def dissect(
    model: Model,
    prompts: Sequence[Prompt],
    layers: Sequence[int] | None = None,
    chat: bool = True,
    batch_size: int | None = None,
) -> list[Dissected]:
    """The states of every token of each prompt, and what kind of token it is.

    Parameters are those of :func:`anatomy`. Raises ZkitError for no prompts, an empty prompt, an unknown layer, and a
    chat template that changes or drops a message.
    """
    batch, content = model.tokenize(prompts, chat), model.content_mask(prompts, chat)
    real = batch["attention_mask"].bool()
    states = token_states(model, prompts, layers=layers, chat=chat, batch_size=batch_size)
    found = []
    for rows, ids, own, mask in zip(states, batch["input_ids"], content, real, strict=True):
        norms = rows.norm(dim=-1).T  # [n_layers, n_tokens]
        found.append(
            Dissected(
                ids[mask].tolist(),
                rows,
                own[mask].cpu(),
                massive(norms, torch.ones_like(norms, dtype=torch.bool)).T,
            )
        )
    return found
