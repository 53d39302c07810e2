"""Can gates take the forget facts away and leave reasoning? One published variant, trained once on a longer schedule.

A positive control for the chapters on gates: the settings were not tuned, and no control but one random mask
stands beside it.
"""

from __future__ import annotations

from zkbook.organism.shipped_gates import SCHEDULES
from zkbook.organism.unlearning import forget_texts, gate_tasks, retain_texts
from zkit.gating import neuron_factors, train
from zkit.gating.controls import random_masks
from zkit.gating.evaluation import score, unchanged
from zkit.models import Model
from zkit.stats import Interval

VARIANT = "chat_energy_optB"
OFF = 0.5  # share of neurons that the hard mask turns off
TASKS = ("trained", "forget", "other country", "sums", "oracle")


def probe(model: Model) -> dict[str, dict[str, Interval]]:
    """Share of right answers to each task of `TASKS`: base, soft, half turned off, and as many turned off at random."""
    gates = train(model, forget_texts(), retain_texts(), VARIANT, **SCHEDULES["scaled"])
    off = gates.off(gates.threshold(OFF))
    arms = {
        "base": unchanged(model),
        "soft": neuron_factors(gates),
        "hard": (~off).float(),
        "random": random_masks(off, 1)[0],
    }
    table = score(model, [task for task in gate_tasks("test") if task.name in TASKS], arms, losses=False)
    table = table[table.measure == "right"]
    return {
        arm: {row.task: Interval(row.value, row.low, row.high, row.n) for row in table[table.arm == arm].itertuples()}
        for arm in arms
    }
