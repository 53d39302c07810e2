"""The four style axes as numbers: a text's place on each, what a neutral text draws, and the odds of a choice."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from zkit.steering.contrast import STYLES

AXES = tuple(STYLES)
"""Names of the axes; level 1 of an axis is its positive pole, level 0 its negative pole."""

SHARPNESS = 10.0
NEUTRAL_MEAN = {"terse": 0.5, "formal": 0.5, "socratic": 0.45, "dry-wit": 0.5}
NEUTRAL_SPREAD = 0.2


@dataclass(frozen=True)
class Style:
    """A place on every axis, each in 0..1, and the lens that analogies are taken from (None: no lens is wished for)."""

    levels: dict[str, float] = field(default_factory=lambda: dict(NEUTRAL_MEAN))
    lens: str | None = None

    def at(self, axis: str, level: float) -> Style:
        """The same style with another level on one axis."""
        return Style({**self.levels, axis: level}, self.lens)


def draw(rng: random.Random, mean: float, spread: float) -> float:
    """A level from a normal distribution, cut to 0..1."""
    return min(1.0, max(0.0, rng.gauss(mean, spread)))


def neutral(rng: random.Random) -> Style:
    """The style of a text that nobody asked a style of: a mixture, drawn on each axis by itself."""
    return Style({axis: draw(rng, NEUTRAL_MEAN[axis], NEUTRAL_SPREAD) for axis in AXES})


def odds(level: float, threshold: float) -> float:
    """Probability that a choice at `threshold` takes the option of the positive pole."""
    return 1 / (1 + math.exp(-SHARPNESS * (level - threshold)))
