"""The choice of layer and strength: a vector's geometry and effect by layer, and a recommendation with reasons."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from zkit.anatomies import dissect
from zkit.batching import Arms
from zkit.errors import ZkitError
from zkit.generation import complete, log_probs
from zkit.models import Model
from zkit.prompts import Prompt, check_prompts
from zkit.refusals import Refusals, classes, own_refusals
from zkit.replies import ANSWERS
from zkit.steering.apply import NEUTRAL, alpha_for, edits, reference_norms, usual_norms
from zkit.steering.contrast import Style, actadd, contrasts, stability
from zkit.steering.controls import random_like
from zkit.steering.texts import SAFE, judge_texts, outcomes, phases, sweep
from zkit.steering.vectors import SteeringVector


@dataclass(frozen=True)
class Poles:
    """Questions, and the model's own answers to each under the positive and under the negative instruction."""

    questions: tuple[str, ...]
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    not_answered: int = 0
    """Number of questions left out because a reply under one of the instructions was no answer, such as a refusal."""


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

    Questions whose two answers are equal are left out, and those with a reply that is no answer, because refusals do
    not represent a style. max_new_tokens: of an answer. refusals: the model's own
    (:func:`zkit.refusals.own_refusals`), elicited if not given. Raises ZkitError if no question is left: the model then
    does not follow these instructions.
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

    The questions are asked without an instruction. With ``arms``, lists of edits, there is a list of values for each
    arm; arms share batches. Edits in force apply; the answers count as generated.
    """
    n, every = len(given.questions), [[]] if arms is None else arms
    scored = log_probs(model, list(given.questions) * 2, [*given.positive, *given.negative], every)
    found = [[float(yes.mean() - no.mean()) for yes, no in zip(rows[:n], rows[n:], strict=True)] for rows in scored]
    return found[0] if arms is None else found


Measure = Callable[[Model, Arms], Sequence[Sequence[float]]]
"""Returns one value per item for each arm, such as ``lambda model, arms: preference(model, given, arms)``."""


def effect(
    model: Model,
    vectors: SteeringVector | Sequence[SteeringVector],
    dose: float | None,
    measure: Measure,
    *,
    alpha: float | None = None,
    first_token: bool = False,
) -> Float[NDArray, "n_vectors n_items"]:
    """The measure's values under each vector minus those under the vector's negative; all arms share batches.

    vectors: several; or one, of which each layer is steered separately.
    dose, alpha: the strength in both directions; give one of them. A dose needs vectors of one layer.
    measure: the function that is called on all arms. first_token: whether the first token is steered too.
    Raises ZkitError for both strengths or none, a dose of a vector of several layers, and input that ``measure``
    refuses.
    """
    given = {name: size for name, size in (("dose", dose), ("alpha", alpha)) if size is not None}
    if len(given) != 1:
        raise ZkitError("give dose=... or alpha=..., one of the two")
    strengths: list[dict[str, Any]] = [{name: sign * size for name, size in given.items()} for sign in (1, -1)]
    several = [vectors.at(l) for l in vectors.layers] if isinstance(vectors, SteeringVector) else list(vectors)
    arms = [edits(model, v, first_token=first_token, **strength) for v in several for strength in strengths]
    found = np.asarray(measure(model, arms), dtype=float)
    return found[::2] - found[1::2]


PUBLISHED_BANDS = {"early": (0, 7), "middle": (12, 17), "late": (18, 22), "end": (23, 27)}
PUBLISHED_LAYERS = 28


def bands(n_layers: int) -> dict[str, list[int]]:
    """The published layer roles (of 28 layers) at the same relative depth: name -> layers; at most one role a layer.

    Layers 8 to 11 of 28 have no published role, so some layers of other models have none.
    """
    found: dict[str, list[int]] = {name: [] for name in PUBLISHED_BANDS}
    for layer in range(n_layers):
        place = (layer + 0.5) / n_layers * PUBLISHED_LAYERS - 0.5
        for name, (low, high) in PUBLISHED_BANDS.items():
            if low - 0.5 <= place < high + 0.5:
                found[name].append(layer)
    return found


def geometry(
    model: Model,
    v: SteeringVector,
    deltas: Float[Tensor, "n_pairs n_layers d_model"] | None = None,
    prompts: Sequence[Prompt] = NEUTRAL,
) -> pd.DataFrame:
    """Norms of states and vector at each layer of ``v``, from one forward pass over the prompts.

    Columns: layer; first_norm, the first token's median norm; usual_norm, the median norm of usual tokens
    (:func:`zkit.steering.reference_norms`); mean_norm, the mean over all tokens (as published); n_massive, the mean
    number of massive tokens in a prompt; vector_norm; snr = vector_norm / mean_norm (as published); dose_per_alpha =
    vector_norm / usual_norm; and, if ``deltas`` are given (:func:`zkit.steering.contrasts` at the layers of ``v``),
    their stability. Raises ZkitError for ``deltas`` of another number of layers and prompts without usual tokens.
    """
    found = dissect(model, prompts, v.layers)
    frame = pd.DataFrame(
        {
            "layer": v.layers,
            "first_norm": torch.stack([part.norms[0] for part in found]).median(0).values.tolist(),
            "usual_norm": usual_norms(found).tolist(),
            "mean_norm": torch.cat([part.norms for part in found]).mean(0).tolist(),
            "n_massive": torch.stack([part.massive.sum(0) for part in found]).double().mean(0).tolist(),
            "vector_norm": list(v.norms.values()),
        }
    )
    frame["snr"] = frame["vector_norm"] / frame["mean_norm"]
    frame["dose_per_alpha"] = frame["vector_norm"] / frame["usual_norm"]
    if deltas is not None:
        if deltas.shape[1] != len(v.layers):
            raise ZkitError(
                f"the differences speak of {deltas.shape[1]} layers, the vector of {len(v.layers)}; record the same"
            )
        frame["stability"] = stability(deltas).tolist()
    return frame


QUESTIONS = (
    "Explain what a mutex is.",
    "How does bread rise?",
    "Why are there tides?",
    "What is photosynthesis?",
    "What is gravity?",
    "How does a battery work?",
    "What is a volcano?",
    "Tell me about coffee.",
    "What is a database?",
    "Describe a glacier.",
    "Why is there rain?",
    "What is money?",
)
"""Questions from which a recommendation is made: on everyday topics, in neutral style."""

TRIAL_DOSE = 0.3
DOSES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5)
RIVALS = 8  # random directions that the vector must beat
MARGIN = 3.0  # in root mean squares of these directions: rare by chance, even for the best of all layers


@dataclass(frozen=True)
class Diagnosis:
    """A recommendation. ``table`` is the scorecard by layer; ``curve`` has the outcomes of texts by dose at the chosen
    layer. The other fields: see :func:`diagnose`."""

    layer: int
    alpha: float
    dose: float
    changes: float
    collapses: float
    refuses: float
    table: pd.DataFrame
    curve: pd.DataFrame
    reasons: tuple[str, ...]


def diagnose(
    model: Model,
    style: Style,
    questions: Sequence[str] = QUESTIONS,
    *,
    doses: Sequence[float] = DOSES,
    max_new_tokens: int = 96,
) -> Diagnosis:
    """Recommend a layer and a strength for a style's ActAdd vector, from the model's answers to some questions.

    The layer is the one at which doses of -0.3 and 0.3 differ most in :func:`preference`. The dose is the largest of
    ``doses`` at which, and below which, at most a tenth of the texts are no answers: refused, broken or in another
    language. ``table`` has the columns of :func:`geometry` and ``effect`` (nats per token), ``curve`` those of
    :func:`outcomes` by dose; ``changes``, ``collapses`` and ``refuses`` are those of :func:`phases`.
    max_new_tokens: of an answer. Raises ZkitError for doses that are not above zero, fewer than two questions, a model
    that does not follow the instructions, a vector with no more effect than random directions of its norm, and if even
    at the smallest dose too many texts are no answers.
    """
    if len(doses) == 0 or not all(0 < dose < math.inf for dose in doses):
        raise ZkitError(f"doses must be above zero, got {list(doses)}; the un-steered model is always beside them")
    if len(check_prompts(questions)) < 2:
        raise ZkitError("a recommendation is made on several questions; give at least two")
    ladder = sorted(set(doses))
    v, usual = actadd(model, positive=style.positive, negative=style.negative), reference_norms(model)
    own = own_refusals(model)
    given = poles(model, style, questions, max_new_tokens, own)
    sides = list(zip(*(asked(style, q) for q in questions), strict=True))
    table = geometry(model, v, contrasts(model, list(sides[0]), list(sides[1]), pool="last"))

    def preferred(model: Model, arms: Arms) -> list[list[float]]:
        return preference(model, given, arms)

    table["effect"] = effect(model, v, TRIAL_DOSE, preferred).mean(1)
    layer = int(table.loc[table["effect"].idxmax(), "layer"])
    best = float(table["effect"].max())
    rivals = effect(model, random_like(v.at(layer), RIVALS), TRIAL_DOSE, preferred).mean(1)
    chance = float(np.sqrt((rivals**2).mean()))
    if best <= MARGIN * chance:
        raise ZkitError(
            f"no layer of {model.id!r} moves towards {style.positive!r} under its vector more than by chance: the best "
            f"by {best:.3f} nats per token, random directions of its length by {chance:.3f}; nothing to recommend"
        )
    found = sweep(
        model,
        v.at(layer),
        questions,
        doses=[0.0, *ladder],
        reference=usual,
        max_new_tokens=max_new_tokens,
        refusals=own,
    )
    unsteered = found.loc[found["alpha"] == 0, "text"].tolist()  # from the same batches, so that rounding is the same
    judged = judge_texts(model, questions, found, unsteered, own).assign(dose=lambda rows: rows["dose"].round(6))
    every = outcomes(judged, "dose")
    start, curve = every.iloc[0], every.iloc[1:].reset_index(drop=True)
    where = phases(judged).iloc[0]
    lost = (1 - curve["answers"] / curve["texts"]).cummax()
    good = [d for d, bad in zip(curve["dose"], lost, strict=True) if bad <= SAFE]
    if not good:
        raise ZkitError(
            f"even at a dose of {ladder[0]:g} {lost.iloc[0]:.0%} of the texts of {model.id!r} are no answers "
            f"({curve['refused'].iloc[0]:.0%} refusals; without a vector {start['refused']:.0%}); give smaller doses, "
            "or questions that it answers"
        )
    dose = float(good[-1])
    row = curve[curve["dose"] == dose].iloc[0]
    changes, collapses, refuses = (float(where[name]) for name in ("changes", "collapses", "refuses"))
    reasons = (
        f"layer {layer}: doses of -{TRIAL_DOSE:g} and {TRIAL_DOSE:g} move the model's preference between its own two "
        f"kinds of answers by {best:.2f} nats per token, the most of {len(v.layers)} layers; random directions of "
        f"the same length do by {chance:.2f}",
        (
            f"answers begin to change at a dose of {changes:g}"
            if math.isfinite(changes)
            else "most answers do not change"
        )
        + f" (median of {len(questions)} questions) and "
        + (f"collapse from {collapses:g} on" if math.isfinite(collapses) else f"do not collapse up to {ladder[-1]:g}")
        + (f"; half of the texts are refusals from {refuses:g} on" if math.isfinite(refuses) else ""),
        f"dose {dose:g}: the largest tried up to which no more than {SAFE:.0%} of the texts are no answers; of "
        f"{row['answers']:.0f} answers {row['changed']:.0%} have changed, and their mean length goes from "
        f"{start['words']:.1f} to {row['words']:.1f} words; {row['refused']:.0%} of the texts are refusals, "
        f"{start['refused']:.0%} without a vector" + ("" if own.found else " (this model has no refusals of its own)"),
    )
    alpha = alpha_for(dose, v.at(layer), usual)
    return Diagnosis(layer, alpha, dose, changes, collapses, refuses, table, curve, reasons)
