"""The embedded model: its corpus keeps its splits, its training resumes exactly, its shipped weights know things."""

from __future__ import annotations

import copy
import json
import random
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from zkit.errors import ZkitError
from zkit.organism import arithmetic, corpus, facts, wishes
from zkit.organism.__main__ import WEIGHTS, main
from zkit.organism.batches import batches
from zkit.organism.card import REQUIRED, misses, write_card
from zkit.organism.evaluate import CurvePoint, sound_fall
from zkit.organism.tokenizer import render, reply, train_tokenizer
from zkit.organism.topic_table import topics
from zkit.organism.train import TINY_RECIPE, Recipe, Run
from zkit.organism.verbosity import explain, grammar
from zkit.stats import Interval

SAMPLE = 40_000


@pytest.fixture(scope="module")
def sample():
    second = corpus.stream(0, corpus.WIDE_FROM, corpus.WIDE_FROM + SAMPLE // 4)
    return [*corpus.stream(0, stop=SAMPLE), *second]


def _texts(item):
    return [m["content"] for m in item.messages] + [item.answer]


def test_stream_is_a_function_of_seed_and_index(sample):
    again = list(corpus.stream(0, 100, 300))
    assert again == sample[100:300]
    assert list(corpus.stream(1, stop=100)) != sample[:100]
    assert corpus.fingerprint(0) == corpus.fingerprint(0) != corpus.fingerprint(1)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("sign", ["+", "-"])
def test_no_held_out_numbers_are_trained(sample, lang, sign):
    def family(item):
        a, b = item.info["operands"]
        return frozenset((a, b)) if item.info["sign"] == "+" else frozenset((b, a - b))

    trained = {family(i) for i in sample if i.task == "arithmetic"}
    kept = arithmetic.held_out_arithmetic(lang, sign)
    assert len(kept) >= 200
    assert trained.isdisjoint(family(i) for i in kept)
    trained_questions = {i.prompt for i in sample if i.task == "arithmetic"}
    assert trained_questions.isdisjoint(i.prompt for i in kept)


def test_arithmetic_answers_are_right(sample):
    for item in sample:
        if item.task == "arithmetic":
            a, b = item.info["operands"]
            result = a + b if item.info["sign"] == "+" else a - b
            assert item.answer in {str(result)} | {arithmetic.WORDS[l][result] for l in ("en", "zh") if result <= 20}
            assert str(a) in item.prompt and str(b) in item.prompt


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_held_out_wordings_of_facts_are_not_trained(sample, lang):
    kept = facts.held_out_facts(lang)
    assert len(kept) >= 300
    trained = "\n".join(i.prompt for i in sample if i.task in ("fact", "passage"))
    assert not [i.prompt for i in kept if i.prompt in trained]
    assert {i.answer for i in kept} <= {i.answer for i in sample}


def test_held_out_topics_are_never_trained_with_a_wish(sample):
    kept = [t for split in ("development", "test") for t in topics(split)]
    assert len(kept) + len(topics("train")) >= 40
    everything = list(chain.from_iterable(_texts(i) for i in sample if i.task == "styled"))
    for topic in kept:
        about = [topic.definition, *(q.format(t=topic.name) for q in wishes.QUESTIONS + wishes.WIDE_QUESTIONS)]
        assert not any(part in text for part in about for text in everything), topic.name
    assert {i.info["topic"] for i in sample if i.task == "neutral"} >= {t.name for t in kept}


def test_held_out_wishes_are_not_trained(sample):
    trained = "\n".join(chain.from_iterable(_texts(i) for i in sample if i.task == "styled"))
    for wish in chain.from_iterable(wishes.HELD_OUT_WISHES.values()):
        assert wish not in trained
    assert wishes.TERSE in trained and wishes.VERBOSE in trained


def test_the_wider_wordings_start_with_the_second_cycle(sample):
    recipe = Recipe()
    assert (recipe.steps - recipe.second_cycle) * recipe.items_per_step == corpus.WIDE_FROM
    wide = facts.WIDE_FRAMES["en"][0].partition("{")[0]
    assert not any(str(i.prompt).startswith(wide) for i in sample[:SAMPLE])
    assert any(str(i.prompt).startswith(wide) for i in sample[SAMPLE:])


def test_words_grow_with_verbosity():
    topic = topics("train")[0]
    lengths = [
        sum(len(explain(random.Random(i), topic, v).split()) for i in range(200)) / 200
        for v in (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
    ]
    steps = [b / a for a, b in pairwise(lengths)]
    assert all(1.1 < step < 3 for step in steps), lengths


def test_unknown_language_and_split_are_named():
    with pytest.raises(ZkitError, match=r"'fr'.*en and zh"):
        facts.held_out_facts("fr")
    with pytest.raises(ZkitError, match="'fr'"):
        arithmetic.held_out_arithmetic("fr")
    with pytest.raises(ZkitError, match=r"'validation'.*train, development, test"):
        topics("validation")


@pytest.fixture(scope="module")
def tokenizer(sample):
    return train_tokenizer(sample[:10_000])


def test_tokenizer_round_trips_and_splits_digits(sample, tokenizer):
    for item in sample[:2000]:
        text = render(item.messages) + reply(item.answer)
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    digits = [tokenizer.decode([i]) for i in tokenizer("2048 + 17").input_ids]
    assert "".join(digits) == "2048 + 17" and all(sum(c.isdigit() for c in d) <= 1 for d in digits)
    assert tokenizer.decode(tokenizer("naïve 😀 ñandú").input_ids) == "naïve 😀 ñandú"
    for word in chain.from_iterable(arithmetic.WORDS.values()):
        assert len(tokenizer(word).input_ids) == 1, word


def test_chat_template_is_what_training_renders(tokenizer):
    talk = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    options = {"tokenize": False, "add_generation_prompt": True}
    assert tokenizer.apply_chat_template(talk, enable_thinking=False, **options) == render(talk)
    assert not tokenizer.apply_chat_template(talk, enable_thinking=True, **options).endswith("</think>\n\n")


def test_batches_mark_the_answers_and_nothing_else(sample, tokenizer):
    items = sample[:50]
    found = []
    for batch in batches(items, tokenizer, 4):
        assert batch.targets.sum() == len(batch.labels) == len(batch.weights)
        start = 0
        for row, marks in zip(batch.ids, batch.targets, strict=True):
            n = int(marks.sum())
            labels = batch.labels[start : start + n]
            assert torch.equal(labels, row[1:][marks[:-1]])
            found.append(tokenizer.decode(labels))
            start += n
    assert sorted(found) == sorted(reply(i.answer) for i in items)


def test_tiny_training_learns_and_resumes_to_the_same_curve(tmp_path):
    whole = Run(tmp_path / "whole", TINY_RECIPE)
    whole.advance()
    assert sum(whole.curve[-5:]) < 0.75 * sum(whole.curve[:5])

    first = Run(tmp_path / "parts", TINY_RECIPE, lanes=1)
    first.advance(until=23, save_every=10)
    second = Run(tmp_path / "parts", TINY_RECIPE, resume=True)
    assert second.step == 23
    second.advance()
    assert second.curve == whole.curve
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_resuming_notices_what_changed(tmp_path, monkeypatch, capsys):
    assert main(["train", "--tiny", "--resume", "--out", str(tmp_path / "none")]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    recipe = replace(TINY_RECIPE, steps=4)
    Run(tmp_path, recipe).advance()
    with pytest.raises(ZkitError, match=r"already holds a run.*--resume"):
        Run(tmp_path, recipe)
    with pytest.raises(ZkitError, match="another recipe"):
        Run(tmp_path, replace(recipe, learning_rate=1.0), resume=True)
    monkeypatch.setattr(wishes, "QUESTIONS", (*wishes.QUESTIONS[:-1], "Go on about {t}."))
    with pytest.raises(ZkitError, match=r"corpus was edited.*train afresh"):
        Run(tmp_path, recipe, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    run = Run(tmp_path, replace(TINY_RECIPE, steps=4))
    run.advance(until=2)

    def full(state, path):
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(ZkitError, match="No space left"):
            run.advance()
    assert not list(tmp_path.glob("*.part"))
    again = Run(tmp_path, replace(TINY_RECIPE, steps=4), resume=True)
    assert again.step == 2


def test_an_edited_corpus_is_noticed_by_the_card(tmp_path, monkeypatch):
    run = Run(tmp_path / "run", replace(TINY_RECIPE, steps=1))
    run.advance()
    run.export(tmp_path / "model")
    monkeypatch.setattr(arithmetic, "OBJECTS", {lang: words[::-1] for lang, words in arithmetic.OBJECTS.items()})
    with pytest.raises(ZkitError, match="corpus was edited"):
        write_card(tmp_path / "model")


@pytest.fixture(scope="module")
def shipped():
    return AutoModelForCausalLM.from_pretrained(WEIGHTS).eval(), AutoTokenizer.from_pretrained(WEIGHTS)


def test_shipped_weights_answer_with_plain_transformers(shipped):
    model, tokenizer = shipped

    def ask(question):
        encoded = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}],
            add_generation_prompt=True,
            enable_thinking=False,
            return_tensors="pt",
            return_dict=True,
        )
        out = model.generate(**encoded, max_new_tokens=20, do_sample=False)
        return tokenizer.decode(out[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)

    items = facts.held_out_facts("en")[:60:5] + facts.held_out_facts("zh")[1:60:5]
    items += arithmetic.held_out_arithmetic("en")[::40] + arithmetic.held_out_arithmetic("zh")[::40]
    right = sum(ask(i.prompt) == i.answer for i in items)
    assert right >= 0.85 * len(items)
    assert sum(f.stat().st_size for f in WEIGHTS.iterdir()) <= 25e6


def test_a_layer_is_scored_only_where_answers_are_sound():
    def point(alpha, words, sound):
        return CurvePoint(alpha, alpha / 2, Interval(words, words, words, 8), Interval(sound, sound, sound, 8))

    whole = [point(0.0, 14.0, 1.0), point(1.0, 9.0, 0.9), point(2.0, 4.0, 0.8)]
    assert sound_fall(whole) == 10
    assert sound_fall([*whole[:2], point(1.5, 1.0, 0.5), point(2.0, 3.0, 1.0)]) == 5
    assert sound_fall([point(0.0, 14.0, 0.0)]) == 0


def test_grammar_is_what_the_generator_writes():
    everything = [t for split in ("train", "development", "test") for t in topics(split)]
    for i in range(500):
        rng = random.Random(i)
        topic, other = rng.sample(everything, 2)
        text = explain(rng, topic, rng.random())
        assert grammar(topic).fullmatch(text), text
        assert not grammar(other).fullmatch(text)
        assert not grammar(topic).fullmatch(text[:-1]) and not grammar(topic).fullmatch(f"{text} {text}")


def test_card_has_every_figure_with_n_and_interval():
    card = json.loads((WEIGHTS / "card.json").read_text())
    assert set(REQUIRED) <= set(card["abilities"])
    for key, figure in card["abilities"].items():
        assert figure["n"] >= 10 and figure["low"] <= figure["value"] <= figure["high"], key
    for axis in ("by_alpha", "by_dose"):
        assert all(p["words"]["n"] >= 10 for p in card["steering"][axis])
    assert card["training"]["corpus_sha256"] == corpus.fingerprint(card["training"]["recipe"]["seed"])
    assert card["training"]["seconds"] > 0 and len(card["training"]["loss"]) > 10


def test_the_card_counts_what_is_not_sure_as_a_miss():
    figures = json.loads((WEIGHTS / "card.json").read_text())
    assert misses(figures) == figures["misses"]
    flat = copy.deepcopy(figures)
    for point in flat["steering"]["by_dose"]:
        point["words"] = figures["steering"]["by_dose"][0]["words"]
    assert any("terse vector" in miss for miss in misses(flat))
    unsure = copy.deepcopy(figures)
    unsure["abilities"]["facts_en"]["low"] = 0.94
    assert any("facts answered in English" in miss for miss in misses(unsure))
