"""Vectors from contrasting prompts: ActAdd, the mean of the differences of pairs, and how well pairs agree.

Source: Turner et al. 2023 (ActAdd); the four styles are those of the qwen3-steering project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.models import Model
from zkit.prompts import Prompt, check_prompts
from zkit.recording import record
from zkit.stats import Interval
from zkit.steering.vectors import SteeringVector


@dataclass(frozen=True)
class Style:
    """One axis: the instruction that asks for the style and the one that asks for its opposite."""

    positive: str
    negative: str


STYLES = {
    "terse": Style(
        "Be extremely concise and technical. No filler words.",
        "Please explain thoroughly with lots of context and examples.",
    ),
    "formal": Style("Respond in precise, formal academic prose.", "Just chat with me casually."),
    "socratic": Style("Respond only with targeted clarifying questions.", "Give me the answer directly."),
    "dry-wit": Style(
        "Respond with dry understatement and laconic precision.", "Be enthusiastic, warm, and encouraging."
    ),
}


def find(name: str) -> Style:
    """The style called ``name``. Raises ZkitError for an unknown one."""
    if name not in STYLES:
        raise ZkitError(
            f"unknown style {name!r}; the styles are {', '.join(STYLES)}, or give positive=... and negative=..."
        )
    return STYLES[name]


Pool = Literal["suffix", "content", "all", "literal", "last", "response"]
_RECORDED: dict[Pool, dict[str, Any]] = {
    "suffix": {"positions": "suffix"},
    "content": {"positions": "content"},
    "all": {"positions": "all", "massive": True},
    "literal": {"positions": "all", "massive": True, "first_token": True},
    "last": {"pool": "last"},
    "response": {"positions": "generated"},
}
_POOLING: dict[Pool, str] = {
    "suffix": "mean over the chat template's tokens after the message that are not massive",
    "content": "mean over the tokens of the message that are not massive",
    "all": "mean over all tokens but the first",
    "literal": "mean over all tokens",
    "last": "last token",
    "response": "mean over the answer's tokens that are not massive",
}
ROUNDING = 1e-5  # of a state's norm: two rows of one batch can differ by that much without differing in meaning


def default_pool(chat: bool) -> Pool:
    """The pool that prompts get if none is named: of the template's last tokens, or without one of the text's own."""
    return "suffix" if chat else "content"


def contrasts(
    model: Model,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    layers: Sequence[int] | None = None,
    **options: Any,
) -> Float[Tensor, "n_pairs n_layers d_model"]:
    """Pooled state of each positive prompt minus that of its negative one, at the output of each layer (None: of all).

    ``options`` are those of :func:`sides`. Raises ZkitError for lists of different lengths and an unknown pool.
    """
    one, other = sides(model, positives, negatives, layers, **options)
    return one - other


def sides(
    model: Model,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    layers: Sequence[int] | None = None,
    *,
    pool: Pool | None = None,
    chat: bool = True,
    max_new_tokens: int = 64,
    batch_size: int | None = None,
) -> tuple[Float[Tensor, "n_pairs n_layers d_model"], Float[Tensor, "n_pairs n_layers d_model"]]:
    """Pooled states of the positive and of the negative prompts, from one pass over all of them.

    pool: ``"suffix"``, the mean over the tokens that the chat template puts after the message, without massive ones:
    the same tokens in the same number behind every prompt, in states that have read it (the post-instruction tokens of
    Arditi et al. 2024); ``"content"``, over the tokens of the messages themselves, without massive ones; ``"all"``,
    over all tokens but the first; ``"literal"``, over all tokens, the published recipe; ``"last"``, the last token of
    the prompt; ``"response"``, the mean over the model's own greedy answer of at most ``max_new_tokens``, without
    massive tokens. None takes ``"suffix"`` of a chat template, and ``"content"`` of plain text. ``"all"`` and
    ``"literal"`` hold what every prompt begins with, in a share that its length decides
    (:func:`zkit.steering.sink.prefix_artefact`).
    Raises ZkitError for lists of different lengths, an unknown pool, an empty answer, and as :func:`zkit.record` does.
    """
    if len(check_prompts(positives)) != len(check_prompts(negatives)):
        raise ZkitError(f"{len(positives)} positive but {len(negatives)} negative prompts; give them in pairs")
    pool = default_pool(chat) if pool is None else pool
    if pool not in get_args(Pool):
        raise ZkitError(f"unknown pool {pool!r}; use {', '.join(get_args(Pool))}")
    prompts = [*positives, *negatives]
    answers = None
    if pool == "response":
        found = complete(model, prompts, max_new_tokens=max_new_tokens, chat=chat, batch_size=batch_size)
        answers = [answer.text for answer in found]
        if not all(answers):
            mute = prompts[answers.index("")]
            raise ZkitError(
                f"{model.id!r} answers {str(mute)[:60]!r} with nothing to pool; change it, or take another pool"
            )
    shared: dict[str, Any] = {"layers": layers, "chat": chat, "batch_size": batch_size, "answers": answers}
    states = record(model, prompts, **_RECORDED[pool], **shared)
    return states[: len(positives)], states[len(positives) :]


def mean_difference(
    model: Model,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    layers: Sequence[int] | None = None,
    *,
    pool: Pool | None = None,
    chat: bool = True,
    max_new_tokens: int = 64,
    batch_size: int | None = None,
) -> SteeringVector:
    """v_l = mean over pairs of :func:`contrasts`, not normalised.

    Raises ZkitError for lists of different lengths, an unknown pool or layer, the same prompts on both sides, and
    states that do not differ.
    """
    if list(positives) == list(negatives):
        raise ZkitError("the positive and the negative prompt are the same; their difference is no direction")
    chosen = [model.check_layer(l) for l in (range(model.n_layers) if layers is None else layers)]
    options: dict[str, Any] = {"chat": chat, "max_new_tokens": max_new_tokens, "batch_size": batch_size}
    one, other = (side.mean(0) for side in sides(model, positives, negatives, chosen, pool=pool, **options))
    mean = one - other
    if bool((mean.norm(dim=-1) <= ROUNDING * one.norm(dim=-1)).any()):
        raise ZkitError("the two prompts leave the same states; choose prompts that differ in more than their length")
    note = {
        "method": "mean difference",
        "model": model.id,
        "pairs": str(len(positives)),
        "positive": str(positives[0]),
        "negative": str(negatives[0]),
        "pooling": _POOLING[default_pool(chat) if pool is None else pool],
    }
    return SteeringVector({l: mean[i].clone() for i, l in enumerate(chosen)}, note)


def stability(deltas: Float[Tensor, "n_pairs n_layers d_model"]) -> Float[Tensor, " n_layers"]:
    """Mean cosine between the differences of two pairs, over all pairs of pairs: 1 where all point one way.

    Raises ZkitError for fewer than two pairs and for a pair without a difference.
    """
    n = len(deltas)
    lengths = deltas.norm(dim=-1, keepdim=True)
    if n < 2 or not bool((lengths > 0).all()):
        raise ZkitError(f"stability compares the differences of at least two pairs, none of them zero; got {n}")
    # |sum of unit vectors|^2 = n + twice the sum of the cosines
    return ((deltas / lengths).sum(0).square().sum(-1) - n) / (n * (n - 1))


def stability_interval(deltas: Float[Tensor, "n_pairs n_layers d_model"]) -> Interval:
    """:func:`stability`, mean over the layers given, with a 95% interval by the jackknife over pairs (Efron).

    A pair takes part in every cosine with another one, so a bootstrap of each pair's mean cosine would be too narrow.
    Raises ZkitError for fewer than three pairs and for a pair without a difference.
    """
    n = len(deltas)
    if n < 3:
        raise ZkitError(f"an interval of the stability leaves out one pair at a time; give at least three, not {n}")
    value = float(stability(deltas).mean())
    rest = torch.stack([stability(torch.cat((deltas[:i], deltas[i + 1 :]))).mean() for i in range(n)])
    error = float(((n - 1) / n * (rest - rest.mean()).square().sum()).sqrt())
    return Interval(value, value - 1.96 * error, value + 1.96 * error, n)


def length_matched(
    model: Model, positive: str, negative: str, filler: str = " please", chat: bool = True
) -> tuple[str, str]:
    """The two prompts with the same number of tokens: ``filler`` is appended to the shorter one until they agree.

    Raises ZkitError if the filler's tokens overshoot, and if it adds none; one token each is safe.
    """
    texts = [positive, negative]
    sizes = [_tokens(model, text, chat) for text in texts]
    short, goal = sizes.index(min(sizes)), max(sizes)
    while (size := sizes[short]) < goal:
        texts[short] += filler
        sizes[short] = _tokens(model, texts[short], chat)
        if sizes[short] <= size:
            raise ZkitError(f"appending {filler!r} to {texts[short][:60]!r} adds no token; give another filler")
    if sizes[short] > goal:
        raise ZkitError(f"appending {filler!r} to {texts[short][:60]!r} overshoots {goal} tokens; give another filler")
    return texts[0], texts[1]


def _tokens(model: Model, text: str, chat: bool) -> int:
    return int(model.tokenize([text], chat)["attention_mask"].sum())


def actadd(
    model: Model,
    style: str | None = None,
    layer: int | Sequence[int] | None = None,
    *,
    positive: Prompt | None = None,
    negative: Prompt | None = None,
    pool: Pool | None = None,
    chat: bool = True,
) -> SteeringVector:
    """v_l = mean state of the positive prompt - mean state of the negative one, at the output of each layer l.

    Name a style, or give both prompts. ``layer``: one, several, or None for every layer; all of them come from one
    forward pass. The mean runs over the tokens that the chat template puts after the instruction, because a difference
    of means that lets in what every prompt begins with measures the lengths of the prompts; ``pool="literal"`` is the
    published recipe, a mean over every token. Other pools are those of :func:`zkit.steering.contrast.sides`. The vector
    is not normalised.

    Raises ZkitError for an unknown style, a missing prompt, equal prompts, a layer the model does not have, a pair
    whose states do not differ, and an unknown pool.
    """
    if style is not None and (positive is not None or negative is not None):
        raise ZkitError("give a style or a pair of prompts, not both")
    if style is not None:
        positive, negative = find(style).positive, find(style).negative
    if positive is None or negative is None:
        raise ZkitError("give a style, or both positive=... and negative=...")
    several = list(layer) if isinstance(layer, Iterable) else range(model.n_layers) if layer is None else [layer]
    v = mean_difference(model, [positive], [negative], list(several), pool=pool, chat=chat)
    return SteeringVector(v.vectors, {**v.note, "method": "actadd"})
