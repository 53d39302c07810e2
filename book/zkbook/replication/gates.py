"""Published figures of the lambda gates: their number, the draw that training starts from, a variant's statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zkbook.replication.host import Answers, Figures, Host
from zkbook.replication.records import Figure
from zkbook.replication.verdicts import Found, Measured, NotMeasured
from zkit import embedded
from zkit.errors import ZkitError
from zkit.gating import VARIANTS, Gates, initial_logits, load

_OF_THE_EMBEDDED = {"baseline": "baseline", "chat": "chat_energy"}
"""Published family of variants -> the variant that stands for it on the embedded model."""


def count(host: Host, figures: Figures) -> Answers:
    """Gates in the model, one for each neuron of each feed-forward layer."""
    layers, width = host.model.n_layers, host.model.width("mlp_act")
    return {key: [Measured(value=layers * width, where=f"{layers} layers of {width:,}")] for key in figures}


def initial_draw(host: Host, figures: Figures) -> Answers:
    """Standard deviation of the logits that training starts from, and of the gates that they make."""
    drawn = Gates(initial_logits(host.model.n_layers, host.model.width("mlp_act")))
    spread = f"their gates: {drawn.statistics()['std']:.3f}"
    return {key: [Measured(value=float(drawn.logits.std()), n=drawn.logits.numel(), where=spread)] for key in figures}


def file(host: Host, figures: Figures) -> Answers:
    """Mean, spread, extremes and thresholds of a published variant's gates, from its folder.

    Raises ZkitError as :func:`zkit.gating.load` does, for gates of another shape than the model's, and for a folder of
    no published variant.
    """
    return {key: _of(host, key, figure) for key, figure in figures.items()}


def variant_of(folder: Path, gates: Gates) -> str:
    """The variant that a folder holds, by its note or its name. ZkitError if that is no published one."""
    variant = str(gates.note.get("variant") or folder.name)
    if variant not in VARIANTS:
        raise ZkitError(f"{folder} is of no published variant; name the folder as its variant: {', '.join(VARIANTS)}")
    return variant


def _of(host: Host, key: str, figure: Figure) -> Sequence[Found]:
    family = str(figure.at["variants"])
    missing = [NotMeasured(why=f"needs the folder of a published {family} variant (--gates FOLDER)")]
    if host.gates is not None:
        gates = load(host.gates, host.model.n_layers)
        variant = variant_of(host.gates, gates)
        if not variant.startswith(family):
            return missing * len(figure.places)
    elif host.model.id == "embedded":
        variant = _OF_THE_EMBEDDED[family]
        gates = embedded.gates(variant)
    else:
        return missing * len(figure.places)
    gates.check(host.model)
    return [Measured(value=value, n=gates.logits.numel(), where=variant) for value in _values(gates, key, figure)]


def _values(gates: Gates, key: str, figure: Figure) -> list[float]:
    said = gates.statistics()
    match key.rsplit(".", 1)[-1]:
        case "extremes":
            return [said["min"], said["max"]]
        case "thresholds":
            return [gates.threshold(float(percent) / 100) for percent in figure.keys]
        case name:
            return [said[name]]
