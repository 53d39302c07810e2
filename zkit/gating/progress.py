"""How far a training run is: the log of its steps, and the checkpoint that it goes on from."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import check, plain
from zkit.tensor_files import check_shapes, read_state

CHECKPOINT = "checkpoint.pt"
_MOMENTS = {"step": (), "exp_avg": None, "exp_avg_sq": None}  # of Adam, with their shapes; None: that of the logits


_Rows = Annotated[list[dict[str, float]], Field(fail_fast=True)]


@dataclass
class Step:
    """The log of one step: the terms (F, R, N) and their weighted sum with the price of the neurons expected off, the
    entities' loss, that expected share (0 unless it has a price), mean and spread of lambda."""

    step: int
    loss: float
    forget: float
    retain: float
    nke: float
    entity_loss: float
    off: float
    mean: float
    std: float


@dataclass
class Progress:
    """What a run goes on from: whose it is, its logits, Adam's moments of them ({} before the first step), its log."""

    identity: dict[str, Any]
    logits: Float[Tensor, "n_layers d_mlp"]
    moments: dict[str, Tensor]
    log: list[Step]

    def save(self, folder: Path) -> None:
        """Write ``checkpoint.pt`` into ``folder``, whole or not at all. ZkitError if it cannot be written."""
        whole = io.BytesIO()
        torch.save({**vars(self), "log": [vars(row) for row in self.log]}, whole)
        writing.write(folder / CHECKPOINT, whole.getvalue())

    @classmethod
    def load(cls, folder: Path, identity: Mapping[str, Any], shape: tuple[int, int], steps: int) -> Progress:
        """Inverse of :meth:`save`, for the run of this ``identity`` with logits of this shape and so many steps.

        Raises ZkitError for a damaged or foreign checkpoint, and one of another run, naming what differs.
        """
        path = folder / CHECKPOINT
        state = read_state(path)
        names = [field.name for field in fields(cls)]
        if not isinstance(state, dict) or sorted(map(str, state)) != sorted(names):
            raise ZkitError(f"{path} is no checkpoint of a training run ({', '.join(names)}); start afresh elsewhere")
        remedy = "start afresh in another folder"
        found = check(dict[str, Any], state["identity"], f"{path}: identity", remedy)
        for key, value in identity.items():
            if found.get(key) != value:
                raise ZkitError(f"{path} belongs to another run: its {key} differs; {remedy}")
        moments = check(dict[str, Any], state["moments"], f"{path}: moments", remedy)
        shapes = {f"moments.{name}": shape if own is None else own for name, own in _MOMENTS.items() if moments}
        given = {"logits": state["logits"], **{f"moments.{name}": value for name, value in moments.items()}}
        check_shapes(given, {"logits": shape, **shapes}, str(path), remedy)
        log = _log(state["log"], f"{path}: log", remedy)
        if len(log) > steps or (moments["step"] if moments else 0) != len(log):
            raise ZkitError(
                f"{path} has a log of {len(log)} steps, which its optimizer or its run did not take; {remedy}"
            )
        return cls(found, state["logits"], moments, log)


def _log(rows: Any, where: str, remedy: str) -> list[Step]:
    check(_Rows, plain(rows, where), where, remedy)
    names = {field.name for field in fields(Step)}
    for i, row in enumerate(rows):
        if set(row) != names or row["step"] != i + 1:
            raise ZkitError(f"{where}.{i} should be step {i + 1} with {', '.join(sorted(names))}; {remedy}")
    return [Step(**row) for row in rows]
