"""ActAdd: the difference of the mean states of two prompts (Turner et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering.contrast import Pool, mean_difference
from zkit.steering.styles import find
from zkit.steering.vectors import SteeringVector


def actadd(
    model: Model,
    style: str | None = None,
    layer: int | Sequence[int] | None = None,
    *,
    positive: Prompt | None = None,
    negative: Prompt | None = None,
    pool: Pool = "mean",
    first_token: bool = False,
    chat: bool = True,
) -> SteeringVector:
    """v_l = mean state of the positive prompt - mean state of the negative one, at the output of each layer l.

    Name a style, or give both prompts. ``layer``: one, several, or None for every layer; all of them come from one
    forward pass. The mean runs over every token but the first, because a difference of means that lets the attention
    sink in measures the lengths of the prompts; ``first_token=True`` is the published recipe, first token included.
    Other pools are those of :func:`contrasts`. The vector is not normalised.

    Raises ZkitError for an unknown style, a missing prompt, equal prompts, a layer the model does not have, a pair
    whose states do not differ, and as :func:`contrasts` does.
    """
    if style is not None and (positive is not None or negative is not None):
        raise ZkitError("give a style or a pair of prompts, not both")
    if style is not None:
        positive, negative = find(style).positive, find(style).negative
    if positive is None or negative is None:
        raise ZkitError("give a style, or both positive=... and negative=...")
    several = list(layer) if isinstance(layer, Iterable) else range(model.n_layers) if layer is None else [layer]
    v = mean_difference(model, [positive], [negative], list(several), pool=pool, first_token=first_token, chat=chat)
    return SteeringVector(v.vectors, {**v.note, "method": "actadd"})
