"""The model that published figures are measured on, and where on it a published place lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from zkbook import shapes
from zkbook.replication.records import Figure, Published
from zkbook.replication.verdicts import Found
from zkit.models import Model
from zkit.phase3.weights import Chosen, chosen
from zkit.phase3.z import k_by_rule

Figures = Mapping[str, Figure]
Answers = dict[str, Sequence[Found]]
"""For each figure what was found at each of its places."""


@dataclass(frozen=True, eq=False)
class Host:
    """A model beside the published records. ``folder`` keeps what is recorded; ``gates`` is a published variant's."""

    model: Model
    published: Published
    folder: Path
    gates: Path | None = None

    @cached_property
    def shape(self) -> dict[str, Any]:
        return shapes.from_config(self.model.hf.config.get_text_config().to_dict(), self.model.id)

    def layer(self, figure: Figure, layer: int) -> int:
        """The layer that stands for a published one: the same on as many layers, else at the same depth."""
        there, here = self.published.models[figure.model].layers, self.model.n_layers
        if there == here:
            return layer
        return min(here - 1, max(0, round((layer + 0.5) / there * here - 0.5)))

    @cached_property
    def _rule(self) -> Chosen:
        return chosen(self.model)

    def _as_published(self, figure: Figure) -> bool:
        """Whether Z's published layers and sizes mean the same here: by layers, width and heads."""
        there = self.published.models[figure.model]
        return all(self.shape[key] == getattr(there, key) for key in ("layers", "d_model", "heads", "d_head"))

    def z_layer(self, figure: Figure, layer: int) -> int:
        """The layer that stands for a published one of Phase 3: as far from the boundary, if not before Z's layers."""
        if self._as_published(figure):
            return layer
        first, boundary = map(int, self.published.figures["z.layers"].printed)  # type: ignore[arg-type]
        if layer < first:
            return self.layer(figure, layer)
        return min(self.model.n_layers - 1, self._rule.layers[1] + layer - boundary)

    def z_size(self, figure: Figure, k: int) -> int:
        """The number of directions that stands for a published one: the same share of the effective rank."""
        if self._as_published(figure):
            return k
        return k_by_rule(float(self._rule.ranks[self._rule.layers[1]].mean()), k, int(self.shape["d_head"]))


def named(what: str, there: int, here: int) -> str:
    """Says where a figure was taken, if not at the published place."""
    return "" if there == here else f"{what} {here}"


def joined(*parts: str) -> str:
    return ", ".join(filter(None, parts))
