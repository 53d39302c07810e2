"""The published variants as named recipes; choices that their cards do not state are options of every recipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from zkit.errors import ZkitError
from zkit.gating.apply import SCALES, SCOPES
from zkit.gating.objective import REDUCTIONS

GATES = ("sigmoid", "hard_concrete")


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on besides the model and the texts.

    Defaults are the published values, and below the first comment our choices where the cards state none.
    """

    variant: str
    scale: str
    lambda_f: float
    lambda_r: float
    w: float
    chat: bool
    beta: float = 4.0
    temperature: float = 2.0
    retain_per_forget: int = 2  # in texts
    learning_rate: float = 1e-2  # cosine to zero
    epochs: float = 3.0  # passes over the forget texts
    init_std: float = 0.1
    # not stated by the cards
    t_squared: bool = True
    reduction: str = "token"
    scope: str = "layer"
    forget_per_step: int = 16
    seed: int = 0
    # of the recipe "repaired"
    gate: str = "sigmoid"
    init_mean: float = 0.0
    sparsity: float = 0.0  # penalty on the expected share of neurons off above off_target
    off_target: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("scale", SCALES), ("scope", SCOPES), ("reduction", REDUCTIONS), ("gate", GATES)):
            if getattr(self, name) not in known:
                raise ZkitError(f"unknown {name} {getattr(self, name)!r}; choose one of {', '.join(known)}")
        for name in ("temperature", "learning_rate", "epochs", "forget_per_step"):
            if not getattr(self, name) > 0:
                raise ZkitError(f"{name} must be above zero; got {getattr(self, name)}")
        if self.gate == "hard_concrete" and self.scale != "none":
            raise ZkitError(f"hard concrete gates reach 1 and are not rescaled; use scale='none', not {self.scale!r}")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


# The cards of the baseline and of NKE state neither scale nor format: the mean and plain text are our choice.
VARIANTS = {
    "baseline": Recipe("baseline", "mean", 0.1, 0.5, 0.0, chat=False),
    "nke_w1p0": Recipe("nke_w1p0", "mean", 0.1, 0.5, 1.0, chat=False),
    "nke_optA_w0p05": Recipe("nke_optA_w0p05", "mean", 0.1, 0.5, 0.05, chat=False),
    "nke_optB_lf1p0_w0p1": Recipe("nke_optB_lf1p0_w0p1", "mean", 1.0, 0.5, 0.1, chat=False),
    "chat_energy": Recipe("chat_energy", "energy", 0.1, 0.5, 0.0, chat=True),
    "chat_energy_optA": Recipe("chat_energy_optA", "energy", 0.1, 0.5, 0.05, chat=True),
    "chat_energy_optB": Recipe("chat_energy_optB", "energy", 1.0, 0.5, 0.1, chat=True),
    "chat_mean": Recipe("chat_mean", "mean", 0.1, 0.5, 0.0, chat=True),
}
# Ours: gates that reach 0 and 1, so that they are trained as they are applied, with a penalty on every neuron off above
# a share; beta is a loss at which a fact is no longer said, but its answer is not made as unlikely as possible.
REPAIRED = Recipe("repaired", "none", 1.0, 0.7, 0.5, chat=True, beta=3.0, learning_rate=0.1, epochs=20.0,
                  gate="hard_concrete", init_mean=1.5, sparsity=1.0)  # fmt: skip


def recipe(variant: str, **changes: Any) -> Recipe:
    """A published variant or "repaired", with some options changed. Raises ZkitError for an unknown variant or option,
    and for a value that :class:`Recipe` refuses.
    """
    every = {**VARIANTS, REPAIRED.variant: REPAIRED}
    if variant not in every:
        raise ZkitError(f"unknown variant {variant!r}; choose one of {', '.join(every)}")
    known = {f.name for f in fields(Recipe)} - {"variant"}
    if unknown := sorted(set(changes) - known):
        raise ZkitError(f"unknown option {unknown[0]!r} of a recipe; options are {', '.join(sorted(known))}")
    return replace(every[variant], **changes)
