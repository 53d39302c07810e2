"""Published figures that a configuration decides: layers, widths, heads and the number of parameters."""

from __future__ import annotations

from zkbook import shapes
from zkbook.replication.host import Answers, Figures, Host
from zkbook.replication.verdicts import Measured
from zkit.errors import ZkitError

_WORDS = {
    "layers": "layers",
    "width": "d_model",
    "query heads": "heads",
    "key-value heads": "kv_heads",
    "width of a head": "d_head",
}


def shape(host: Host, figures: Figures) -> Answers:
    """The model's own, from its configuration. Raises ZkitError for a figure that is none of a shape."""
    own, found = host.shape, Answers()
    for key, figure in figures.items():
        match key:
            case "steering.parameters":  # a tied embedding counted twice, as the source does
                distinct = shapes.parameters(own)
                twice = distinct + (own["vocabulary"] * own["d_model"] if own["tied"] else 0)
                found[key] = [Measured(value=twice / 1e6, where=f"{distinct / 1e6:.1f} distinct")]
            case "steering.d_ffn":
                found[key] = [Measured(value=own["d_ffn"])]
            case "z.shape":
                found[key] = [Measured(value=own[_WORDS[str(word)]]) for word in figure.keys]
            case _:
                raise ZkitError(f"{key} is no figure of a model's shape; name another function in its record")
    return found
