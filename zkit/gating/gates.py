"""Lambda gates: one sigmoid gate for each neuron of each feed-forward layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.tensor_files import dense

if TYPE_CHECKING:
    from zkit.models import Model

OFF_FRACTIONS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""The shares of neurons that the published thresholds turn off."""


@dataclass(frozen=True, eq=False)
class Gates:
    """Gates lambda = sigmoid(logits), [n_layers, d_mlp]; ``note`` says how they were made and is saved with them.

    Source: the cards of the Qwen3 lambda gates. Raises ZkitError for logits that are not finite or not two-dimensional,
    and for tensors that are not dense floating-point.
    """

    logits: Float[Tensor, "n_layers d_mlp"]
    note: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dense(self.logits, "the gates' logits")
        if self.logits.dim() != 2 or self.logits.numel() == 0:
            raise ZkitError(f"gate logits must be [n_layers, d_mlp]; these have the shape {tuple(self.logits.shape)}")
        object.__setattr__(self, "logits", self.logits.detach().to("cpu", torch.float32))
        wrong = ~torch.isfinite(self.logits)
        if bool(wrong.any()):
            layer, neuron = wrong.nonzero()[0].tolist()
            raise ZkitError(
                f"{int(wrong.sum())} gate logits are not finite, the first at layer {layer}, neuron {neuron}; "
                "restore the checkpoint or train the gates again"
            )

    @property
    def n_layers(self) -> int:
        return self.logits.shape[0]

    @property
    def d_mlp(self) -> int:
        return self.logits.shape[1]

    @property
    def values(self) -> Float[Tensor, "n_layers d_mlp"]:
        """lambda = sigmoid(logits), in (0, 1)."""
        return self.logits.sigmoid()

    @property
    def _exact(self) -> Float[Tensor, "n_layers d_mlp"]:
        """The values in float64, in which values near 1 remain different and exactly negative logits are below 0.5."""
        return self.logits.double().sigmoid()

    @property
    def thresholds(self) -> tuple[float, ...]:
        """The thresholds that turn off 5, 25, 50, 75 and 95% of all neurons."""
        return tuple(self.threshold(off) for off in OFF_FRACTIONS)

    def threshold(self, off: float) -> float:
        """The threshold that turns off a share ``off`` of all gates, or nearly so if some gates are equal.

        Raises ZkitError unless 0 < off < 1.
        """
        if not 0 < off < 1:
            raise ZkitError(f"a share of neurons to turn off must lie between 0 and 1; got {off}")
        ranked = torch.cat([torch.zeros(1), self._exact.flatten().sort().values, torch.ones(1)])
        k = round(off * self.logits.numel())
        return float((ranked[k] + ranked[k + 1]) / 2)

    def off(self, threshold: float) -> Bool[Tensor, "n_layers d_mlp"]:
        """Which neurons a hard gate turns off: lambda < threshold. Raises ZkitError for a threshold outside (0, 1)."""
        if not 0 < threshold < 1:
            raise ZkitError(
                f"a threshold compares with gates between 0 and 1; got {threshold}. For a share of neurons, "
                "use gates.threshold(share)"
            )
        return self._exact < threshold

    def off_fraction(self, threshold: float) -> float:
        """Share of all neurons that a hard gate at ``threshold`` turns off."""
        return float(self.off(threshold).double().mean())

    def statistics(self) -> dict[str, Any]:
        """The contents of ``gate_stats.json``: counts, moments of lambda, the five thresholds with off-fractions."""
        values = self._exact
        return {
            "total_gates": values.numel(),
            "n_layers": self.n_layers,
            "d_mlp": self.d_mlp,
            "mean": float(values.mean()),
            "std": float(values.std()),
            "min": float(values.min()),
            "max": float(values.max()),
            "below_half": int((self.logits < 0).sum()),
            "thresholds": [{"threshold": t, "off_fraction": self.off_fraction(t)} for t in self.thresholds],
        }

    def check(self, model: Model) -> None:
        """Raise ZkitError unless the gates have the model's shape and the weights' digest in their note, if any, is
        that of the model.
        """
        n, width = model.n_layers, model.width("mlp_act")
        if (self.n_layers, self.d_mlp) != (n, width):
            raise ZkitError(
                f"{self.logits.numel():,} gates ({self.n_layers} layers of {self.d_mlp:,}) do not fit {model.id!r}, "
                f"which has {n * width:,} neurons ({n} layers of {width:,}); load the model that they were trained on"
            )
        made_on = self.note.get("model_sha256")
        if made_on and made_on != model.sha256:
            raise ZkitError(
                f"these gates were trained on {self.note.get('model', 'another model')!r} with weights "
                f"{str(made_on)[:12]}, {model.id!r} has the weights {model.sha256[:12]}; load that model, or take "
                "gates.unbound() to try them on this one"
            )

    def unbound(self) -> Gates:
        """The same gates without the record of the weights they were trained on."""
        return replace(self, note={key: value for key, value in self.note.items() if key != "model_sha256"})


def initial_logits(n_layers: int, d_mlp: int, std: float = 0.1, seed: int = 0) -> Float[Tensor, "n_layers d_mlp"]:
    """The initial logits of a training, independent normal ones. Raises ZkitError for a negative ``std``."""
    if std < 0:
        raise ZkitError(f"a standard deviation cannot be negative; got {std}")
    return torch.randn(n_layers, d_mlp, generator=torch.Generator().manual_seed(seed)) * std


def knowledge_neurons(gates: Gates, threshold: float = 0.5) -> dict[int, list[int]]:
    """Layer -> the neurons with lambda below ``threshold``; ``neuron_indices.json`` lists those for 0.5."""
    return {layer: row.nonzero().flatten().tolist() for layer, row in enumerate(gates.off(threshold))}


def stack(layers: Sequence[Float[Tensor, " d_mlp"]]) -> Float[Tensor, "n_layers d_mlp"]:
    """Logits of the layers as one tensor. Raises ZkitError if their lengths differ."""
    widths = {tuple(layer.shape) for layer in layers}
    if len(widths) != 1 or len(next(iter(widths))) != 1:
        raise ZkitError(f"the layers' gates have different shapes: {sorted(widths)}; the checkpoint is damaged")
    return torch.stack(list(layers))
