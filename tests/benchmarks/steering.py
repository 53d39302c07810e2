"""The scorecard of the four styles over all layers: every prompt once, against one forward per layer and vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

import zkit
from tests.benchmarks.side_by_side import ratio
from zkbook import organism
from zkit import steering
from zkit.steering import STYLES, SteeringVector
from zkit.steering.apply import NEUTRAL
from zkit.steering.scorecard import asked
from zkit.tokens import MASSIVE

N_PAIRS, BATCH = 24, 32


def scorecard(model: zkit.Model) -> dict[str, Any]:
    """Vectors, norms and stability of four styles at every layer; the slow way runs its prompts in batches, too.

    Beside the ratio: the time of calls style by style, as a notebook writes them, over that of one call for all styles.
    """
    questions = [item.prompt for item in organism.neutral_prompts("train")[:N_PAIRS]]
    agreed = _differences(_single_pass(model, questions), _naive(model, questions))
    agreed = max(agreed, _differences(_single_pass(model, questions), _by_style(model, questions)))
    if agreed > 1e-3:
        raise SystemExit(f"the ways to a scorecard differ by {agreed:.2g} of a figure")
    measured = ratio(lambda: _naive(model, questions), lambda: _single_pass(model, questions), pairs=5)
    split = ratio(lambda: _by_style(model, questions), lambda: _single_pass(model, questions), pairs=11)
    return measured | {
        "target": 5.0,
        "layers": model.n_layers,
        "style_by_style_over_one_pass": split["ratio"],
        "largest_relative_difference": agreed,
    }


def _single_pass(model: zkit.Model, questions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """All styles' instructions in one pass, all styles' pairs in another; ``geometry`` runs the probes each time."""
    positives, negatives = _pairs(questions)
    deltas = steering.contrasts(model, positives, negatives, pool="last").split(len(questions))
    poles = [s.positive for s in STYLES.values()], [s.negative for s in STYLES.values()]
    vectors = steering.contrasts(model, *poles)
    return {
        name: steering.geometry(model, SteeringVector(dict(enumerate(vectors[i]))), deltas[i])
        for i, name in enumerate(STYLES)
    }


def _by_style(model: zkit.Model, questions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """One call after the other for each style."""
    cards = {}
    for name, style in STYLES.items():
        pairs = [asked(style, question) for question in questions]
        deltas = steering.contrasts(model, [p for p, _ in pairs], [n for _, n in pairs], pool="last")
        cards[name] = steering.geometry(model, steering.actadd(model, name), deltas)
    return cards


def _pairs(questions: Sequence[str]) -> tuple[list[str], list[str]]:
    pairs = [asked(style, question) for style in STYLES.values() for question in questions]
    return [p for p, _ in pairs], [n for _, n in pairs]


def _naive(model: zkit.Model, questions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """For every style and every layer a hook on that layer, and all prompts through the whole model once more."""
    cards, (before, after) = {}, model.template_width
    for name, style in STYLES.items():
        pairs = [asked(style, question) for question in questions]
        rows = []
        for layer in range(model.n_layers):
            poles = (_states(model, [p], layer)[0] for p in (style.positive, style.negative))
            positive, negative = (rows[_suffix(rows, after)].mean(0) for rows in poles)
            ends = [torch.stack([s[-1] for s in _states(model, side, layer)]) for side in zip(*pairs, strict=True)]
            given = _states(model, NEUTRAL, layer)
            probes = [s.norm(dim=-1) for s in given]
            units = torch.nn.functional.normalize(ends[0] - ends[1], dim=-1)
            cosines = units @ units.T
            kept = [_usual(s, before, after) for s in given]
            usual = torch.cat([p[k] for p, k in zip(probes, kept, strict=True)]).median()
            mean = torch.cat(probes).mean()
            norm = (positive - negative).norm()
            rows.append(
                {
                    "layer": layer,
                    "first_norm": float(torch.stack([p[0] for p in probes]).median()),
                    "usual_norm": float(usual),
                    "mean_norm": float(mean),
                    "n_massive": float(sum((p > MASSIVE * p.median()).sum() for p in probes)) / len(probes),
                    "vector_norm": float(norm),
                    "snr": float(norm / mean),
                    "dose_per_alpha": float(norm / usual),
                    "stability": float(cosines[~torch.eye(len(units), dtype=torch.bool)].mean()),
                }
            )
        cards[name] = pd.DataFrame(rows)
    return cards


def _usual(rows: Float[Tensor, "n_tokens d_model"], before: int, after: int) -> Bool[Tensor, " n_tokens"]:
    """Tokens of the message, so many after the prompt's beginning and before its end, that are not massive."""
    norms, places = rows.norm(dim=-1), torch.arange(len(rows))
    return (places >= before) & (places < len(rows) - after) & (norms <= MASSIVE * norms.median())


def _suffix(rows: Float[Tensor, "n_tokens d_model"], after: int) -> Bool[Tensor, " n_tokens"]:
    """Tokens that the template puts after the message, so many, those that are not massive."""
    norms, places = rows.norm(dim=-1), torch.arange(len(rows))
    return (places >= len(rows) - after) & (norms <= MASSIVE * norms.median())


def _states(model: zkit.Model, prompts: Sequence[str], layer: int) -> list[Float[Tensor, "n_tokens d_model"]]:
    """The states of every token of each prompt at the output of one layer, from whole forward passes."""
    found: list[Tensor] = []
    for start in range(0, len(prompts), BATCH):
        batch = model.tokenize(prompts[start : start + BATCH])
        kept: list[Tensor] = []
        handle = model.layers[layer].register_forward_hook(lambda _, args, out, kept=kept: kept.append(out))
        with torch.no_grad():
            model.hf(**batch)
        handle.remove()
        found += [rows[mask] for rows, mask in zip(kept[0], batch["attention_mask"].bool(), strict=True)]
    return found


def _differences(ours: dict[str, pd.DataFrame], others: dict[str, pd.DataFrame]) -> float:
    """Largest difference of two scorecards' figures, as a share of the figure."""
    return max(
        float(((ours[name] - others[name]).drop(columns="layer").abs() / ours[name].abs()).max(axis=None))
        for name in STYLES
    )
