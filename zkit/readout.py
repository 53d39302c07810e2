"""The logit lens: read the state of every layer as if it were the state of the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.edits import Edit, edit
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.recording import record


def logit_lens(
    model: Model, prompts: Sequence[Prompt], tokens: Sequence[int], edits: Sequence[Edit] = (), chat: bool = True
) -> Float[Tensor, "n_prompts n_layers"]:
    """Log-probability (nats) of one token for each prompt, from the state after every layer.

    tokens: a token id for each prompt. edits: in force while the states are recorded and read. chat: whether to use the
    chat template. The state of the prompt's last token is put through the final norm and the output matrix.
    Source: the logit lens (nostalgebraist 2020). Raises ZkitError for no prompts, lists of different lengths, and a
    model that caps its logits.
    """
    if len(tokens) != len(prompts):
        raise ZkitError(f"{len(tokens)} tokens for {len(prompts)} prompts; give one for each")
    if getattr(model.hf.config, "final_logit_softcapping", None):
        raise ZkitError(f"{model.id!r} caps its logits, which the lens does not know; use Qwen or Llama")
    decoder: Any = model.decoder
    head = model.hf.get_output_embeddings()
    chosen = torch.tensor(tokens, device=model.device)[:, None]
    with torch.no_grad(), edit(model, edits):
        states = record(model, prompts, "last", chat=chat)
        found = []
        for layer in range(states.shape[1]):  # one layer's vocabulary at a time
            logits = head(decoder.norm(states[:, layer].to(model.device, model.dtype))).float().log_softmax(-1)
            found.append(logits.gather(-1, chosen).squeeze(-1).cpu())
    return torch.stack(found, dim=1)
