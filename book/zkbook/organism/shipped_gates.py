"""Gates for the embedded model: every published variant and three repaired ones, three seeds each, by one command.

Two schedules. "published" keeps the cards' three passes at a rate of 0.01; on a corpus this small that is about a
hundred steps. "scaled" gives the same loss weights steps enough to forget. The repaired variants have their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from zkbook.organism.unlearning import forget_texts, kept_texts, oracle_texts, retain_texts
from zkit import writing
from zkit.embedded import GATES
from zkit.gating import VARIANTS, Gates, Recipe, Text, known_texts, load, recipe, save_half
from zkit.gating.training import Run
from zkit.models import Model
from zkit.models import load as load_model
from zkit.sources import resolve

SEEDS = (0, 1, 2)
COMMAND = "python -m zkbook.organism gates"
SCHEDULES: dict[str, dict[str, Any]] = {"published": {}, "scaled": {"epochs": 12.0, "learning_rate": 5e-2}}
# Changes of the repaired recipe, and how often each kind of text is to be retained besides reasoning.
REPAIRS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "repaired": ({}, {"oracle": 5}),
    "repaired_selective": ({"lambda_f": 4.0}, {"oracle": 5, "kept": 3}),
    "repaired_sparse": ({"sparsity": 30.0, "off_target": 0.08}, {"oracle": 5}),
}
Made = tuple[str, str, int]


def every() -> Iterator[Made]:
    """Schedule, variant and seed of all shipped gates."""
    yield from product(SCHEDULES, VARIANTS, SEEDS)
    yield from product(("scaled",), REPAIRS, SEEDS)


def path_of(schedule: str, variant: str, seed: int) -> Path:
    """The file of shipped gates."""
    return GATES / schedule / f"{variant}-{seed}.safetensors"


def recipe_of(schedule: str, variant: str, seed: int) -> Recipe:
    """What shipped gates are trained by."""
    if variant in REPAIRS:
        return recipe("repaired", seed=seed, **REPAIRS[variant][0])
    return recipe(variant, seed=seed, **SCHEDULES[schedule])


def material(model: Model, variant: str, wanted: Recipe) -> tuple[list[Text], list[Text]]:
    """The texts that gates learn from, to forget and to retain; a repaired variant forgets only what is known."""
    forget, retain = forget_texts(chat=wanted.chat), retain_texts(chat=wanted.chat)
    if variant not in REPAIRS:
        return forget, retain
    texts = {"oracle": oracle_texts, "kept": kept_texts}
    also = [text for kind, times in REPAIRS[variant][1].items() for text in texts[kind](chat=wanted.chat) * times]
    return known_texts(model, forget, wanted.chat), retain + also


def make(made: Made) -> Path:
    """Train gates on the embedded model and write their file, unless it holds gates of these weights and recipe.

    Texts are not compared: delete the files if the texts change.
    """
    schedule, variant, _ = made
    path, wanted = path_of(*made), recipe_of(*made)
    if path.is_file():
        note = load(path).note
        if note["model_sha256"] == resolve("embedded").sha256() and Recipe(**note["recipe"]) == wanted:
            return path
    writing.check_place(path)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    model = load_model("embedded")
    run = Run(model, *material(model, variant, wanted), wanted)
    run.advance(progress=False)
    gates = run.gates()
    note = {**gates.note, "variant": variant, "schedule": schedule, "command": COMMAND}
    return save_half(Gates(gates.logits, note), path)


def make_all(which: Iterable[Made] | None = None, cores: int = 2) -> Iterator[Path]:
    """Make the missing ones among ``which`` (default: all), one on each core; yields each file as it is done."""
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        yield from pool.map(make, list(every() if which is None else which))
