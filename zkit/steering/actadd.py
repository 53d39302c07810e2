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
    pool: Pool | None = None,
    chat: bool = True,
) -> SteeringVector:
    """v_l = mean state of the positive prompt - mean state of the negative one, at the output of each layer l.

    Name a style, or give both prompts. ``layer``: one, several, or None for every layer; all of them come from one
    forward pass. The mean runs over the tokens that the chat template puts after the instruction, because a difference
    of means that lets in what every prompt begins with measures the lengths of the prompts; ``pool="literal"`` is the
    published recipe, a mean over every token. Other pools are those of :func:`zkit.steering.contrast.sides`. The vector
    is not normalised.

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
    v = mean_difference(model, [positive], [negative], list(several), pool=pool, chat=chat)
    return SteeringVector(v.vectors, {**v.note, "method": "actadd"})
