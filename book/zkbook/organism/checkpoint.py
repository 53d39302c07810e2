"""What a training run of the embedded model goes on from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import Count, Finite, check
from zkit.tensor_files import check_shapes, read_state

REMEDY = "train afresh in another folder"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of Adam
_TYPES: dict[str, Any] = {
    "recipe": dict[str, Any],
    "corpus": str,
    "step": Count,
    "seconds": Annotated[float, Field(ge=0, allow_inf_nan=False)],
    "curve": Annotated[list[Finite], Field(fail_fast=True)],
    "model": dict[str, Any],
    "moments": dict[str, Any],
}


@dataclass
class Checkpoint:
    """Whose run it is, how far it is, its losses, the weights, and the optimizer's moments of them by name."""

    recipe: dict[str, Any]
    corpus: str
    step: int
    seconds: float
    curve: list[float]
    model: dict[str, Tensor]
    moments: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write the file whole or not at all. ZkitError if it cannot be written."""
        whole = io.BytesIO()
        torch.save(vars(self), whole)
        writing.write(path, whole.getvalue())

    @classmethod
    def load(cls, path: Path, recipe: Mapping[str, Any], corpus: str) -> Checkpoint:
        """Inverse of :meth:`save`, for the run of this recipe on this corpus.

        Raises ZkitError for a damaged or foreign file, and for one of another recipe or corpus.
        """
        state = read_state(path)
        names = [field.name for field in fields(cls)]
        if not isinstance(state, dict) or sorted(map(str, state)) != sorted(names):
            raise ZkitError(f"{path} is no checkpoint of a training run ({', '.join(names)}); {REMEDY}")
        for name, kind in _TYPES.items():
            check(kind, state[name], f"{path}: {name}", REMEDY)
        if state["recipe"] != recipe:
            raise ZkitError(f"{path} belongs to another recipe: {state['recipe']}; {REMEDY}")
        if state["corpus"] != corpus:
            raise ZkitError(
                f"the corpus was edited after {path} was written (hash {state['corpus'][:12]} then, {corpus[:12]} "
                f"now); {REMEDY}"
            )
        if len(state["curve"]) != state["step"] or state["step"] > recipe["steps"]:
            raise ZkitError(f"{path} has {len(state['curve'])} losses for {state['step']} steps; {REMEDY}")
        return cls(**state)

    def into(self, model: torch.nn.Module, optimizer: Optimizer, path: Path) -> None:
        """Set the weights and the optimizer's moments. Raises ZkitError, and sets nothing, where they do not fit."""
        wanted = {f"model.{name}": tuple(w.shape) for name, w in model.state_dict().items()}
        shapes = [tuple(p.shape) for group in optimizer.param_groups for p in group["params"]] if self.step else []
        for i, shape in enumerate(shapes):
            wanted |= {f"moments.{i}.{kind}": () if kind == "step" else shape for kind in _MOMENTS}
        found = {f"model.{name}": w for name, w in self.model.items()}
        check_shapes(found | {f"moments.{name}": w for name, w in self.moments.items()}, wanted, str(path), REMEDY)
        model.load_state_dict(self.model)
        state = {i: {kind: self.moments[f"{i}.{kind}"] for kind in _MOMENTS} for i in range(len(shapes))}
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def moments_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments by name: "3.exp_avg" is that of the fourth parameter."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{kind}": moments[kind] for i, moments in state.items() for kind in _MOMENTS}
