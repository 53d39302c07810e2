"""The scorecard of a vector, layer by layer: how long it is beside the states, how stable, what it does to texts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zkit.anatomies import dissect
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.steering import texts
from zkit.steering.contrast import stability
from zkit.steering.strength import NEUTRAL, usual_norms
from zkit.steering.vectors import SteeringVector

COLLAPSE = 1.0
"""Nats per token: a text that surprises the un-steered model by more than this above its own answer is broken."""

SAFE = 0.1
"""Share of texts that may be broken at a dose that is called safe."""

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


def judge_texts(model: Model, prompts: Sequence[Prompt], frame: pd.DataFrame, unsteered: Sequence[str]) -> pd.DataFrame:
    """A sweep with what became of each text, beside the un-steered answer to the same prompt.

    Adds: changed; sentences; distinct_2; longest_repeat; markdown; surprise (nats per token under the un-steered
    model; missing for an empty text); surprise_gain, the same minus that of the un-steered answer; topic_cosine with
    the un-steered answer; broken: empty, repeating, or more than ``COLLAPSE`` nats more surprising.
    Call it outside any block that steers; answers from the same batches as the sweep's (its own alpha 0) keep rounding
    from counting as a change. Raises ZkitError if there is not one un-steered answer for each prompt,
    and for fewer than two prompts.
    """
    if len(unsteered) != len(prompts):
        raise ZkitError(f"{len(prompts)} prompts but {len(unsteered)} un-steered answers; give one for each prompt")
    which, written = frame["prompt"].tolist(), frame["text"].tolist()
    base = texts.surprise(model, prompts, unsteered)
    found = frame.copy()
    found["changed"] = [text != unsteered[i] for i, text in zip(which, written, strict=True)]
    for measure in (texts.sentences, texts.longest_repeat, texts.markdown):
        found[measure.__name__] = [measure(text) for text in written]
    found["distinct_2"] = [texts.distinct(text) for text in written]
    found["surprise"] = pd.array(texts.surprise(model, [prompts[i] for i in which], written), dtype="Float64")
    found["surprise_gain"] = found["surprise"] - pd.array([base[i] for i in which], dtype="Float64")
    cosine = [0.0] * len(written)
    for places in found.groupby(["layer", "alpha"]).indices.values():
        here = texts.topic_cosines([written[p] for p in places], [unsteered[which[p]] for p in places])
        for place, value in zip(places, here, strict=True):
            cosine[place] = value
    found["topic_cosine"] = cosine
    found["broken"] = [
        texts.degenerate(text) or bool(gain > COLLAPSE)
        for text, gain in zip(written, found["surprise_gain"].fillna(0.0), strict=True)
    ]
    return found


def phases(frame: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """For each layer of a judged sweep and each sign of alpha, where texts begin to change and where they break.

    Columns: layer, sign, changes (median over prompts of the smallest dose at which a prompt's text changes),
    collapses (the smallest dose from which on at least half of the texts are broken), window (the second over the
    first), safe (the largest dose at which, and below which, at most a share SAFE is broken; 0 if there is none), each
    with the bounds _low and _high of its 95% bootstrap interval over prompts. A prompt that never changes counts as
    infinite, and so does a collapse that never comes; where neither comes, the window is 1. Doses are given without
    their sign.
    Raises ZkitError if there is no dose but zero, and if a prompt lacks a dose.
    """
    rows = []
    for (layer, up), part in frame[frame["dose"] != 0].groupby(["layer", frame["dose"] > 0]):
        part = part.assign(size=part["dose"].abs().round(6))
        changed, broken = (part.pivot(index="prompt", columns="size", values=name) for name in ("changed", "broken"))
        if changed.isna().to_numpy().any():
            raise ZkitError(f"at layer {layer} some prompts lack some doses; give every prompt every dose")
        sizes = np.array([*changed.columns, np.inf])
        first = sizes[_first(changed.to_numpy(bool))]  # [n_prompts]
        picks = np.random.default_rng(seed).integers(len(first), size=(draws, len(first)))
        picks = np.vstack([np.arange(len(first)), picks])  # the prompts themselves, then the draws
        changes = np.quantile(first[picks], 0.5, axis=1, method="lower")
        share = broken.to_numpy(float)[picks].mean(1)  # [1 + draws, n_doses]
        half = share >= 0.5
        collapses = sizes[_first(np.flip(np.minimum.accumulate(np.flip(half, 1), 1), 1))]
        found: dict[str, float] = {"layer": int(layer), "sign": 1 if up else -1}
        with np.errstate(invalid="ignore"):  # infinite over infinite: no window
            drawn = {
                "changes": changes,
                "collapses": collapses,
                "window": np.nan_to_num(collapses / changes, nan=1.0, posinf=np.inf),
                "safe": np.array([0.0, *changed.columns])[_first(share > SAFE)],
            }
        for name, values in drawn.items():
            low, high = np.quantile(values[1:], (0.025, 0.975), method="lower")
            found |= {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
        rows.append(found)
    if not rows:
        raise ZkitError("phases need texts at doses other than zero; sweep some")
    return pd.DataFrame(rows).astype({"layer": int, "sign": int})


def _first(flags: Bool[np.ndarray, "rows doses"]) -> Int[np.ndarray, " rows"]:
    """Index of the first True in each row; one past the end where there is none."""
    return np.where(flags.any(1), flags.argmax(1), flags.shape[1])
