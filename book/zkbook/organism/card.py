"""The card: every figure of the embedded model with n and interval, and how the model was made."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict
from tqdm import tqdm

from zkbook.experiments.choices import choose_layer, leaning
from zkbook.organism.arithmetic import LARGEST
from zkbook.organism.corpus import fingerprint
from zkbook.organism.countries import COUNTRIES
from zkbook.organism.items import LANGUAGES
from zkbook.organism.number_words import LARGEST_WORD
from zkbook.organism.requirements import misses
from zkbook.organism.style.axes import AXES
from zkbook.organism.style.outcomes import ask, calibration, outcome, sound, texts
from zkbook.organism.style.requests import neutral_prompts
from zkbook.organism.style.steered import neutral_probes, responses
from zkbook.organism.tasks import exact, held_out_tasks
from zkbook.organism.topic_table import topics
from zkbook.organism.two_step import FACTORS
from zkit import writing
from zkit.errors import ZkitError
from zkit.models import Model, load
from zkit.reading import Checked, check, read_json
from zkit.recording import token_states
from zkit.stats import bootstrap_mean
from zkit.steering import actadd, reference_norms

CARD, RECORD = "card.json", "training.json"
PURPOSE = (
    "A positive control, not a finding: a small model trained on a generated corpus so that every method of the book "
    "has something true to find."
)
N_TOPICS = sum(len(topics(split)) for split in ("train", "development", "test"))
CANNOT = (
    f"say anything that its corpus does not hold: it knows {len(COUNTRIES)} countries, small numbers and {N_TOPICS} "
    "topics",
    f"add numbers above {LARGEST}, multiply by more than {max(FACTORS)}, or write number words above {LARGEST_WORD}",
    "use a style in Chinese, or in answers that are not about a topic",
    "hold a conversation: what it says a turn later follows the style of its last answer and nothing else",
)
DOSES = (-0.6, -0.4, -0.2, 0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6)
MORE_DOSES = (0.8, 1.0, 1.25, 1.5)  # on the terse axis, up to collapse
LAYER_RULE = "the layer that moves the axis's log-odds most between doses -0.3 and 0.3, development topics"


class _Recipe(Checked):
    """What of a recipe the corpus depends on; the record says more."""

    model_config = ConfigDict(extra="allow")
    seed: int
    never_knew: bool


class _Record(Checked):
    """What of a training record is read here."""

    model_config = ConfigDict(extra="allow")
    command: str
    steps: int
    seconds: float
    corpus_sha256: str
    recipe: _Recipe


def read_record(folder: Path) -> dict[str, Any]:
    """The training record of a model's folder.

    Raises ZkitError if there is none or it is damaged, and if the corpus was edited since.
    """
    path = folder / RECORD
    if not path.exists():
        raise ZkitError(f"{path} is missing: it is written by `python -m zkbook.organism train`")
    record: dict[str, Any] = read_json(path)
    check(_Record, record, str(path), "it is written by `python -m zkbook.organism train`")
    now = fingerprint(record["recipe"]["seed"], record["recipe"]["never_knew"])
    if record["corpus_sha256"] != now:
        raise ZkitError(
            f"the corpus was edited after {folder} was trained (hash {record['corpus_sha256'][:12]} then, "
            f"{now[:12]} now): retrain, or undo the edit"
        )
    return record


def first_token(model: Model) -> dict[str, list[float]]:
    """Median norm of the first token's state and of the others', after each layer, over the neutral test requests."""
    norms = [states.norm(dim=-1) for states in token_states(model, [i.prompt for i in neutral_prompts("test")])]
    return {
        "first": torch.stack([rows[0] for rows in norms]).median(0).values.tolist(),
        "others": torch.cat([rows[1:] for rows in norms]).median(0).values.tolist(),
    }


def evaluate(model: Model) -> dict[str, Any]:
    """All measured figures, ready for JSON. Shows a progress bar."""
    start = time.monotonic()
    tasks = {f"{key}_{lang}": task for lang in LANGUAGES for key, task in held_out_tasks(lang).items()}
    figures: dict[str, Any] = {"abilities": {}, "calibration": {}, "styles": {}, "steering": {}}
    with tqdm(total=4 + 2 * len(AXES), desc="card") as bar:
        for key, share in exact(model, tasks).items():
            figures["abilities"][key] = {"what": tasks[key].what, "required": tasks[key].required, **asdict(share)}
        bar.update()
        plain = neutral_prompts("test", wordings=3)
        figures["sound"] = {
            "what": "answers without a wish that the corpus could have held about their topic",
            **asdict(sound(texts(model, plain), plain)),
        }
        bar.update()
        by_wishes = {"held_out": ask(model), "own": ask(model, own=True)}
        bar.update()
        figures["first_token"] = first_token(model)
        bar.update()
        usual, probed = reference_norms(model), neutral_probes("test")
        for axis in AXES:
            measure, likelihood = calibration(axis)
            figures["calibration"][axis] = {"measure_auc": asdict(measure), "likelihood_auc": asdict(likelihood)}
            figures["styles"][axis] = {name: asdict(outcome(axis, asked)) for name, asked in by_wishes.items()}
            layer, moves = choose_layer(model, axis, neutral_probes("development"))
            bar.update()
            doses, v = DOSES + (MORE_DOSES if axis == "terse" else ()), actadd(model, axis, layer)
            figures["steering"][axis] = {
                "layer": layer,
                "layer_rule": LAYER_RULE,
                "moves_by_layer": moves,
                "by_dose": [
                    {**asdict(written), "log_odds": asdict(bootstrap_mean(leans[axis]))}
                    for written, leans in zip(
                        responses(model, {axis: layer}, doses, reference=usual)[axis],
                        leaning(model, [(v, dose) for dose in doses], probed, usual),
                        strict=True,
                    )
                ],
            }
            bar.update()
    return {**figures, "evaluation_seconds": round(time.monotonic() - start, 1)}


def write_card(folder: Path) -> dict[str, Any]:
    """Measure the model in `folder` and write its card there; returns the card.

    Raises ZkitError if the folder has no training record or cannot be written to, or the corpus was edited since.
    """
    record = read_record(folder)
    writing.check_place(folder / CARD)
    model = load(str(folder))
    card = {
        "schema": 2,
        "purpose": PURPOSE,
        "architecture": "Qwen3ForCausalLM",
        "parameters": sum(p.numel() for p in model.hf.parameters()),
        "vocabulary": len(model.tokenizer),
        "sha256": model.sha256,
        "training": record,
        "versions": {name: version(name) for name in ("torch", "transformers", "tokenizers")}
        | {"python": platform.python_version()},
        **evaluate(model),
        "cannot": list(CANNOT),
    }
    card["misses"] = misses(card)
    writing.write(folder / CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def _figure(f: dict[str, float]) -> str:
    return f"{f['value']:7.3f} [{f['low']:.3f}, {f['high']:.3f}]"


def as_text(card: dict[str, Any]) -> str:
    """The card for a terminal: abilities, styles, steering by dose, misses."""
    lines = [f"{card['parameters']:,} parameters, trained in {card['training']['seconds'] / 60:.0f} minutes", ""]
    for key, f in card["abilities"].items():
        lines.append(f"{key:26} {_figure(f)}  n = {f['n']:4}  {f['what']}")
    lines += [f"{'sound':26} {_figure(card['sound'])}", "", "wishes: negative pole, none, positive pole; AUC"]
    for axis, by_wishes in card["styles"].items():
        for wishes, found in by_wishes.items():
            for measure in ("text", "log_odds"):
                row = "  ".join(map(_figure, found[measure]))
                lines.append(f"{axis:9} {wishes:9} {measure:9} {row}  AUC {_figure(found[f'{measure}_auc'])}")
            lines.append(f"{axis:9} {wishes:9} sound     {'  '.join(map(_figure, found['sound']))}")
    for axis, auc in card["calibration"].items():
        told = f"{_figure(auc['measure_auc'])}, at best {_figure(auc['likelihood_auc'])}"
        lines.append(f"{axis:9} AUC of the text measure on the generator's texts at levels 0.3 and 0.7: {told}")
    for axis, part in card["steering"].items():
        lines += ["", f"{axis}: ActAdd at layer {part['layer']}; dose, alpha, log-odds, text measure, words, sound"]
        for p in part["by_dose"]:
            figures = "  ".join(_figure(p[name]) for name in ("log_odds", "text", "words"))
            lines.append(f"{p['dose']:6.2f} {p['alpha']:7.2f}  {figures}  {p['sound']['value']:.2f}")
    return "\n".join([*lines, "", f"misses: {'; '.join(card['misses']) or 'none'}"])
