"""Activation addition: move a model's style by adding a vector to its residual stream, without training.

Source: Turner et al. 2023 (ActAdd); the styles and the literal recipe are those of the qwen3-steering project.
"""

from zkit.steering.actadd import actadd
from zkit.steering.apply import edits, fold, steer
from zkit.steering.strength import alpha_for, dose, reference_norms
from zkit.steering.styles import STYLES, Style
from zkit.steering.sweep import sweep
from zkit.steering.vectors import SteeringVector

__all__ = [
    "STYLES",
    "SteeringVector",
    "Style",
    "actadd",
    "alpha_for",
    "dose",
    "edits",
    "fold",
    "reference_norms",
    "steer",
    "sweep",
]
