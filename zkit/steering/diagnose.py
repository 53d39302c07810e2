"""Where and how strongly to steer a model that one knows nothing about: a recommendation with its reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import check_prompts
from zkit.refusals import own_refusals
from zkit.steering.actadd import actadd
from zkit.steering.apply import edits
from zkit.steering.contrast import contrasts
from zkit.steering.controls import random_like
from zkit.steering.outcomes import SAFE, judge_texts, outcomes, phases
from zkit.steering.preference import Poles, asked, poles, preference
from zkit.steering.scorecard import geometry
from zkit.steering.strength import alpha_for, reference_norms
from zkit.steering.styles import Style
from zkit.steering.sweep import sweep
from zkit.steering.vectors import SteeringVector

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
"""Questions that a recommendation is made on: everyday topics, no style asked for."""

TRIAL_DOSE = 0.3
DOSES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5)
RIVALS = 8  # random directions that the vector must beat
MARGIN = 3.0  # by so many times their root mean square: rare by chance, even for the best of a model's layers


@dataclass(frozen=True)
class Diagnosis:
    """A recommendation. ``table`` is the scorecard, one row a layer; ``curve`` the texts' fate at the chosen layer."""

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

    The layer is the one at which doses of -0.3 and 0.3 move :func:`preference` furthest apart; the dose is the largest
    of ``doses`` at which, and below which, at most a tenth of the texts are no answers: refused, broken or in another
    language. ``table`` has the columns of :func:`geometry` and ``effect`` (nats per token), ``curve`` those of
    :func:`outcomes` by dose; ``changes``, ``collapses`` and ``refuses`` are those of :func:`phases`. Raises ZkitError
    for doses that are not above zero, fewer than two questions, a model that does not follow the instructions, a vector
    that does no more than random directions of its length, and as recording and generation do.
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
    table["effect"] = _effects(model, [v.at(layer) for layer in v.layers], usual, given)
    layer = int(table.loc[table["effect"].idxmax(), "layer"])
    effect = float(table["effect"].max())
    rivals = _effects(model, random_like(v.at(layer), RIVALS), usual, given)
    chance = math.sqrt(sum(x * x for x in rivals) / RIVALS)
    if effect <= MARGIN * chance:
        raise ZkitError(
            f"no layer of {model.id!r} moves towards {style.positive!r} under its vector more than by chance: the best "
            f"by {effect:.3f} nats per token, random directions of its length by {chance:.3f}; nothing to recommend"
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
    unsteered = found.loc[found["alpha"] == 0, "text"].tolist()  # of the same batches, so that only steering differs
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
        f"kinds of answers by {effect:.2f} nats per token, the most of {len(v.layers)} layers; random directions of "
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


def _effects(
    model: Model, parts: Sequence[SteeringVector], usual: Float[Tensor, " n_layers"], given: Poles
) -> list[float]:
    """Preference under each vector's trial dose minus that under its negative, mean over questions (nats per token)."""
    arms = [edits(model, part, alpha_for(sign * TRIAL_DOSE, part, usual)) for part in parts for sign in (1, -1)]
    means = [sum(found) / len(found) for found in preference(model, given, arms)]
    return [up - down for up, down in zip(means[::2], means[1::2], strict=True)]
