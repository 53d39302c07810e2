"""The command that makes the shipped gates: nothing is trained twice, nothing stale is kept; and what ships."""

import pytest
import tiny
import torch

import zkit
from zkit.gating import VARIANTS, Text, load, mark
from zkit.gating.train import Run
from zkit.organism import shipped_gates as shipped
from zkit.sources import resolve

TEXTS = {
    "forget_texts": [mark("A?", "Rome", "Rome"), mark("B?", "Oslo it is", "Oslo")],
    "retain_texts": [Text("1 + 1 =", "2"), Text("2 + 2 =", "4")],
    "oracle_texts": [Text("Rome is in A. A?", "Rome")],
    "kept_texts": [Text("C?", "Bern")],
}


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The command on a tiny model and few texts: a list of the runs that it trains."""
    model, runs = tiny.model(), []

    class Counted(Run):
        def __init__(self, model, forget, retain, recipe):
            super().__init__(model, forget, retain, recipe)
            runs.append(self)

    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    monkeypatch.setattr(shipped, "Run", Counted)
    monkeypatch.setattr(shipped, "load_model", lambda id: model)
    monkeypatch.setattr(shipped, "resolve", lambda id: model)
    for name, texts in TEXTS.items():
        monkeypatch.setattr(shipped, name, lambda chat, texts=texts: texts)
    return runs


def test_every_variant_ships_with_every_seed():
    made = list(shipped.every())
    assert len(made) == len(set(made)) == 3 * (2 * len(VARIANTS) + len(shipped.REPAIRS))
    assert len({shipped.path_of(*one) for one in made}) == len(made)
    for schedule, variant, seed in made:
        recipe = shipped.recipe_of(schedule, variant, seed)
        assert recipe.seed == seed
        if variant in VARIANTS:
            weights = ("scale", "lambda_f", "lambda_r", "w", "chat", "beta", "temperature")
            assert all(getattr(recipe, name) == getattr(VARIANTS[variant], name) for name in weights)
            assert (recipe == shipped.recipe(variant, seed=seed)) == (schedule == "published")


def test_gates_are_made_once(trained):
    path = shipped.make(("published", "chat_mean", 1))
    gates, [run] = load(path), trained
    assert torch.allclose(gates.logits, run.logits.detach(), atol=1e-3)
    assert gates.note["schedule"] == "published" and gates.note["command"] == shipped.COMMAND
    assert gates.note["recipe"] == shipped.recipe_of("published", "chat_mean", 1).as_dict()
    assert shipped.make(("published", "chat_mean", 1)) == path and len(trained) == 1
    assert torch.equal(shipped.shipped_gates("chat_mean", 1, "published").logits, gates.logits)
    with pytest.raises(zkit.ZkitError, match=f"make it with `{shipped.COMMAND}`"):
        shipped.shipped_gates("chat_mean", 0, "published")


@pytest.mark.parametrize("what", ["the recipe", "the weights"])
def test_gates_of_another_recipe_or_model_are_made_again(trained, monkeypatch, what):
    shipped.make(("published", "baseline", 0))
    if what == "the recipe":
        monkeypatch.setitem(shipped.SCHEDULES, "published", {"epochs": 4.0})
    else:
        monkeypatch.setattr(shipped, "resolve", lambda id: tiny.model(seed=1))
    shipped.make(("published", "baseline", 0))
    assert len(trained) == 2


def test_repairs_read_what_they_are_to_keep(trained):
    for variant, kept in {"baseline": 2, **shipped.REPAIRS}.items():
        shipped.make(("scaled", variant, 0))
        parts = kept if isinstance(kept, int) else 2 + sum(len(TEXTS[f"{name}_texts"]) * n for name, n in kept)
        assert trained[-1].plan.n_retain == parts


def test_shipped_gates_are_those_of_the_recipes_and_weights():
    for schedule, variant, seed in shipped.every():
        gates = shipped.shipped_gates(variant, seed, schedule)
        assert gates.note["recipe"] == shipped.recipe_of(schedule, variant, seed).as_dict()
        assert gates.note["model_sha256"] == resolve("embedded").sha256()
        assert gates.note["steps"] > 100
    size = sum(path.stat().st_size for path in shipped.FOLDER.rglob("*.safetensors"))
    assert size < 3e6
