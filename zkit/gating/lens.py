"""Is a fact gone, or only not said? What the states of every layer would say if they were the last."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.edits import edit
from zkit.errors import ZkitError
from zkit.gating.apply import factor_edits
from zkit.gating.evaluate import Task
from zkit.models import Model
from zkit.recording import record


def logit_lens(
    model: Model, task: Task, factors: Float[Tensor, "n_layers d_mlp"]
) -> Float[Tensor, "n_questions n_layers"]:
    """Log-probability (nats) of each first accepted answer's first token, read at the last token of the prompt by the
    final norm and the output matrix from the state after every layer, under an arm's factors.

    Source: the logit lens (nostalgebraist 2020). Raises ZkitError for a model that caps its logits.
    """
    if getattr(model.hf.config, "final_logit_softcapping", None):
        raise ZkitError(f"{model.id!r} caps its logits, which the lens does not know; use Qwen or Llama")
    decoder: Any = model.decoder
    head = model.hf.get_output_embeddings()
    firsts = [model.tokenizer(q.answers[0], add_special_tokens=False).input_ids[0] for q in task.questions]
    chosen = torch.tensor(firsts, device=model.device)[:, None]
    with torch.no_grad(), edit(model, factor_edits(factors)):
        states = record(model, [q.prompt for q in task.questions], "last", chat=task.chat)
        found = []
        for layer in range(states.shape[1]):  # one layer's vocabulary at a time
            logits = head(decoder.norm(states[:, layer].to(model.device, model.dtype))).float().log_softmax(-1)
            found.append(logits.gather(-1, chosen).squeeze(-1).cpu())
    return torch.stack(found, dim=1)
