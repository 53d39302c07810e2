"""Does forgetting last? Fine-tune on some of the forgotten facts and ask for the others."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch.nn.functional import cross_entropy

from zkit.edits import check_unedited
from zkit.errors import ZkitError
from zkit.gating.evaluate import Task, score, unchanged
from zkit.gating.targets import target_logits
from zkit.gating.texts import Text, batch, tokens
from zkit.models import Model
from zkit.packing import TRAINING, packed


def relearn(
    model: Model,
    texts: Sequence[Text],
    tasks: Sequence[Task],
    budget: Sequence[int] = (0, 5, 10, 20, 40, 80),
    *,
    learning_rate: float = 1e-4,
    texts_per_step: int = 16,
    chat: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Train a copy of all weights on ``texts`` and score ``tasks`` after each number of steps in ``budget``.

    Give a model with its gates folded in; the model given is left alone. The texts' order depends on the seed alone, so
    that models compare at equal budget. Columns: step, and those of :func:`zkit.gating.evaluate.score`.
    The copy is float32. Raises ZkitError for no texts, a budget that is empty or negative, and inside a block that
    edits the model.
    """
    if not texts or not budget or min(budget) < 0:
        raise ZkitError("relearning needs texts and a budget of steps that are 0 or more")
    check_unedited(model, "relearning")
    copied = replace(model, hf=copy.deepcopy(model.hf).float().requires_grad_(True))
    encoded = tokens(model, texts, chat)
    optimizer = torch.optim.AdamW(copied.hf.parameters(), lr=learning_rate, weight_decay=0.0)
    rng, rows = random.Random(f"relearn {seed}"), []
    for step in range(max(budget) + 1):
        if step in set(budget):
            rows.append(score(copied, tasks, {"relearned": unchanged(copied)}, losses=False).assign(step=step))
        if step < max(budget):
            drawn = rng.sample(range(len(encoded)), min(texts_per_step, len(encoded)))
            chosen = [encoded[i] for i in drawn]
            count = sum(len(t.entity) for t in chosen)
            optimizer.zero_grad()
            for group in packed([len(t.ids) for t in chosen], TRAINING):
                part = batch([chosen[i] for i in group], int(model.tokenizer.pad_token_id), model.device)
                with torch.enable_grad():
                    loss = cross_entropy(target_logits(copied, part).float(), part.labels, reduction="sum") / count
                    loss.backward()
            optimizer.step()
    return pd.concat(rows, ignore_index=True)
