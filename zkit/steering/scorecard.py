"""The scorecard of a vector, layer by layer: how long it is beside the states, and how stable."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from zkit.anatomies import dissect
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering.contrast import stability
from zkit.steering.strength import NEUTRAL, usual_norms
from zkit.steering.vectors import SteeringVector

PUBLISHED_BANDS = {"early": (0, 7), "middle": (12, 17), "late": (18, 22), "end": (23, 27)}
PUBLISHED_LAYERS = 28


def bands(n_layers: int) -> dict[str, list[int]]:
    """The published layer roles (of 28 layers) at the same relative depth: name -> layers; each layer has one role.

    Layers 8 to 11 have no published role, so some layers here have none.
    """
    found: dict[str, list[int]] = {name: [] for name in PUBLISHED_BANDS}
    for layer in range(n_layers):
        place = (layer + 0.5) / n_layers * PUBLISHED_LAYERS - 0.5
        for name, (low, high) in PUBLISHED_BANDS.items():
            if low - 0.5 <= place < high + 0.5:
                found[name].append(layer)
    return found


def geometry(
    model: Model,
    v: SteeringVector,
    deltas: Float[Tensor, "n_pairs n_layers d_model"] | None = None,
    prompts: Sequence[Prompt] = NEUTRAL,
) -> pd.DataFrame:
    """Norms of states and vector at each layer of ``v``, from one forward pass over the prompts.

    Columns: layer; first_norm, the first token's median norm; usual_norm, that of the messages' tokens that are not
    massive (:func:`zkit.steering.reference_norms`); mean_norm, the mean over all tokens (the published one);
    n_massive, massive tokens in a prompt, on average; vector_norm; snr = vector_norm / mean_norm (published);
    dose_per_alpha = vector_norm / usual_norm; and stability of ``deltas`` (:func:`zkit.steering.contrasts` at the
    layers of ``v``), if given. Raises ZkitError for differences of another number of layers, and as recording does.
    """
    found = dissect(model, prompts, v.layers)
    frame = pd.DataFrame(
        {
            "layer": v.layers,
            "first_norm": torch.stack([part.norms[0] for part in found]).median(0).values.tolist(),
            "usual_norm": usual_norms(found).tolist(),
            "mean_norm": torch.cat([part.norms for part in found]).mean(0).tolist(),
            "n_massive": torch.stack([part.massive.sum(0) for part in found]).double().mean(0).tolist(),
            "vector_norm": list(v.norms.values()),
        }
    )
    frame["snr"] = frame["vector_norm"] / frame["mean_norm"]
    frame["dose_per_alpha"] = frame["vector_norm"] / frame["usual_norm"]
    if deltas is not None:
        if deltas.shape[1] != len(v.layers):
            raise ZkitError(
                f"the differences speak of {deltas.shape[1]} layers, the vector of {len(v.layers)}; record the same"
            )
        frame["stability"] = stability(deltas).tolist()
    return frame
