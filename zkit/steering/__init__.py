"""Activation addition: move a model's style by adding a vector to its residual stream, without training.

Source: Turner et al. 2023 (ActAdd); the styles and the literal recipe are those of the qwen3-steering project.
"""

from zkit.steering.actadd import actadd
from zkit.steering.apply import edits, fold, steer
from zkit.steering.bleed import ask_lenses, bleed, positive_control, score_bleed
from zkit.steering.contrast import contrasts, length_matched, mean_difference, stability, stability_interval
from zkit.steering.controls import random_like, shuffled_pairs, sink_direction
from zkit.steering.diagnose import diagnose
from zkit.steering.gguf import read_gguf, write_gguf
from zkit.steering.lenses import Lens, lenses, read_lenses
from zkit.steering.orthogonal import orthogonalise
from zkit.steering.outcomes import judge_texts, outcomes, phases
from zkit.steering.plans import plan
from zkit.steering.preference import poles, preference
from zkit.steering.scorecard import bands, geometry
from zkit.steering.strength import alpha_for, dose, reference_norms, residual_share
from zkit.steering.styles import STYLES, Style
from zkit.steering.sweep import sweep
from zkit.steering.vectors import SteeringVector

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
    "fold",
    "geometry",
    "judge_texts",
    "length_matched",
    "lenses",
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
    "shuffled_pairs",
    "sink_direction",
    "stability",
    "stability_interval",
    "steer",
    "sweep",
    "write_gguf",
]
