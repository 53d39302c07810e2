"""Is a fact gone, or only not said? What the states of every layer would say if they were the last."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.edits import edit
from zkit.gating.apply import factor_edits
from zkit.gating.evaluate import Task
from zkit.models import Model
from zkit.recording import record


def logit_lens(
    model: Model, task: Task, factors: Float[Tensor, "n_layers d_mlp"]
) -> Float[Tensor, "n_questions n_layers"]:
    """Log-probability (nats) of each first accepted answer's first token, read at the last token of the prompt by the
    final norm and the output matrix from the state after every layer, under an arm's factors.

    Source: the logit lens (nostalgebraist 2020).
    """
    with torch.no_grad(), edit(model, factor_edits(factors)):
        states = record(model, [q.prompt for q in task.questions], "last", chat=task.chat)
        decoder: Any = model.decoder
        head, norm = model.hf.get_output_embeddings(), decoder.norm
        firsts = [model.tokenizer(q.answers[0], add_special_tokens=False).input_ids[0] for q in task.questions]
        logits = head(norm(states.to(model.device, model.dtype))).float().log_softmax(-1)
    index = torch.tensor(firsts, device=logits.device)[:, None, None].expand(-1, states.shape[1], 1)
    return logits.gather(-1, index).squeeze(-1).cpu()
