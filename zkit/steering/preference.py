"""How far a model leans to a style, on any model and for any pair of instructions, before any text has changed.

The model's own answers under the two instructions are the two poles. Steered, and asked without an instruction, does it
find those of the positive pole likelier than it did? No vocabulary and no judge is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from zkit.batching import Arms
from zkit.errors import ZkitError
from zkit.generation import complete, log_probs
from zkit.models import Model
from zkit.refusals import Refusals, classes
from zkit.replies import ANSWERS
from zkit.steering.styles import Style


@dataclass(frozen=True)
class Poles:
    """Questions, and the model's own answers to each under the positive and under the negative instruction."""

    questions: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    not_answered: int = 0
    """Questions left out because a reply under one of the instructions was no answer, a refusal for example."""


def asked(style: Style, question: str) -> tuple[str, str]:
    """The question with the positive and with the negative instruction before it."""
    return f"{style.positive} {question}", f"{style.negative} {question}"


def poles(
    model: Model,
    style: Style,
    questions: Sequence[str],
    max_new_tokens: int = 96,
    refusals: Refusals | None = None,
) -> Poles:
    """Greedy answers of the un-steered model under both instructions.

    Questions whose two answers agree are left out, and those with a reply that is no answer: a pole made of refusals
    is no style. ``refusals``: the model's own (:func:`zkit.refusals.own_refusals`), elicited if not given.
    Raises ZkitError if none is left: the model then does not follow these instructions.
    """
    prompts = [asked(style, question) for question in questions]
    flat = [prompt for pair in prompts for prompt in pair]
    replies = complete(model, flat, max_new_tokens=max_new_tokens)
    sound = [kind in ANSWERS for kind in classes(model, flat, replies, refusals)]
    pairs = list(zip(questions, replies[::2], replies[1::2], sound[::2], sound[1::2], strict=True))
    kept = [(q, yes.text, no.text) for q, yes, no, one, other in pairs if one and other and yes.text != no.text]
    lost = sum(not (one and other) for *_, one, other in pairs)
    if not kept:
        why = f" or with no answer ({lost} of {len(pairs)} questions)" if lost else ""
        raise ZkitError(
            f"{model.id!r} answers the same{why} under {style.positive!r} and {style.negative!r}: it does not follow "
            "these instructions, so there is no style to measure; give others"
        )
    one, other, third = zip(*kept, strict=True)
    return Poles(one, other, third, lost)


@overload
def preference(model: Model, given: Poles, arms: None = None) -> list[float]: ...
@overload
def preference(model: Model, given: Poles, arms: Arms) -> list[list[float]]: ...
def preference(model: Model, given: Poles, arms: Arms | None = None) -> list[float] | list[list[float]]:
    """For each question the mean log-probability (nats per token) of its positive answer minus that of its negative.

    The questions are asked without an instruction; with ``arms``, lists of edits, there is a list for each, and they
    share batches. Edits in force apply; the answers count as generated.
    """
    n, every = len(given.questions), [[]] if arms is None else arms
    scored = log_probs(model, list(given.questions) * 2, [*given.positive, *given.negative], every)
    found = [[float(yes.mean() - no.mean()) for yes, no in zip(rows[:n], rows[n:], strict=True)] for rows in scored]
    return found[0] if arms is None else found
