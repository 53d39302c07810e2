"""Has a model learned anything? Asked with questions that every trained model of the language can answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from zkit.generation import log_probs
from zkit.prompts import Prompt
from zkit.stats import Interval, bootstrap_mean

if TYPE_CHECKING:
    from zkit.models import Model

CHANCE = 0.9
"""Share of the loss of an even bet from which on a model does no better than one."""


def answer_loss(model: Model, prompts: Sequence[Prompt], answers: Sequence[str], chat: bool = True) -> Interval:
    """Mean loss (nats per token) of the right answers, with an interval over their tokens.

    Raises ZkitError as :func:`zkit.generation.log_probs` does.
    """
    return bootstrap_mean((-torch.cat(list(log_probs(model, prompts, answers, chat=chat)))).tolist())


def even_bet(model: Model) -> float:
    """The loss (nats per token) of one who bets evenly on the whole vocabulary: ln V."""
    return math.log(model.hf.get_input_embeddings().weight.shape[0])


def is_untrained(loss: Interval, uniform: float) -> bool:
    """Whether right answers may cost a model ``CHANCE`` of an even bet or more: its weights are random or broken."""
    return loss.high > CHANCE * uniform
