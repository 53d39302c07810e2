"""Activation addition: move a model's style by adding a vector to its residual stream, without training.

Source: Turner et al. 2023 (ActAdd); the styles and the literal recipe are those of the qwen3-steering project.
"""

from zkit.steering.apply import alpha_for, dose, edits, fold, plan, reference_norms, residual_share, steer
from zkit.steering.contrast import (
    STYLES,
    Style,
    actadd,
    contrasts,
    length_matched,
    mean_difference,
    stability,
    stability_interval,
)
from zkit.steering.controls import random_like, shuffled_pairs, sink_direction
from zkit.steering.gguf import read_gguf, write_gguf
from zkit.steering.scorecard import bands, diagnose, effect, geometry, poles, preference
from zkit.steering.texts import judge_texts, outcomes, phases, sweep
from zkit.steering.topic_lenses import (
    Lens,
    ask_lenses,
    bleed,
    positive_control,
    read_lenses,
    score_bleed,
    shipped_lenses,
)
from zkit.steering.vectors import SteeringVector, orthogonalise

__all__ = [
    "STYLES",
    "Lens",
    "SteeringVector",
    "Style",
    "actadd",
    "alpha_for",
    "ask_lenses",
    "bands",
    "bleed",
    "contrasts",
    "diagnose",
    "dose",
    "edits",
    "effect",
    "fold",
    "geometry",
    "judge_texts",
    "length_matched",
    "mean_difference",
    "orthogonalise",
    "outcomes",
    "phases",
    "plan",
    "poles",
    "positive_control",
    "preference",
    "random_like",
    "read_gguf",
    "read_lenses",
    "reference_norms",
    "residual_share",
    "score_bleed",
    "shipped_lenses",
    "shuffled_pairs",
    "sink_direction",
    "stability",
    "stability_interval",
    "steer",
    "sweep",
    "write_gguf",
]
