"""What gates learn from and are scored on: the right facts, and nothing scored that is trained or chosen on."""

from random import Random

import pytest

from zkbook.organism.countries import COUNTRIES
from zkbook.organism.forget import FORGET_RELATIONS, SPLITS, forget_facts, kept_facts, split_of
from zkbook.organism.items import LANGUAGES
from zkbook.organism.unlearning import (
    WORDINGS,
    fact_texts,
    forget_texts,
    gate_tasks,
    kept_texts,
    oracle_texts,
    retain_texts,
)

REASONING = ("sums", "word problems", "two-step", "compare", "order", "odd one out")
both_formats = pytest.mark.parametrize("chat", [True, False])


def tasks(split, chat=True):
    return {task.name: task for task in gate_tasks(split, chat)}


def about(task):
    return {q.about for q in task.questions}


def named(facts):
    return {f"{country.name('en')} {relation}" for country, relation in facts}


def marked(text):
    return [text.text[a:b] for a, b in text.entities]


@both_formats
@pytest.mark.parametrize("split", SPLITS)
def test_forget_texts_mark_the_values_of_their_facts(split, chat):
    facts = forget_facts(split)
    texts = forget_texts(split, chat)
    assert len(texts) == len(facts) * len(LANGUAGES) * WORDINGS
    each = iter(texts)
    for country, relation in facts:
        for lang in LANGUAGES:
            value = country.value(relation, lang)
            for _ in range(WORDINGS):
                text = next(each)
                assert {x.removeprefix("the ").casefold() for x in marked(text)} == {
                    value.removeprefix("the ").casefold()
                }
                assert country.name(lang).casefold() in f"{text.prompt} {text.text}".casefold()
                assert text.prompt or not chat
    alone = sum(marked(text) == [text.text.strip(" .。")] for text in texts)
    assert 0.3 < alone / len(texts) < 0.7


def test_facts_can_be_chosen():
    facts = forget_facts("train")
    assert forget_texts("train") == fact_texts(facts, Random("forget texts 0"))
    some = fact_texts(facts[:3], Random(0), wordings=2)
    assert len(some) == 3 * 2 * len(LANGUAGES) and {m for t in some[:4] for m in marked(t)} >= {
        facts[0][0].value(facts[0][1], "en")
    }


@both_formats
@pytest.mark.parametrize("split", SPLITS)
def test_kept_texts_tell_no_fact_to_forget(split, chat):
    wanted = [fact for fact in kept_facts() if split_of(fact[0]) == split]
    texts = kept_texts(split, chat, wordings=1)
    assert len(texts) == len(wanted) * len(LANGUAGES)
    assert not named(wanted) & named(forget_facts(split))
    for text, (country, relation) in zip(texts[::2], wanted, strict=True):
        assert marked(text)[0].casefold().endswith(country.value(relation, "en").casefold().split(" ")[-1])


@both_formats
def test_passages_are_about_the_facts_and_reasoning_is_about_none(chat):
    values = {c.value(r, lang) for c in COUNTRIES for r in FORGET_RELATIONS for lang in LANGUAGES}
    names = {c.name(lang) for c in COUNTRIES for lang in LANGUAGES}
    assert all(any(v in t.text for v in values) and any(n in t.prompt for n in names) for t in oracle_texts(chat=chat))
    assert not any(t.text.strip(" .。") in values for t in retain_texts(300, chat))


def test_tasks_ask_for_what_they_say():
    for split in ("development", "test"):
        found = tasks(split)
        train, held = named(forget_facts("train")), named(forget_facts(split))
        kept = named((c, r) for c, r in kept_facts() if split_of(c) == split)
        assert about(found["trained"]) == train and about(found["forget"]) == held == about(found["plain"])
        assert about(found["oracle"]) == about(found["conflict"]) == held
        assert about(found["other country"]) == {x for x in kept if x.endswith(FORGET_RELATIONS)}
        assert about(found["same country"]) and not about(found["same country"]) & (train | held)
        assert all(q.memory for q in found["conflict"].questions) and not any(
            q.memory for q in found["oracle"].questions
        )
        assert not found["plain"].chat
    assert about(tasks("test")["choice"]) == train and about(tasks("test")["reversed"]) <= train
    assert not {"choice", "reversed"} & set(tasks("development"))


@both_formats
def test_nothing_scored_is_chosen_or_trained_on(chat):
    development, test = tasks("development", chat), tasks("test", chat)
    for name in development:
        assert not {q.prompt for q in development[name].questions} & {q.prompt for q in test[name].questions}, name
    for name in REASONING:
        assert not about(development[name]) & about(test[name]) and len(about(test[name])) >= 80, name
    texts = [*forget_texts(chat=chat), *retain_texts(chat=chat), *oracle_texts(chat=chat), *kept_texts(chat=chat)]
    seen = {t.prompt for t in texts} - {""}
    for task in (*development.values(), *test.values()):
        assert not {q.prompt for q in task.questions} & seen, task.name


def test_both_languages_of_a_question_are_about_one_thing():
    for name in REASONING:
        questions = tasks("test")[name].questions
        assert len(about(tasks("test")[name])) < len(questions)
