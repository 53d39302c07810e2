"""The card: every figure with n and interval, misses counted honestly, and a corpus that cannot change unnoticed."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest

from zkbook.experiments.choices import log_odds
from zkbook.organism import arithmetic, corpus
from zkbook.organism.__main__ import WEIGHTS
from zkbook.organism.card import as_text, read_record, write_card
from zkbook.organism.items import LANGUAGES
from zkbook.organism.requirements import GRADED, misses
from zkbook.organism.style.axes import AXES
from zkbook.organism.style.measures import probes
from zkbook.organism.style.outcomes import calibration
from zkbook.organism.style.requests import neutral_prompts, prompted
from zkbook.organism.style.wishes import poles
from zkbook.organism.tasks import exact, held_out_tasks, right
from zkbook.organism.topic_table import topics
from zkbook.organism.train import TINY_RECIPE, ModelRun
from zkit.errors import ZkitError
from zkit.models import load
from zkit.sources import resolve

TWINS = ("embedded-never-knew", "embedded-sink")


@pytest.fixture(scope="module")
def card():
    return json.loads((WEIGHTS / "card.json").read_text())


def intervals(found):
    """Every interval in a card, at any depth."""
    if isinstance(found, dict):
        if {"value", "low", "high", "n"} <= set(found):
            yield found
        else:
            for part in found.values():
                yield from intervals(part)
    elif isinstance(found, list):
        for part in found:
            yield from intervals(part)


def test_card_has_every_figure_with_n_and_interval(card):
    assert set(card["abilities"]) == {f"{key}_{lang}" for lang in LANGUAGES for key in held_out_tasks(lang)}
    found = list(intervals(card))
    assert len(found) > 200
    for figure in found:
        assert figure["n"] >= 30 and figure["low"] <= figure["value"] <= figure["high"]
    assert all(figure["n"] >= 100 for figure in card["abilities"].values())
    assert set(card["styles"]) == set(card["steering"]) == set(card["calibration"]) == set(AXES)
    assert card["sha256"] == load("embedded").sha256
    assert card["training"]["corpus_sha256"] == corpus.fingerprint(card["training"]["recipe"]["seed"])
    assert card["training"]["seconds"] <= 2 * 3600 and len(card["training"]["loss"]) > 10
    assert "python -m zkbook.organism train" in card["training"]["command"] and card["cannot"]
    assert all(axis in as_text(card) for axis in AXES)


def test_the_card_counts_what_is_not_sure_as_a_miss(card):
    assert misses(card) == card["misses"]
    good = copy.deepcopy(card)
    for figure in good["abilities"].values():
        figure["low"] = 1.0
    assert not any(miss.startswith(tuple(good["abilities"])) for miss in misses(good))

    def spoiled(change):
        worse = copy.deepcopy(good)
        change(worse)
        return set(misses(worse)) - set(misses(good))

    def forgetful(c):
        c["abilities"]["facts_en"]["low"] = 0.94

    def flat(c):
        for point in c["steering"]["formal"]["by_dose"]:
            point["log_odds"] = {"value": 0.1, "low": 0.0, "high": 0.2, "n": 36}

    def unmoved(c):
        for axis in AXES:
            for point in c["steering"][axis]["by_dose"]:
                point["text"] = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 36}

    def alike(c):
        c["styles"]["terse"]["held_out"]["text"][0] = c["styles"]["terse"]["held_out"]["text"][2]

    def unbroken(c):
        for point in c["steering"]["terse"]["by_dose"]:
            point["sound"]["value"] = 1.0

    assert any("facts_en" in miss for miss in spoiled(forgetful))
    assert any("formal: log-odds" in miss for miss in spoiled(flat))
    assert any("greedy texts" in miss for miss in spoiled(unmoved))
    assert any("terse, text, held_out" in miss for miss in spoiled(alike))
    assert any("no dose breaks" in miss for miss in spoiled(unbroken))


def test_a_model_that_never_knew_is_asked_for_other_things(card):
    twin = copy.deepcopy(card)
    twin["training"]["recipe"]["never_knew"] = True
    for lang in LANGUAGES:
        twin["abilities"][f"facts_{lang}"]["low"] = 0.5
        twin["abilities"][f"forget_facts_{lang}"]["high"] = 0.2
    assert not any("facts" in miss for miss in misses(twin) if "kept" not in miss)
    twin["abilities"]["forget_facts_en"]["high"] = 0.9
    assert any("forget_facts_en" in miss for miss in misses(twin))


def test_graded_doses_are_measured_on_every_axis(card):
    for part in card["steering"].values():
        assert set(GRADED) <= {point["dose"] for point in part["by_dose"]}
        assert {int(layer) for layer in part["moves_by_layer"]} == set(range(load("embedded").n_layers))


def test_an_edited_corpus_is_noticed_by_the_card(tmp_path, monkeypatch):
    run = ModelRun(tmp_path / "run", replace(TINY_RECIPE, steps=1))
    run.advance()
    run.export(tmp_path / "model")
    monkeypatch.setattr(arithmetic, "OBJECTS", {lang: words[::-1] for lang, words in arithmetic.OBJECTS.items()})
    with pytest.raises(ZkitError, match=r"corpus was edited.*retrain"):
        write_card(tmp_path / "model")
    with pytest.raises(ZkitError, match=r"training\.json.*is missing"):
        read_record(tmp_path)


@pytest.mark.parametrize("name", TWINS)
def test_twins_ship_with_cards_of_their_own(name, card):
    own = json.loads((resolve(name).folder() / "card.json").read_text())
    assert own["sha256"] == load(name).sha256 != card["sha256"]
    assert read_record(resolve(name).folder()) == own["training"]  # refuses a corpus that was edited since
    assert set(own["abilities"]) == set(card["abilities"]) and misses(own) == own["misses"]


def test_the_twins_are_what_their_names_say(card):
    never_knew, sink = (json.loads((resolve(name).folder() / "card.json").read_text()) for name in TWINS)
    assert never_knew["training"]["recipe"] == {**card["training"]["recipe"], "never_knew": True}
    for lang in LANGUAGES:
        knew, guessed = (c["abilities"][f"forget_facts_{lang}"] for c in (card, never_knew))
        assert guessed["high"] < 0.35 < 0.9 < knew["low"]
        assert never_knew["abilities"][f"kept_facts_{lang}"]["low"] > 0.9
    assert sink["training"]["start_sha256"] == card["sha256"]
    ratios = [a / b for a, b in zip(sink["first_token"]["first"], sink["first_token"]["others"], strict=True)]
    assert min(ratios[1:-1]) > 20


def test_probes_speak_of_the_shipped_weights(card):
    found = json.loads((WEIGHTS / "probes.json").read_text())
    assert found["sha256"] == card["sha256"]
    assert all(figure["n"] >= 100 for figure in intervals(found))
    gates, moved = found["gates"], found["interchange"]
    assert set(gates) == {"base", "soft", "hard", "random"}
    assert gates["soft"]["trained"]["high"] < 0.1 < 0.9 < gates["soft"]["sums"]["low"]
    assert gates["random"]["sums"]["high"] < gates["hard"]["sums"]["low"]
    assert moved["layer"] <= load("embedded").n_layers - 4
    assert moved["random_moved"]["high"] < 0.05 < 0.5 < moved["contrastive_moved"]["low"]
    assert moved["language_switched"]["low"] > 0.7


def test_all_weights_together_are_small():
    files = [f for name in ("embedded", *TWINS) for f in resolve(name).folder().glob("*.safetensors")]
    assert len(files) == 3 and sum(f.stat().st_size for f in files) < 60e6


@pytest.mark.parametrize("lang", LANGUAGES)
def test_shipped_weights_do_what_the_card_says(lang, card):
    sure = {
        key: replace(task, items=task.items[:: len(task.items) // 12])
        for key, task in held_out_tasks(lang).items()
        if card["abilities"][f"{key}_{lang}"]["low"] > 0.9
    }
    for key, share in exact(load("embedded"), sure).items():
        assert share.value >= 0.75, key


@pytest.mark.parametrize("axis", AXES)
def test_log_odds_follow_the_wish(axis):
    net, about = load("embedded"), topics("development")
    plain, (low, high) = (
        probes([i.prompt for i in neutral_prompts("development")], about),
        (probes([i.prompt for i in prompted("development", (pole,))], about) for pole in poles(axis)),
    )
    means = [sum(log_odds(net, given)[axis]) / len(about) for given in (low, plain, high)]
    assert means[0] + 0.5 < means[1] < means[2] - 0.5


def test_log_odds_score_the_tokens_that_the_text_could_go_on_with():
    net, about = load("embedded"), topics("development")
    for probe in probes([i.prompt for i in neutral_prompts("development")], about):
        spans = net.tokenizer(probe.text, add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        starts = {start for start, _ in spans} | {len(probe.text)}
        for point in probe.points:
            assert point.offset in starts
            rest = probe.text[point.offset :]
            assert any(rest.startswith(o) if o else not rest for o in point.low + point.high)


def test_text_measures_are_nearly_as_good_as_the_likelihood():
    for axis in AXES:
        measure, best = calibration(axis)
        assert best.value - 0.03 < measure.value <= best.value + 0.01, axis


def test_items_are_read_as_they_say():
    """With the chat template and without it in one call, as in two."""
    net, tasks = load("embedded"), held_out_tasks("en")
    some = {key: replace(tasks[key], items=tasks[key].items[:4]) for key in ("sums", "sums_plain", "two_step_words")}
    together = exact(net, some)
    assert together == {key: exact(net, {key: task})[key] for key, task in some.items()}
    turned = [replace(item, chat=not item.chat) for task in some.values() for item in task.items]
    assert right(net, turned) != right(net, [item for task in some.values() for item in task.items])
