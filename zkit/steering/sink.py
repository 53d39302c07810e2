"""What massive states do to a difference of means: the arithmetic of prompt lengths.

Whatever two prompts say, the chat template begins both with the same P tokens, and since no token sees what follows it
their states are the same in both. A mean over all T tokens of a prompt holds 1/T of their sum, and a difference of
means of prompts of T+ and T- tokens holds (1/T+ - 1/T-) of it. If the first token alone is massive, of norm S, that is
S (1/T+ - 1/T-) along its direction; where more tokens of the template are, leaving out the first leaves their part.
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
    """1/T+ - 1/T-: what a difference of means over all tokens holds of each state that both prompts begin with.

    Zero for prompts of equal length. ZkitError unless both counts are >= 1.
    """
    if min(n_positive, n_negative) < 1:
        raise ZkitError(f"a prompt has at least one token, not {min(n_positive, n_negative)}")
    return 1 / n_positive - 1 / n_negative


def prefix_artefact(
    model: Model, positive: Prompt, negative: Prompt, layers: Sequence[int] | None = None
) -> SteeringVector:
    """a_l = (1/T+ - 1/T-) sum over t < P of h_l^t, the part of a literal vector that the prompts' lengths decide.

    P, T+, T- and the sum as in :func:`prefix_sum`, layers too. A vector over all tokens but the first holds 1/(T+ - 1)
    - 1/(T- - 1) of the sum without its first state. Prompts of equal length have none: the direction is that of
    :func:`prefix_sum`. Raises ZkitError if the two prompts begin with no common token of the template.
    """
    return length_factor(*token_counts(model, [positive, negative])) * prefix_sum(model, positive, negative, layers)


def prefix_sum(model: Model, positive: Prompt, negative: Prompt, layers: Sequence[int] | None = None) -> SteeringVector:
    """sum over t < P of h_l^t at the output of each layer (None: of all), P tokens of the template beginning both.

    Raises ZkitError if the template begins the prompts with different tokens or with none, and as
    :func:`zkit.anatomy` does.
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
    """S, from the mean norm over all tokens of a prompt: (S + (T - 1) usual) / T = mean. ZkitError unless T >= 1."""
    if n_tokens < 1:
        raise ZkitError(f"a prompt has at least one token, not {n_tokens}")
    return n_tokens * mean_norm - (n_tokens - 1) * usual_norm


def sink_part(size: float, n_positive: int, n_negative: int) -> float:
    """S (1/T+ - 1/T-): the signed length, in a literal vector, of a state of norm S that both prompts begin with.

    Raises ZkitError unless both counts are >= 1.
    """
    return size * length_factor(n_positive, n_negative)


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
    """Number of tokens of each prompt, template included. Raises ZkitError for no prompts, or one without a token."""
    return [int(row.sum()) for row in model.tokenize(prompts, chat)["attention_mask"]]
