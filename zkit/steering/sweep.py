"""Generate under many strengths and layers at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.models import Model
from zkit.positions import Positions
from zkit.prompts import Prompt
from zkit.refusals import Refusals, classes
from zkit.steering.apply import edits
from zkit.steering.strength import alpha_for, dose, reference_norms
from zkit.steering.texts import words
from zkit.steering.vectors import SteeringVector


def sweep(
    model: Model,
    v: SteeringVector,
    prompts: Sequence[Prompt],
    *,
    alphas: Sequence[float] | None = None,
    doses: Sequence[float] | None = None,
    positions: str | Positions = "all",
    first_token: bool = False,
    reference: Float[Tensor, " n_layers"] | None = None,
    max_new_tokens: int = 96,
    batch_size: int | None = None,
    refusals: Refusals | None = None,
) -> pd.DataFrame:
    """Answers to every prompt at every strength and layer of ``v``, one layer at a time; arms share batches.

    Give ``alphas`` or ``doses``. Columns: layer, alpha, dose (alpha |v| over ``reference``, the
    usual norm of a token), prompt (its index), text, words, tokens, truncated (ran into max_new_tokens), reply (its
    class, :data:`zkit.replies.CLASSES`). Count words over answers: a refusal is short, too. ``refusals``: the model's
    own (:func:`zkit.refusals.own_refusals`), elicited if not given. Call it outside any block that steers.
    Raises ZkitError for no strengths or both kinds, and as :func:`zkit.steering.edits` and generation do.
    """
    strengths = doses if alphas is None else alphas
    if (alphas is None) == (doses is None) or strengths is None or len(strengths) == 0:
        raise ZkitError("give a list alphas=... or a list doses=...; it must not be empty")
    usual = reference_norms(model) if reference is None else reference
    parts = [v.at(layer) for layer in v.layers]
    arms = [
        (part, alpha)
        for part in parts
        for alpha in (map(float, strengths) if doses is None else [alpha_for(float(d), part, usual) for d in strengths])
    ]
    # Strength 0 is the model as it is, whatever the layer: asked once.
    distinct = {
        (part.layers[0] if alpha else None, alpha): edits(model, part, alpha, positions, first_token)
        for part, alpha in arms
    }
    asked = complete(model, prompts, list(distinct.values()), max_new_tokens=max_new_tokens, batch_size=batch_size)
    flat = [answer for arm in asked for answer in arm]
    kinds = classes(model, [*prompts] * len(asked), flat, refusals)
    told = list(zip(flat, kinds, strict=True))
    found = {key: told[k * len(prompts) : (k + 1) * len(prompts)] for k, key in enumerate(distinct)}
    rows: list[dict[str, Any]] = [
        {
            "layer": part.layers[0],
            "alpha": alpha,
            "dose": dose(alpha, part, usual),
            "prompt": i,
            "text": answer.text,
            "words": words(answer.text),
            "tokens": answer.n_tokens,
            "truncated": answer.truncated,
            "reply": kind,
        }
        for part, alpha in arms
        for i, (answer, kind) in enumerate(found[part.layers[0] if alpha else None, alpha])
    ]
    return pd.DataFrame(rows)
