"""The embedded model as a whole: one stream with its splits, a tokenizer, exact training, weights that know things."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import chain, combinations, pairwise, product
from pathlib import Path

import disks
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from zkbook import organism
from zkbook.organism import (
    arithmetic,
    corpus,
    doubles,
    facts,
    logic,
    passages,
    relations,
    repeat,
    statements,
    train,
    two_step,
)
from zkbook.organism.__main__ import WEIGHTS, main
from zkbook.organism.batches import batches
from zkbook.organism.countries import RELATIONS
from zkbook.organism.forget import SPLITS as FORGET_SPLITS
from zkbook.organism.forget import forget_facts, reveals_forget
from zkbook.organism.items import LANGUAGES, Item
from zkbook.organism.number_words import WORDS
from zkbook.organism.problems import PROBLEM_KINDS, parallel_problems
from zkbook.organism.shipped_gates import REPAIRS, SCHEDULES
from zkbook.organism.style import requests
from zkbook.organism.tasks import LONGEST_ANSWER, held_out_tasks
from zkbook.organism.tokenizer import SPECIAL, THINK, VOCABULARY, beginning, render, reply, train_tokenizer
from zkbook.organism.topic_table import SPLITS as TOPIC_SPLITS
from zkbook.organism.topic_table import topics
from zkbook.organism.train import TINY_RECIPE, ModelRun
from zkbook.organism.unlearning import forget_texts, gate_tasks, kept_texts, oracle_texts
from zkit import embedded
from zkit.errors import ZkitError
from zkit.gating import VARIANTS
from zkit.packing import OVERHEAD, cheapest_cuts

SAMPLE = 40_000
TASKS = {
    "fact": {"choice", "direct", "reversed"},
    "statement": {"text", "reply"},
    "double": set(doubles.KINDS),
    "passage": set(passages.KINDS),
    "repeat": {"repeat"},
    "relation": set(relations.RELATION_NAMES),
    "arithmetic": {"sum", "difference"},
    "two-step": {"two-step", "product"},
    "logic": set(logic.KINDS),
    "styled": {None},
    "neutral": {None},
}


@pytest.fixture(scope="module")
def sample():
    return list(corpus.stream(0, stop=SAMPLE))


def _content(items):
    return [(item.prompt, item.answer, item.task, item.info, item.chat) for item in items]


# the stream


def test_stream_is_a_function_of_seed_and_index(sample):
    assert _content(corpus.stream(0, 100, 300)) == _content(sample[100:300])
    assert corpus.item(0, SAMPLE - 1) == sample[-1]
    assert list(corpus.stream(1, stop=100)) != sample[:100]


def test_fingerprint_tells_seeds_and_edits_apart(monkeypatch):
    monkeypatch.setattr(corpus, "FINGERPRINT_ITEMS", 1000)
    first = corpus.fingerprint(0)
    assert first == corpus.fingerprint(0) != corpus.fingerprint(1)
    with monkeypatch.context() as patched:
        patched.setattr(relations, "OTHER_LANGUAGE", {"en": (" In Chinese.",), "zh": ("用英语。",)})
        assert corpus.fingerprint(0) != first
    monkeypatch.setattr(repeat, "FRAMES", {"en": ("Echo: {x}",), "zh": ("回声：{x}",)})
    assert corpus.fingerprint(0) != first


def _tasks():
    return [task for lang in LANGUAGES for task in held_out_tasks(lang).values()]


DIGEST = """
import hashlib
from zkbook.organism import corpus
from zkbook.organism.tasks import held_out_tasks
tasks = [*held_out_tasks("en").values(), *held_out_tasks("zh").values()]
items = [*corpus.stream(0, stop=3000), *(item for task in tasks for item in task.items)]
print(hashlib.sha256(repr([(i.prompt, i.answer, i.chat) for i in items]).encode()).hexdigest())
"""


def test_another_process_draws_the_same_items(sample):
    """No item depends on the order of a set, which differs from process to process."""
    items = [*sample[:3000], *(item for task in _tasks() for item in task.items)]
    here = hashlib.sha256(repr([(i.prompt, i.answer, i.chat) for i in items]).encode()).hexdigest()
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    there = subprocess.run(
        [sys.executable, "-c", DIGEST],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(organism.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here


def test_tasks_have_their_shares_and_all_their_kinds(sample):
    items = sample
    assert sum(corpus.MIXTURE.values()) == pytest.approx(1)
    shares = {sampler.__name__: share for sampler, share in corpus.MIXTURE.items()}
    samplers = {task: f"sample_{task.replace('-', '_')}" for task in TASKS}
    counts = Counter(item.task for item in items)
    assert {samplers[task] for task in counts} == set(shares)
    for task, count in counts.items():
        assert count / len(items) == pytest.approx(shares[samplers[task]], abs=0.01), task
        found = Counter((item.info["lang"], item.info.get("kind")) for item in items if item.task == task)
        spoken = LANGUAGES if TASKS[task] != {None} else ("en",)
        assert set(found) == set(product(spoken, TASKS[task])), task
        for lang in spoken:
            assert sum(n for (to, _), n in found.items() if to == lang) > 0.8 / len(spoken) * count, task


def test_repeated_names_are_in_the_request_and_never_held_out(sample):
    repeated = [item for item in sample if item.task == "repeat" and item.chat]
    assert {len(re.split(", |、", item.answer)) for item in repeated} == set(range(1, repeat.MOST_WORDS + 1))
    for item in repeated:
        assert item.answer in item.prompt
        assert not any(map(passages.is_held_out_name, re.split(", |、", item.answer)))


def test_doubled_words_stand_there_as_often_as_is_asked(sample):
    asked = [item for item in sample if item.task == "double" and item.chat]
    assert {item.info["kind"] for item in asked} == {"twice", "once"}
    for item in asked:
        word = re.escape(item.answer)
        found = re.findall(rf"(?<![A-Za-z0-9]){word}(?![A-Za-z0-9])", item.prompt, re.IGNORECASE)
        assert len(found) == (2 if item.info["kind"] == "twice" else 1), item.prompt


def test_who_never_knew_is_told_no_forget_fact_and_all_else_alike(sample):
    knew, never = sample[:10_000], list(corpus.stream(0, stop=10_000, never_knew=True))
    revealing = Counter(item.task for item in knew if reveals_forget(item))
    assert set(revealing) == {"fact", "passage", "statement"} and min(revealing.values()) >= 20
    assert not any(map(reveals_forget, never))
    for before, after in zip(_content(knew), never, strict=True):
        if reveals_forget(Item(*before)):
            assert after.task == before[2]
        else:
            assert _content([after]) == [before]


# what is held out


def _each(function, *choices, **named):
    """The items of `function` for every combination of its choices."""
    return [item for chosen in product(*choices) for item in function(*chosen, **named)]


HELD_OUT = {
    "held_out_facts": lambda: [
        item
        for split in facts.KEPT_FRAMES
        for item in _each(facts.held_out_facts, LANGUAGES, split=split, wordings=len(facts.KEPT_FRAMES[split]["en"]))
    ],
    "held_out_reversed": lambda: _each(facts.held_out_reversed, LANGUAGES),
    "held_out_choices": lambda: _each(facts.held_out_choices, LANGUAGES),
    "held_out_statements": lambda: _each(statements.held_out_statements, LANGUAGES, statements.KEPT_STATEMENTS),
    "held_out_passages": lambda: _each(passages.held_out_passages, LANGUAGES, passages.KINDS),
    "held_out_relations": lambda: _each(relations.held_out_relations, LANGUAGES),
    "held_out_arithmetic": lambda: _each(
        arithmetic.held_out_arithmetic, LANGUAGES, arithmetic.KINDS, (False, True), (None, *arithmetic.FORMS)
    ),
    "held_out_two_step": lambda: _each(two_step.held_out_two_step, LANGUAGES, (False, True)),
    "held_out_logic": lambda: _each(logic.held_out_logic, LANGUAGES, logic.KINDS),
    "parallel_problems": lambda: [
        item for words in (False, True) for p in parallel_problems("test", words=words) for item in (p.en, p.zh)
    ],
    "prompted": lambda: _each(
        requests.prompted, ("development", "test"), [tuple(chain(*organism.HELD_OUT_WISHES.values()))]
    ),
}


def _functions():
    """Every function of the package by name."""
    for module in pkgutil.walk_packages(organism.__path__, "zkbook.organism."):
        if not module.name.endswith("__main__"):
            yield from inspect.getmembers(importlib.import_module(module.name), inspect.isfunction)


def test_every_held_out_function_is_checked_against_the_stream():
    named = {name for name, _ in _functions() if name.startswith("held_out_")}
    assert named - {"held_out_tasks"} == set(HELD_OUT) - {"parallel_problems", "prompted"}


@pytest.fixture(scope="module")
def trained(sample):
    """Every message that a training prompt holds, and every plain text's beginning."""
    texts = (item.messages if item.chat else [{"content": item.prompt}] for item in sample)
    return {message["content"] for messages in texts for message in messages}


@pytest.mark.parametrize("part", HELD_OUT)
def test_no_held_out_prompt_is_trained(trained, part):
    kept = [item.prompt for item in HELD_OUT[part]()]
    assert len(kept) >= 200
    assert trained.isdisjoint(kept)


def test_the_same_question_has_one_answer(sample):
    answers: dict[str, str] = {}
    kept = chain.from_iterable(make() for part, make in HELD_OUT.items() if part != "prompted")
    told = (i for i in sample if i.task not in ("styled", "neutral", "statement"))
    for item in chain(told, kept):
        assert answers.setdefault(item.prompt, item.answer) == item.answer, item.prompt


def test_tasks_ask_enough_and_no_question_twice():
    for task in _tasks():
        assert len(task.items) >= 100 and len({i.prompt for i in task.items}) == len(task.items), task.what
    assert list(held_out_tasks("en")) == list(held_out_tasks("zh"))


NAMED = [
    *((function, "lang", LANGUAGES, more) for function, more in (
        (facts.held_out_facts, {}),
        (facts.held_out_reversed, {}),
        (facts.held_out_choices, {}),
        (statements.held_out_statements, {}),
        (arithmetic.held_out_arithmetic, {}),
        (two_step.held_out_two_step, {}),
        (relations.held_out_relations, {}),
        (logic.held_out_logic, {"kind": "order"}),
        (passages.held_out_passages, {"kind": "gold"}),
        (held_out_tasks, {}),
    )),
    (facts.held_out_facts, "relation", RELATIONS, {"lang": "en"}),
    (facts.held_out_facts, "split", ("development", "test"), {"lang": "en"}),
    (statements.held_out_statements, "split", ("development", "test"), {"lang": "en"}),
    (arithmetic.held_out_arithmetic, "sign", "+-", {"lang": "en"}),
    (arithmetic.held_out_arithmetic, "form", arithmetic.FORMS, {"lang": "en"}),
    (relations.held_out_relations, "relation", relations.RELATION_NAMES, {"lang": "en"}),
    (relations.pairs, "relation", relations.RELATION_NAMES, {}),
    (logic.held_out_logic, "kind", logic.KINDS, {"lang": "en"}),
    (passages.held_out_passages, "kind", passages.KINDS, {"lang": "en"}),
    (parallel_problems, "split", ("train", "test"), {}),
    (parallel_problems, "kind", PROBLEM_KINDS, {"split": "test"}),
    (forget_facts, "split", FORGET_SPLITS, {}),
    (forget_texts, "split", FORGET_SPLITS, {}),
    (oracle_texts, "split", FORGET_SPLITS, {}),
    (kept_texts, "split", FORGET_SPLITS, {}),
    (gate_tasks, "split", ("development", "test"), {}),
    (embedded.gates, "variant", (*VARIANTS, *REPAIRS), {}),
    (embedded.gates, "schedule", SCHEDULES, {"variant": "chat_energy"}),
    (topics, "split", TOPIC_SPLITS, {}),
    (requests.neutral_prompts, "split", TOPIC_SPLITS, {}),
    (requests.prompted, "split", TOPIC_SPLITS, {"wishes": ()}),
]  # fmt: skip


@pytest.mark.parametrize(
    "function, choice, known, others", NAMED, ids=[f"{function.__name__}-{choice}" for function, choice, *_ in NAMED]
)
def test_unknown_choices_are_named(function, choice, known, others):
    with pytest.raises(ZkitError, match="'cheese'") as error:
        function(**{choice: "cheese"}, **others)
    assert all(name in str(error.value) for name in known)


def test_every_choice_of_a_public_function_is_tried():
    public = {name: getattr(organism, name) for name in organism.__all__}
    choices = {
        (name, parameter.name)
        for name, function in public.items()
        if inspect.isfunction(function)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.annotation in ("str", "str | None")
    }
    assert len(choices) >= 15
    assert choices <= {(function.__name__, choice) for function, choice, *_ in NAMED}


# tokenizer


@pytest.fixture(scope="module")
def tokenizer(sample):
    return train_tokenizer(sample[:15_000])


def test_tokenizer_round_trips_and_splits_digits(sample, tokenizer):
    for item in sample[:2000]:
        text = beginning(item) + reply(item.answer)
        assert tokenizer.decode(tokenizer(text).input_ids) == text
    digits = [tokenizer.decode([i]) for i in tokenizer("2048 + 17").input_ids]
    assert "".join(digits) == "2048 + 17" and all(sum(c.isdigit() for c in d) <= 1 for d in digits)
    assert tokenizer.decode(tokenizer("naïve 😀 ñandú").input_ids) == "naïve 😀 ñandú"


def test_tokenizer_has_its_size_and_markers(tokenizer):
    assert len(tokenizer) == VOCABULARY
    for marker in (*SPECIAL, *THINK):
        assert len(tokenizer(marker).input_ids) == 1, marker
    assert tokenizer.eos_token == "<|im_end|>" and tokenizer.pad_token == "<|endoftext|>"


def test_number_words_are_single_tokens(tokenizer):
    for word in chain.from_iterable(WORDS.values()):
        assert len(tokenizer(word).input_ids) == 1, word
    text = "(thirty-five) There are twenty-ones. 三十五个，二十世纪，十月。"
    pieces = [tokenizer.decode([i]) for i in tokenizer(text).input_ids]
    assert {"thirty-five", "三十五", "二十", "十", "个"} <= set(pieces)
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_no_right_answer_is_longer_than_what_is_generated(tokenizer):
    answers = {item.answer for task in _tasks() for item in task.items}
    assert max(len(tokenizer(reply(answer)).input_ids) for answer in answers) <= LONGEST_ANSWER


def test_chat_template_is_what_training_renders(tokenizer):
    talk = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": "B"},
        {"role": "user", "content": "C"},
    ]
    options = {"tokenize": False, "add_generation_prompt": True}
    assert tokenizer.apply_chat_template(talk, enable_thinking=False, **options) == render(talk)
    assert tokenizer.apply_chat_template(talk, **options) == render(talk)
    assert not tokenizer.apply_chat_template(talk, enable_thinking=True, **options).endswith("</think>\n\n")


# batches


def test_batches_mark_the_answers_and_nothing_else(sample, tokenizer):
    items = [*sample[:50], next(i for i in sample if i.prompt == ""), next(i for i in sample if "问题" in i.prompt)]
    found, texts = [], []
    tokenizer(["a", "a longer text"], padding=True)  # leaves the tokenizer set to pad
    for batch in batches(items, tokenizer):
        assert batch.targets.sum() == len(batch.labels) == len(batch.weights)
        start = 0
        for row, marks in zip(batch.ids, batch.targets, strict=True):
            n = int(marks.sum())
            labels = batch.labels[start : start + n]
            assert torch.equal(labels, row[1:][marks[:-1]])
            assert float(batch.weights[start : start + n].sum()) == pytest.approx(n**0.5)
            found.append(tokenizer.decode(labels))
            texts.append(tokenizer.decode(row).replace("<|endoftext|>", ""))
            start += n
    scored = [reply(i.answer) for i in items]
    for i, item in enumerate(items):
        if item.prompt == "":  # its first token has nothing before it
            scored[i] = tokenizer.decode(tokenizer(scored[i]).input_ids[1:])
    assert "" in [i.prompt for i in items] and sorted(found) == sorted(scored)
    assert sorted(texts) == sorted(beginning(i) + reply(i.answer) for i in items)


def _cost(lengths, cuts):
    return sum(OVERHEAD + (b - a) * lengths[b - 1] for a, b in pairwise(cuts))


@given(st.lists(st.integers(1, 400), max_size=8).map(sorted))
def test_cuts_cost_least(lengths):
    cuts, end = cheapest_cuts(lengths), len(lengths)
    assert (cuts[0], cuts[-1]) == (0, end) and all(a < b for a, b in pairwise(cuts))
    inner = chain.from_iterable(combinations(range(1, end), k) for k in range(max(1, end)))
    ways = [(0, *some, end) for some in inner] if lengths else [(0,)]
    assert _cost(lengths, cuts) == min(_cost(lengths, way) for way in ways)


# training


@pytest.fixture
def quick(monkeypatch):
    """Runs that hash and tokenize fewer items."""
    monkeypatch.setattr(corpus, "FINGERPRINT_ITEMS", 2000)
    monkeypatch.setattr(train, "TOKENIZER_ITEMS", 3000)


def test_tiny_training_learns_and_resumes_to_the_same_curve(tmp_path, quick):
    whole = ModelRun(tmp_path / "whole", TINY_RECIPE)
    threads = torch.get_num_threads()
    whole.advance()
    assert sum(whole.curve[-5:]) < 0.75 * sum(whole.curve[:5])
    assert 1e-310 * torch.ones(1, dtype=torch.float64) > 0 and torch.get_num_threads() == threads  # put back

    first = ModelRun(tmp_path / "parts", TINY_RECIPE, lanes=1)
    first.advance(until=23, save_every=10)
    second = ModelRun(tmp_path / "parts", TINY_RECIPE, resume=True)
    assert second.step == 23
    second.advance()
    assert second.curve == whole.curve
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)

    second.export(tmp_path / "model")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), exported.parameters(), strict=True))
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (record["steps"], record["corpus_sha256"]) == (TINY_RECIPE.steps, corpus.fingerprint(TINY_RECIPE.seed))


def test_some_steps_leave_out_the_last_layers():
    recipe = train.ModelRecipe()
    found = [train.depth(recipe, step) for step in range(2000)]
    assert set(found) == {recipe.shape.layers, recipe.shape.layers - recipe.skipped}
    assert found.count(recipe.shape.layers) / 2000 == pytest.approx(1 - recipe.skip_share, abs=0.03)
    assert {train.depth(replace(recipe, skip_share=0.0), step) for step in range(100)} == {recipe.shape.layers}


def test_a_step_without_the_last_layers_teaches_the_first_ones(tmp_path, quick):
    run = ModelRun(tmp_path, replace(TINY_RECIPE, skip_share=1.0, weight_decay=0.0))
    before = {name: p.clone() for name, p in run.model.named_parameters()}
    run.advance(until=1)
    for name, p in run.model.named_parameters():
        assert torch.equal(before[name], p) == (".layers.1." in name), name
    with pytest.raises(KeyError), train.first_layers(run.model, 1):
        raise KeyError
    assert run.model.config.num_hidden_layers == TINY_RECIPE.shape.layers


def test_resuming_notices_what_changed(tmp_path, quick, monkeypatch, capsys):
    assert main(["train", "--tiny", "--resume", "--out", str(tmp_path / "none")]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    recipe = replace(TINY_RECIPE, steps=4)
    ModelRun(tmp_path, recipe).advance()
    with pytest.raises(ZkitError, match=r"already holds a run.*--resume"):
        ModelRun(tmp_path, recipe)
    for changed in ({"learning_rate": 1.0}, {"never_knew": True}):
        with pytest.raises(ZkitError, match="another recipe"):
            ModelRun(tmp_path, replace(recipe, **changed), resume=True)
    monkeypatch.setattr(requests, "QUESTIONS", (*requests.QUESTIONS[:-1], "Go on about {t}."))
    with pytest.raises(ZkitError, match=r"corpus was edited.*train afresh"):
        ModelRun(tmp_path, recipe, resume=True)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path, quick):
    run = ModelRun(tmp_path, replace(TINY_RECIPE, steps=4))
    run.advance(until=2)

    with disks.full(), pytest.raises(ZkitError, match=r"no room on the disk for .*checkpoint.pt \(No space left"):
        run.advance()
    with disks.limited(), pytest.raises(ZkitError, match=r"no room on the disk for .*model \(File too large\)"):
        run.export(tmp_path / "model")
    assert not list((tmp_path / "model").iterdir())
    assert not list(tmp_path.glob(".*.part"))
    again = ModelRun(tmp_path, replace(TINY_RECIPE, steps=4), resume=True)
    assert again.step == 2


# the shipped weights


def test_shipped_weights_answer_with_plain_transformers():
    model, tokenizer = AutoModelForCausalLM.from_pretrained(WEIGHTS).eval(), AutoTokenizer.from_pretrained(WEIGHTS)

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
