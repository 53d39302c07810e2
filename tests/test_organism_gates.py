"""The command that makes the shipped gates: nothing is trained twice, nothing stale is kept; and what ships."""

from importlib import import_module

import pytest
import tiny
import torch

import zkit
from zkit.gating import VARIANTS, Recipe, Text, load, mark
from zkit.gating.training import Run
from zkit.models import Model
from zkit.sources import Source, resolve

shipped = import_module("zkbook.organism.shipped_gates")

TEXTS = {
    "forget_texts": [mark("A?", "Rome", "Rome"), mark("B?", "Oslo it is", "Oslo")],
    "retain_texts": [Text("1 + 1 =", "2"), Text("2 + 2 =", "4")],
    "oracle_texts": [Text("Rome is in A. A?", "Rome")],
    "kept_texts": [Text("C?", "Bern")],
}


def saved(folder, seed=0):
    model = tiny.model(num_hidden_layers=2, seed=seed)
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return Model(model.hf, model.tokenizer, Source(f"tiny-{seed}", folder))


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The command on a tiny model and few texts: a list of the runs that it trains."""
    model, runs = saved(tmp_path / "model"), []

    class Counted(Run):
        def __init__(self, model, forget, retain, recipe):
            super().__init__(model, forget, retain, recipe)
            runs.append(self)

    monkeypatch.setattr(shipped, "GATES", tmp_path / "gates")
    monkeypatch.setattr(zkit.embedded, "GATES", tmp_path / "gates")
    monkeypatch.setattr(shipped, "Run", Counted)
    monkeypatch.setattr(shipped, "load_model", lambda id: model)
    monkeypatch.setattr(shipped, "resolve", lambda id: model.source)
    for name, texts in TEXTS.items():
        monkeypatch.setattr(shipped, name, lambda chat, texts=texts: texts)
    monkeypatch.setattr(shipped, "known_texts", lambda model, texts, chat: texts[:1])
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
    assert Recipe(**gates.note["recipe"]) == shipped.recipe_of("published", "chat_mean", 1)
    assert shipped.make(("published", "chat_mean", 1)) == path and len(trained) == 1
    assert torch.equal(zkit.embedded.gates("chat_mean", 1, "published").logits, gates.logits)
    with pytest.raises(zkit.ZkitError, match="schedules are published, variants chat_mean, and seeds"):
        zkit.embedded.gates("chat_mean", 0, "published")


@pytest.mark.parametrize("what", ["the recipe", "the weights"])
def test_gates_of_another_recipe_or_model_are_made_again(trained, monkeypatch, tmp_path, what):
    shipped.make(("published", "baseline", 0))
    if what == "the recipe":
        monkeypatch.setitem(shipped.SCHEDULES, "published", {"epochs": 4.0})
    else:
        other = saved(tmp_path / "other", seed=1)
        monkeypatch.setattr(shipped, "resolve", lambda id: other.source)
    shipped.make(("published", "baseline", 0))
    assert len(trained) == 2


@pytest.mark.parametrize("variant", ["baseline", *shipped.REPAIRS])
def test_repairs_forget_what_is_known_and_read_what_they_are_to_keep(trained, monkeypatch, variant):
    if variant in shipped.REPAIRS:
        changes, times = shipped.REPAIRS[variant]
        monkeypatch.setitem(shipped.REPAIRS, variant, (changes | {"epochs": 2.0}, times))
    path = shipped.make(("scaled", variant, 0))
    times = shipped.REPAIRS[variant][1] if variant in shipped.REPAIRS else {}
    assert trained[0].plan.n_forget == (1 if times else 2)
    assert trained[0].plan.n_retain == 2 + sum(len(TEXTS[f"{kind}_texts"]) * n for kind, n in times.items())
    assert load(path).note["variant"] == variant


def test_shipped_gates_are_those_of_the_recipes_and_weights():
    for schedule, variant, seed in shipped.every():
        gates = zkit.embedded.gates(variant, seed, schedule)
        assert Recipe(**gates.note["recipe"]) == shipped.recipe_of(schedule, variant, seed)
        assert gates.note["model_sha256"] == resolve("embedded").sha256()
        assert gates.note["steps"] > 100
    size = sum(path.stat().st_size for path in shipped.GATES.rglob("*.safetensors"))
    assert size < 3e6
