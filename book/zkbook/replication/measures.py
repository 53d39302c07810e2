"""Which function measures what: the names that published.yml uses."""

from __future__ import annotations

from zkbook.replication import gates, patching, phase3, shape, steering
from zkbook.replication.host import Answers, Figures, Host
from zkit.errors import ZkitError


def measure(name: str, host: Host, figures: Figures) -> Answers:
    """What the function called ``name`` finds for the figures that name it, at each of their places.

    Raises ZkitError for an unknown name, and as the function does.
    """
    match name:
        case "gate_count":
            return gates.count(host, figures)
        case "initial_draw":
            return gates.initial_draw(host, figures)
        case "gate_file":
            return gates.file(host, figures)
        case "shape":
            return shape.shape(host, figures)
        case "norms":
            return steering.norms(host, figures)
        case "cosines":
            return steering.cosines(host, figures)
        case "words":
            return steering.words(host, figures)
        case "ranks":
            return phase3.ranks(host, figures)
        case "similarity":
            return phase3.similarity(host, figures)
        case "avoidance":
            return phase3.avoidance(host, figures)
        case "distance_ratios":
            return phase3.distance_ratios(host, figures)
        case "update_ratios":
            return phase3.update_ratios(host, figures)
        case "bridges":
            return phase3.bridges(host, figures)
        case "patching":
            return patching.patching(host, figures)
    raise ZkitError(f"published.yml names the function {name!r}, and zkbook.replication has none of that name")
