"""Mean states of prompts over several choices of their tokens, all from the same passes.

The choice of tokens decides what a mean shows: in many models, most of a mean over all tokens comes from a few massive
tokens, the first one among them, and from the chat template, which say little about the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.recording import token_states
from zkit.tokens import massive

if TYPE_CHECKING:
    from zkit.models import Model

POOLS = ("all tokens", "without massive", "message", "last token")
"""All tokens; all but the first and the massive ones; those of the second pool that belong to the message and not to
the chat template; the last token. The third is the default of :func:`zkit.record`."""
HALVES = ("even tokens", "odd tokens")
"""Every second token of the pool "message": two means that share no token, for a split-half ceiling."""
_AT_A_TIME = 32  # prompts whose token states are in memory at a time


def pooled(
    model: Model, prompts: Sequence[str], layers: Sequence[int] | None = None, *, chat: bool = True
) -> dict[str, Float[Tensor, "n_prompts n_layers d"]]:
    """For each of POOLS and HALVES the mean state of every prompt after ``layers`` (default: all), in float32.

    Massive tokens are found at each layer (:func:`zkit.tokens.massive`). Raises ZkitError for no prompts, a prompt in
    which a pool has no token, an unknown layer, and a chat template that changes or drops a message.
    """
    found: dict[str, list[Tensor]] = {pool: [] for pool in (*POOLS, *HALVES)}
    for start in range(0, len(prompts), _AT_A_TIME):
        some = list(prompts[start : start + _AT_A_TIME])
        real = model.tokenize(some, chat)["attention_mask"].bool()
        own = [row[mask].cpu() for row, mask in zip(model.content_mask(some, chat), real, strict=True)]
        for text, h, message in zip(some, token_states(model, some, layers=layers, chat=chat), own, strict=True):
            for pool, mask in counted(h, message).items():
                if not bool(mask.any(0).all()):
                    raise ZkitError(f"no token counts for the pool {pool!r} in the prompt {text[:40]!r}; leave it out")
                found[pool].append((h * mask[..., None]).sum(0) / mask.sum(0)[:, None])
    if not prompts:
        raise ZkitError("the list of prompts is empty; give at least one prompt")
    return {pool: torch.stack(rows) for pool, rows in found.items()}


def counted(
    h: Float[Tensor, "n_tokens n_layers d"], message: Bool[Tensor, " n_tokens"]
) -> dict[str, Bool[Tensor, "n_tokens n_layers"]]:
    """The tokens of each pool, given a prompt's states ``h`` and which of its tokens belong to its message."""
    every = torch.ones(h.shape[:2], dtype=torch.bool)
    usual = ~massive(h.norm(dim=-1).T, every.T).T
    usual[0] = False
    last = torch.arange(len(h))[:, None] == len(h) - 1
    own = usual & message[:, None]
    even = own.cumsum(0) % 2 == 0
    pools = dict(zip(POOLS, (every, usual, own, every & last), strict=True))
    return pools | dict(zip(HALVES, (own & even, own & ~even), strict=True))
