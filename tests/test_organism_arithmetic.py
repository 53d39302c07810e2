"""The arithmetic of the embedded model's corpus: right answers, no held-out numbers in training, parallel problems."""

from __future__ import annotations

import random
import re

import pytest

from zkbook.organism import arithmetic, two_step
from zkbook.organism.number_words import WORD_WISHES, WORDS
from zkbook.organism.problems import PROBLEM_KINDS, parallel_problems

LANGUAGES = ("en", "zh")
FORMULAS = {"sum": "{0} + {1}", "difference": "{0} - {1}", "product": "{0} * {1}", "two-step": "({0} + {1}) * {2}"}


@pytest.fixture(scope="module")
def one_step():
    return [arithmetic.sample_arithmetic(random.Random(f"one {i}")) for i in range(20_000)]


@pytest.fixture(scope="module")
def several_steps():
    return [two_step.sample_two_step(random.Random(f"two {i}")) for i in range(20_000)]


def _kept():
    for lang in LANGUAGES:
        for words in (False, True):
            yield two_step.held_out_two_step(lang, words)
            for sign in ("+", "-"):
                for form in (None, *arithmetic.FORMS):
                    yield arithmetic.held_out_arithmetic(lang, sign, words, form)


def _family(item):
    """The pair of numbers an item adds or takes apart, whatever the order; with the factor if there is one."""
    first, second, *factor = item.info["operands"]
    pair = (second, first - second) if item.info["kind"] == "difference" else (first, second)
    return (*sorted(pair), *factor)


def _check(item):
    operands, info = item.info["operands"], item.info
    assert sorted(re.findall(r"\d+", item.prompt)) == sorted(map(str, operands)), item
    result = eval(FORMULAS[info["kind"]].format(*operands))
    assert result == info["result"] and 0 <= result <= 270
    assert item.answer == (WORDS[info["lang"]][result] if info["words"] else str(result)), item
    assert any(map(item.prompt.endswith, WORD_WISHES[info["asked_in"], info["lang"]])) == info["words"]
    assert "{" not in item.prompt


def test_answers_are_right(one_step, several_steps):
    for items in (one_step, several_steps, *_kept()):
        for item in items:
            _check(item)


def test_no_held_out_numbers_are_trained(one_step, several_steps):
    sums = {_family(i) for i in one_step} | {_family(i)[:2] for i in several_steps if i.info["kind"] == "two-step"}
    steps = {_family(i) for i in several_steps if i.info["kind"] == "two-step"}
    assert len(sums) > 1000 and len(steps) > 400
    for items in _kept():
        found = [_family(i) for i in items]
        assert len(set(found)) == len(found) >= 100
        assert (steps if items[0].task == "two-step" else sums).isdisjoint(found)


def test_every_product_of_the_table_is_trained(several_steps):
    products = {i.info["operands"] for i in several_steps if i.info["kind"] == "product"}
    assert products == {(s, c) for s in range(two_step.LARGEST_SUM + 1) for c in two_step.FACTORS}


def test_held_out_items_are_reproducible_and_many():
    assert arithmetic.held_out_arithmetic("en") == arithmetic.held_out_arithmetic("en")
    for sign in ("+", "-"):
        assert len(arithmetic.held_out_arithmetic("zh", sign)) >= 200
        assert len(arithmetic.held_out_arithmetic("zh", sign, words=True)) >= 150
        for form in arithmetic.FORMS:
            assert {i.info["form"] for i in arithmetic.held_out_arithmetic("en", sign, form=form)} == {form}
    assert len(two_step.held_out_two_step("en")) >= 200


def test_the_same_question_has_one_answer(one_step, several_steps):
    answers = {}
    for item in (*one_step, *several_steps):
        assert answers.setdefault(item.prompt, item.answer) == item.answer


def _skeleton(item, tables):
    """Which row of the tables a prompt was worded from."""
    column = LANGUAGES.index(item.info["asked_in"])
    for number, row in enumerate(tables):
        pattern = re.sub(r"\\\{\w\\\}", ".+", re.escape(row[column]))
        if re.match(pattern, item.prompt):
            yield number


@pytest.mark.parametrize("words", [True, False])
def test_parallel_problems_ask_the_same(words):
    tables = [*arithmetic.ROWS.values(), two_step.SUM_FIRST, two_step.SUM_FIRST_PROBLEMS]
    rows = [row for table in tables for row in table]
    for split in ("train", "test"):
        for p in parallel_problems(split, words=words):
            for item, lang in ((p.en, "en"), (p.zh, "zh")):
                _check(item)
                assert item.info["lang"] == item.info["asked_in"] == lang and item.info["words"] == words
                assert item.info["operands"] == p.operands and item.info["result"] == p.result
                assert item.info["kind"] == p.kind and item.info.get("intermediate") == p.intermediate
            assert set(_skeleton(p.en, rows)) & set(_skeleton(p.zh, rows)), p
            if p.kind == "two-step":
                assert [int(n) for n in re.findall(r"\d+", p.en.prompt)] == list(p.operands)
                assert [int(n) for n in re.findall(r"\d+", p.zh.prompt)] == list(p.operands)


def test_parallel_problems_keep_the_split():
    train, test = parallel_problems("train"), parallel_problems("test")
    assert train == parallel_problems("train")
    assert len(test) >= 200 and len(train) >= 200
    assert len(parallel_problems("test", "two-step")) >= 60
    assert [p for kind in PROBLEM_KINDS for p in parallel_problems("test", kind)] == test
    for p in train:
        held = two_step.is_held_out_steps if p.kind == "two-step" else arithmetic.is_held_out_family
        assert not held(*_family(p.en))
    for p in test:
        held = two_step.is_held_out_steps if p.kind == "two-step" else arithmetic.is_held_out_family
        assert held(*_family(p.en))
