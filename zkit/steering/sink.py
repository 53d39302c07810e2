"""What an attention sink does to a difference of means: the arithmetic of prompt lengths.

If the first token alone carries a state of norm S, a mean over T tokens holds S / T of it, and a difference of means of
prompts of T+ and T- tokens holds S (1/T+ - 1/T-), whatever the prompts say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt


def first_norm(mean_norm: float, usual_norm: float, n_tokens: int) -> float:
    """S, from the mean norm over all tokens of a prompt: (S + (T - 1) usual) / T = mean. ZkitError unless T >= 1."""
    if n_tokens < 1:
        raise ZkitError(f"a prompt has at least one token, not {n_tokens}")
    return n_tokens * mean_norm - (n_tokens - 1) * usual_norm


def sink_part(size: float, n_positive: int, n_negative: int) -> float:
    """S (1/T+ - 1/T-): the signed length of the sink in a literal vector. ZkitError unless both counts are >= 1."""
    if min(n_positive, n_negative) < 1:
        raise ZkitError(f"a prompt has at least one token, not {min(n_positive, n_negative)}")
    return size * (1 / n_positive - 1 / n_negative)


def style_part(norm: float, sink: float) -> float:
    """Length of what is left of a vector of some norm without its sink part. ZkitError if the sink is the longer."""
    if abs(sink) > norm:
        raise ZkitError(f"a vector of norm {norm:g} cannot hold a sink part of {sink:g}")
    return math.sqrt(norm**2 - sink**2)


def predicted_cosines(sinks: Mapping[str, float], style: float) -> dict[tuple[str, str], float]:
    """Cosine of each two literal vectors if only lengths told them apart.

    ``sinks`` are their sink parts; their style parts have one size, ``style``, and are orthogonal to each other and to
    the sink.
    """
    names = list(sinks)
    return {
        (a, b): sinks[a] * sinks[b] / (math.hypot(sinks[a], style) * math.hypot(sinks[b], style))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }


def token_counts(model: Model, prompts: Sequence[Prompt], chat: bool = True) -> list[int]:
    """Number of tokens of each prompt, template included. Raises ZkitError as :meth:`zkit.Model.tokenize` does."""
    return [int(row.sum()) for row in model.tokenize(prompts, chat)["attention_mask"]]
