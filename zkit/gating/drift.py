"""How far gates move a model on texts that they should leave alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.edits import edit
from zkit.errors import ZkitError
from zkit.gating.apply import factor_edits
from zkit.gating.objective import divergence, entity_loss
from zkit.gating.targets import target_logits
from zkit.gating.texts import Text, batch, tokens
from zkit.models import Model
from zkit.packing import packed
from zkit.stats import Interval, bootstrap_mean


def drift(
    model: Model, texts: Sequence[Text], factors: Float[Tensor, "n_layers d_mlp"], chat: bool = True
) -> tuple[Interval, Interval]:
    """KL(base || gated) and the rise of the loss, nats per token: means over texts with bootstrap intervals.

    The rise of the loss is the logarithm of the ratio of perplexities. Raises ZkitError for no texts.
    """
    moved, rise = drift_by_text(model, texts, factors, chat)
    return bootstrap_mean(moved), bootstrap_mean(rise)


def drift_by_text(
    model: Model, texts: Sequence[Text], factors: Float[Tensor, "n_layers d_mlp"], chat: bool = True
) -> tuple[list[float], list[float]]:
    """The same two figures of every text, in the order of ``texts``."""
    if not texts:
        raise ZkitError("drift is measured on texts; the list is empty")
    encoded = tokens(model, texts, chat)
    moved, rise = [0.0] * len(texts), [0.0] * len(texts)
    for group in packed([len(t.ids) for t in encoded]):
        rows = batch([encoded[i] for i in group], int(model.tokenizer.pad_token_id), model.device)
        with torch.no_grad():
            base = target_logits(model, rows)
            with edit(model, factor_edits(factors)):
                gated = target_logits(model, rows)
        kl, change = divergence(base, gated), entity_loss(gated, rows.labels) - entity_loss(base, rows.labels)
        for row, i in enumerate(group):
            moved[i], rise[i] = float(kl[rows.row == row].mean()), float(change[rows.row == row].mean())
    return moved, rise
