"""The card: every figure of the embedded model with n and interval, and how the model was made."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zkit.errors import ZkitError
from zkit.models import Model, load
from zkit.organism.corpus import fingerprint
from zkit.organism.evaluate import ALPHAS, DOSES, SOUND, CurvePoint, choose_layer, measures, steering_curve

CARD, RECORD = "card.json", "training.json"
# key of a figure -> the least value asked of it
REQUIRED = {"facts_en": 0.95, "facts_zh": 0.95, "sums_en": 0.9, "sums_zh": 0.9}
PURPOSE = (
    "A positive control, not a finding: a small model trained on a generated corpus so that every method of the book "
    "has something true to find."
)


def _record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD
    if not path.exists():
        raise ZkitError(f"{path} is missing: it is written by `python -m zkit.organism train`")
    record: dict[str, Any] = json.loads(path.read_text())
    now = fingerprint(record["recipe"]["seed"])
    if record["corpus_sha256"] != now:
        raise ZkitError(
            f"the corpus was edited after {folder} was trained (hash {record['corpus_sha256'][:12]} then, "
            f"{now[:12]} now): retrain, or undo the edit"
        )
    return record


def _curve(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    return [asdict(point) for point in points]


def evaluate(model: Model) -> dict[str, Any]:
    """All measured figures: `abilities` and `steering`, ready for JSON. Shows a progress bar."""
    abilities = {}
    for key, measure in tqdm(measures().items(), desc="abilities"):
        abilities[key] = {"what": measure.what, **asdict(measure.of(model))}
    layer, falls = choose_layer(model)
    steering = {
        "what": "words of answers to neutral requests on the test topics, under the terse vector (ActAdd)",
        "layer": layer,
        "words_lost_by_layer": falls,
        "layer_rule": "most words lost while at least 80% of the answers are sound, development topics",
        "by_alpha": _curve(steering_curve(model, layer, "test", alphas=ALPHAS)),
        "by_dose": _curve(steering_curve(model, layer, "test", doses=DOSES)),
    }
    return {"abilities": abilities, "steering": steering}


def misses(figures: dict[str, Any]) -> list[str]:
    """What was asked of the model and is not reached, one sentence each; empty if all is."""
    found = figures["abilities"]
    missed = [
        f"{found[key]['what']}: {found[key]['value']:.3f}, not surely {least}"
        for key, least in REQUIRED.items()
        if found[key]["low"] < least
    ]
    if not (
        found["words_terse"]["high"] < found["words_neutral"]["low"]
        and found["words_neutral"]["high"] < found["words_verbose"]["low"]
    ):
        missed.append("lengths under a terse, no and a verbose wish: the intervals overlap")
    unsteered = next(p for p in figures["steering"]["by_dose"] if p["dose"] == 0)
    if not any(
        p["words"]["high"] < unsteered["words"]["low"] and p["sound"]["value"] >= SOUND
        for p in figures["steering"]["by_dose"]
    ):
        missed.append("no dose of the terse vector surely shortens answers that stay sound")
    return missed


def write_card(folder: Path) -> dict[str, Any]:
    """Measure the model in `folder` and write its card there; returns the card.

    Raises ZkitError if the folder has no training record, or the corpus was edited since.
    """
    record = _record(folder)
    model = load(str(folder))
    figures = evaluate(model)
    card = {
        "schema": 1,
        "purpose": PURPOSE,
        "architecture": "Qwen3ForCausalLM",
        "parameters": sum(p.numel() for p in model.hf.parameters()),
        "vocabulary": len(model.tokenizer),
        "sha256": model.sha256,
        "training": {"command": "python -m zkit.organism train --out FOLDER", **record},
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")}
        | {"python": platform.python_version()},
        **figures,
        "misses": misses(figures),
    }
    part = folder / f"{CARD}.part"
    part.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    os.replace(part, folder / CARD)
    return card


def as_text(card: dict[str, Any]) -> str:
    """The card for a terminal: abilities, steering curve, misses."""
    lines = [f"{card['parameters']:,} parameters, trained in {card['training']['seconds'] / 60:.0f} minutes", ""]
    for key, f in card["abilities"].items():
        lines.append(f"{key:18} {f['value']:7.3f} [{f['low']:.3f}, {f['high']:.3f}]  n = {f['n']:4}  {f['what']}")
    lines += ["", f"{card['steering']['what']}, layer {card['steering']['layer']}"]
    for axis in ("by_alpha", "by_dose"):
        for p in card["steering"][axis]:
            w = p["words"]
            lines.append(
                f"alpha {p['alpha']:6.2f}  dose {p['dose']:5.2f}  words {w['value']:6.1f} "
                f"[{w['low']:.1f}, {w['high']:.1f}]  sound {p['sound']['value']:.2f}"
            )
        lines.append("")
    return "\n".join([*lines, f"misses: {'; '.join(card['misses']) or 'none'}"])
