"""Which texts a step of training reads: a function of the seed and the step, so that a run can start again anywhere."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Indices of forget and retain texts by step; each passes through all of its texts before it repeats one."""

    n_forget: int
    n_retain: int
    forget_per_step: int
    retain_per_step: int
    seed: int

    def steps(self, epochs: float) -> int:
        """Steps in so many passes over the forget texts."""
        return max(1, math.ceil(epochs * self.n_forget / self.forget_per_step))

    def at(self, step: int) -> tuple[list[int], list[int]]:
        """The forget and the retain texts of a step."""
        return (
            self._run("forget", self.n_forget, step * self.forget_per_step, self.forget_per_step),
            self._run("retain", self.n_retain, step * self.retain_per_step, self.retain_per_step),
        )

    def _run(self, what: str, n: int, start: int, length: int) -> list[int]:
        found: list[int] = []
        while len(found) < length:
            turn, first = divmod(start + len(found), n)
            order = random.Random(f"{what} {self.seed} {turn}").sample(range(n), n)
            found += order[first : first + length - len(found)]
        return found
