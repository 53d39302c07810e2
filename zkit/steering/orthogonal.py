"""Take out of each steering vector what it shares with others."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from zkit.errors import ZkitError
from zkit.steering.vectors import SteeringVector
from zkit.subspaces import spanned_by


def orthogonalise(vectors: Mapping[str, SteeringVector]) -> dict[str, SteeringVector]:
    """Each vector without its part in the span of the others, layer by layer.

    What is left of one is orthogonal to all the others as they were, so adding it moves no state along them. Not
    rescaled. Raises ZkitError for fewer than two vectors, different layers or widths, and one that the others span.
    """
    if len(vectors) < 2 or len({(tuple(v.layers), v.width) for v in vectors.values()}) != 1:
        raise ZkitError("orthogonalising needs at least two vectors of the same layers and width")
    found = {}
    for name, v in vectors.items():
        parts = {}
        for layer in v.layers:
            others = spanned_by(torch.stack([w.vectors[layer] for key, w in vectors.items() if key != name]))
            parts[layer] = others.reject(v.vectors[layer])
            if float(parts[layer].norm()) <= 1e-5 * float(v.vectors[layer].norm()):
                raise ZkitError(f"at layer {layer} the vector {name!r} lies in the span of the others: nothing is left")
        found[name] = SteeringVector(parts, {**v.note, "orthogonal to": ", ".join(k for k in vectors if k != name)})
    return found
