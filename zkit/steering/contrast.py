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
    """The instruction that asks for a style, and the one that asks for its opposite."""

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
    """The style of this name in STYLES. Raises ZkitError for an unknown name."""
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
ROUNDING = 1e-5  # share of a state's norm by which rows of one batch may differ through rounding


def default_pool(chat: bool) -> Pool:
    """The default pool: the tokens of the chat template after the message or, without a template, those of the text."""
    return "suffix" if chat else "content"


def contrasts(
    model: Model,
    positives: Sequence[Prompt],
    negatives: Sequence[Prompt],
    layers: Sequence[int] | None = None,
    **options: Any,
) -> Float[Tensor, "n_pairs n_layers d_model"]:
    """Pooled state of each positive prompt minus that of its negative prompt, at the output of each layer.

    layers: their numbers (None: all). options: those of :func:`sides`. Raises ZkitError for no prompts, lists of
    different lengths, an unknown pool or layer, and other input that :func:`sides` refuses.
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
    """Pooled states of the positive and of the negative prompts, recorded in the same batches.

    layers: their numbers (None: all). chat: whether to use the chat template. batch_size: see
    :func:`zkit.generation.complete`.
    pool: ``"suffix"``, the mean over the tokens that the chat template puts after the message, without massive ones.
    These tokens are the same for every prompt, and their states depend on it (the post-instruction tokens of Arditi et
    al. 2024). ``"content"``, over the tokens of the messages, without massive ones; ``"all"``, over all tokens but the
    first; ``"literal"``, over all tokens, the published recipe; ``"last"``, the last token of the prompt;
    ``"response"``, the mean over the model's own greedy answer of at most ``max_new_tokens``, without massive tokens.
    None means ``"suffix"`` with a chat template, and ``"content"`` without. ``"all"`` and ``"literal"`` include states
    of the beginning that all prompts share, in a share that depends on the prompt's length
    (:func:`zkit.steering.sink.prefix_artefact`).
    Raises ZkitError for no prompts, lists of different lengths, an unknown pool or layer, an empty answer, and a prompt
    in which no token is chosen.
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

    positives, negatives, layers, pool, chat, max_new_tokens, batch_size: see :func:`sides`. Raises ZkitError for lists
    of different lengths, an unknown pool or layer, the same prompts on both sides, and states that do not differ.
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
    """Mean cosine between the differences of two pairs, over all pairs of pairs: 1 if all have the same direction.

    Raises ZkitError for fewer than two pairs and for a pair without a difference.
    """
    n = len(deltas)
    lengths = deltas.norm(dim=-1, keepdim=True)
    if n < 2 or not bool((lengths > 0).all()):
        raise ZkitError(f"stability compares the differences of at least two pairs, none of them zero; got {n}")
    # |sum of unit vectors|^2 = n + twice the sum of the cosines
    return ((deltas / lengths).sum(0).square().sum(-1) - n) / (n * (n - 1))


def stability_interval(deltas: Float[Tensor, "n_pairs n_layers d_model"]) -> Interval:
    """:func:`stability`, averaged over the layers, with a 95% interval by the jackknife over pairs (Efron).

    Each pair occurs in the cosines of all others, so a bootstrap of each pair's mean cosine would be too narrow.
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

    chat: whether tokens are counted with the chat template. Raises ZkitError if the filler adds no token, or overshoots
    the longer prompt; a filler of one token cannot.
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

    style, or positive and negative: the name of a style, or two prompts. layer: one, several, or None for every layer;
    all come from one forward pass. chat: whether to use the chat template.
    pool: the tokens of the mean (:func:`zkit.steering.contrast.sides`); by default those that the chat template puts
    after the instruction, because a mean that includes the common beginning of all prompts makes the difference depend
    on the prompts' lengths. ``"literal"``, all tokens, is the published recipe. The vector is not normalised.

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
