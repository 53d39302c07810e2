"""The effect of massive states on a difference of means, which depends on the lengths of the prompts.

The chat template begins any two prompts with the same P tokens. With causal attention, their states are the same in
both. A mean over all T tokens of a prompt contains 1/T of their sum, and a difference of means of prompts of T+ and T-
tokens contains (1/T+ - 1/T-) of it. If only the first token is massive, with norm S, this is S (1/T+ - 1/T-) along its
direction. If further tokens of the template are massive, leaving out the first token does not remove their part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from zkit.anatomies import dissect
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering.vectors import SteeringVector


def length_factor(n_positive: int, n_negative: int) -> float:
    """1/T+ - 1/T-: the factor, in a difference of means over all tokens, of each state that both prompts begin with.

    It is 0 for prompts of equal length. Raises ZkitError unless both counts are >= 1.
    """
    if min(n_positive, n_negative) < 1:
        raise ZkitError(f"a prompt has at least one token, not {min(n_positive, n_negative)}")
    return 1 / n_positive - 1 / n_negative


def prefix_artefact(
    model: Model, positive: Prompt, negative: Prompt, layers: Sequence[int] | None = None
) -> SteeringVector:
    """a_l = (1/T+ - 1/T-) sum over t < P of h_l^t, the part of a literal vector that depends on the prompts' lengths.

    T+ and T- are the prompts' numbers of tokens; the sum is :func:`prefix_sum`, of which layers (None: all). A vector
    over all tokens but the first contains 1/(T+ - 1) - 1/(T- - 1) of the sum without its first state. For prompts of
    equal length a_l is 0. Raises ZkitError for an unknown layer, and if the prompts begin with no common token of the
    template.
    """
    return length_factor(*token_counts(model, [positive, negative])) * prefix_sum(model, positive, negative, layers)


def prefix_sum(model: Model, positive: Prompt, negative: Prompt, layers: Sequence[int] | None = None) -> SteeringVector:
    """sum over t < P of h_l^t at the output of each layer: over the P template tokens that both prompts begin with.

    layers: their numbers (None: all). Raises ZkitError for an unknown layer, an empty prompt, a chat template that
    changes or drops a message, and one that begins the prompts with different tokens or with none.
    """
    one, other = dissect(model, [positive, negative], layers)
    length = 0
    for a, b, own, others in zip(one.ids, other.ids, one.content.tolist(), other.content.tolist(), strict=False):
        if a != b or own or others:
            break
        length += 1
    if length == 0:
        raise ZkitError("the two prompts do not begin with the same tokens of the chat template: nothing is shared")
    numbers = range(model.n_layers) if layers is None else layers
    total = one.states[:length].sum(0)
    return SteeringVector(
        {l: total[i].clone() for i, l in enumerate(numbers)},
        {"method": f"sum of the states of the {length} tokens that both prompts begin with", "model": model.id},
    )


def first_norm(mean_norm: float, usual_norm: float, n_tokens: int) -> float:
    """The first token's norm S from the mean norm over a prompt of T tokens: (S + (T - 1) usual) / T = mean.

    Raises ZkitError unless ``n_tokens``, T, is >= 1.
    """
    if n_tokens < 1:
        raise ZkitError(f"a prompt has at least one token, not {n_tokens}")
    return n_tokens * mean_norm - (n_tokens - 1) * usual_norm


def sink_part(size: float, n_positive: int, n_negative: int) -> float:
    """S (1/T+ - 1/T-): the signed norm, in a literal vector, of a state of norm S that both prompts begin with.

    Raises ZkitError unless both counts are >= 1.
    """
    return size * length_factor(n_positive, n_negative)


def style_part(norm: float, sink: float) -> float:
    """The norm of a vector without its sink part, to which the rest is orthogonal. ZkitError if ``sink`` > ``norm``."""
    if abs(sink) > norm:
        raise ZkitError(f"a vector of norm {norm:g} cannot hold a sink part of {sink:g}")
    return math.sqrt(norm**2 - sink**2)


def predicted_cosines(sinks: Mapping[str, float], style: float) -> dict[tuple[str, str], float]:
    """Cosine of each two literal vectors that have only their sink direction in common.

    sinks: their sink parts, by name. style: the norm of their style parts, which are taken to be of equal norm and
    orthogonal to each other and to the sink.
    """
    names = list(sinks)
    return {
        (a, b): sinks[a] * sinks[b] / (math.hypot(sinks[a], style) * math.hypot(sinks[b], style))
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }


def token_counts(model: Model, prompts: Sequence[Prompt], chat: bool = True) -> list[int]:
    """Number of tokens of each prompt, template included. Raises ZkitError for no prompts, or one without a token."""
    return [int(row.sum()) for row in model.tokenize(prompts, chat)["attention_mask"]]
