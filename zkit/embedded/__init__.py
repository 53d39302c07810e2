"""The gates that were trained on the embedded model and ship with it."""

from __future__ import annotations

from pathlib import Path

from zkit.errors import ZkitError
from zkit.gating import Gates, load

GATES = Path(__file__).parent / "gates"
"""The folder of the files ``<schedule>/<variant>-<seed>.safetensors``."""


def gates(variant: str, seed: int = 0, schedule: str = "scaled") -> Gates:
    """Gates of the embedded model. Raises ZkitError, which lists the existing ones, for a name that does not exist."""
    path = GATES / schedule / f"{variant}-{seed}.safetensors"
    if not path.is_file():
        there = [file.relative_to(GATES) for file in GATES.glob("*/*.safetensors")]
        schedules = sorted({file.parts[0] for file in there})
        variants = sorted({file.stem.rpartition("-")[0] for file in there})
        raise ZkitError(
            f"no gates {variant!r} with seed {seed} and schedule {schedule!r} ship with the embedded model; schedules "
            f"are {', '.join(schedules)}, variants {', '.join(variants)}, and seeds count from 0"
        )
    return load(path)
