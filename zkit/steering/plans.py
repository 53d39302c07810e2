"""Plans: one strength spread over several layers, so that plans of different layers can be compared."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.steering.strength import alpha_for
from zkit.steering.vectors import SteeringVector


def plan(
    v: SteeringVector,
    layers: Sequence[int],
    *,
    alpha: float | None = None,
    dose: float | None = None,
    reference: Float[Tensor, " n_layers"] | None = None,
) -> SteeringVector:
    """The parts of ``v`` at some layers, each scaled to an equal share of one total; steer with it at alpha = 1.

    Give ``alpha``, the total of the factors (the published comparison), or ``dose`` with ``reference``
    (:func:`zkit.steering.reference_norms`), the total of the doses. Raises ZkitError for both or neither, a dose
    without reference, no layer or one twice, and layers that ``v`` lacks.
    """
    if (alpha is None) == (dose is None) or (dose is None) != (reference is None):
        raise ZkitError("give a plan alpha=..., or dose=... and reference=...")
    if len(set(layers)) < max(len(layers), 1):
        raise ZkitError(f"a plan needs layers, each once; got {list(layers)}")
    parts = [v.at(layer) for layer in layers]
    factors = [
        alpha / len(parts) if alpha is not None else alpha_for(dose / len(parts), part, reference)  # type: ignore
        for part in parts
    ]
    scaled = {p.layers[0]: p.vectors[p.layers[0]] * f for p, f in zip(parts, factors, strict=True)}
    total = f"alpha {alpha:g}" if alpha is not None else f"dose {dose:g}"
    return SteeringVector(scaled, {**v.note, "plan": f"{total} over layers {sorted(scaled)}"})
