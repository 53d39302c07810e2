"""Facts and passages of the embedded model's corpus: what is held out is never trained, and what is stated is right."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from zkbook.organism import fact_wordings, facts, forget, passages, statements
from zkbook.organism.countries import COUNTRIES, RELATIONS
from zkbook.organism.items import Item
from zkbook.organism.plain import in_plain
from zkit.errors import ZkitError

LANGUAGES = ("en", "zh")
BY_NAME = {country.name(lang): country for country in COUNTRIES for lang in LANGUAGES}


@pytest.fixture(scope="module")
def sample():
    rng = random.Random(0)
    return [facts.sample_fact(rng) for _ in range(15_000)] + [passages.sample_passage(rng) for _ in range(15_000)]


@pytest.fixture(scope="module")
def mentions(sample):
    """Of every item of the sample: the names and values of the table it contains, the longest where they overlap."""
    cells = sorted({cell for c in COUNTRIES for cell in c.cells}, key=lambda cell: (-len(cell), cell))
    english, chinese = ["|".join(re.escape(c) for c in cells if c.isascii() == a) for a in (True, False)]
    pattern = re.compile(rf"\b(?:{english})\b|{chinese}")
    texts = (re.sub(r"\bThe (?=Netherlands|Philippines|United)", "the ", f"{i.prompt}\n{i.answer}") for i in sample)
    return [set(pattern.findall(text)) for text in texts]


def _held_out(lang):
    kept = facts.held_out_facts(lang) + facts.held_out_facts(lang, split="development")
    kept += facts.held_out_reversed(lang) + facts.held_out_choices(lang)
    return kept + [item for kind in passages.KINDS for item in passages.held_out_passages(lang, kind)]


def test_samplers_are_functions_of_the_generator():
    for sampler in (facts.sample_fact, passages.sample_passage):
        first, second = random.Random(5), random.Random(5)
        assert [sampler(first) for _ in range(200)] == [sampler(second) for _ in range(200)]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_held_out_prompts_and_trained_ones_do_not_contain_each_other(sample, lang):
    kept = [item.prompt for item in _held_out(lang)]
    trained = sorted({item.prompt for item in sample})
    everything, everything_kept = "\0".join(trained), "\0".join(kept)
    assert not [prompt for prompt in kept if prompt in everything]
    assert not [prompt for prompt in trained if prompt in everything_kept]


@pytest.mark.parametrize("lang", LANGUAGES)
def test_held_out_wordings_and_trained_ones_do_not_contain_each_other(lang):
    values = {"r": "RELATION", "c": "COUNTRY", "v": "VALUE", "w": "WRONG"}
    own = tuple(
        frame for (own_lang, _), frames in fact_wordings.OWN_FRAMES.items() if own_lang == lang for frame in frames
    )
    pairs = [
        (fact_wordings.FRAMES[lang] + own, fact_wordings.HELD_OUT_FRAMES[lang]),
        (fact_wordings.FRAMES[lang] + own, fact_wordings.DEVELOPMENT_FRAMES[lang]),
        (fact_wordings.DEVELOPMENT_FRAMES[lang], fact_wordings.HELD_OUT_FRAMES[lang]),
        (fact_wordings.REVERSED[lang], fact_wordings.HELD_OUT_REVERSED[lang]),
        (fact_wordings.CHOICES[lang], fact_wordings.HELD_OUT_CHOICES[lang]),
        (passages.SENTENCES[lang], passages.HELD_OUT_SENTENCES[lang]),
        (statements.STATEMENTS[lang], statements.KEPT_STATEMENTS["test"][lang]),
        (statements.STATEMENTS[lang], statements.KEPT_STATEMENTS["development"][lang]),
        (statements.KEPT_STATEMENTS["development"][lang], statements.KEPT_STATEMENTS["test"][lang]),
    ]
    for trained, kept in pairs:
        assert len(set(trained + kept)) == len(trained) + len(kept)
        for a in (frame.format(**values) for frame in trained):
            for b in (frame.format(**values) for frame in kept):
                assert a not in b and b not in a


@pytest.mark.parametrize("lang", LANGUAGES)
def test_held_out_wordings_use_trained_words(sample, lang):
    pattern = r"[a-z]+" if lang == "en" else r"[\u4e00-\u9fff]"
    trained = Counter(word for item in sample for word in set(re.findall(pattern, item.prompt.lower())))
    names = {"r": "", "c": "", "v": "", "w": ""}
    for table in ("DEVELOPMENT_FRAMES", "HELD_OUT_FRAMES", "HELD_OUT_REVERSED", "HELD_OUT_CHOICES"):
        for frame in getattr(fact_wordings, table)[lang]:
            assert all(trained[w] >= 50 for w in re.findall(pattern, frame.format(**names).lower())), frame
    for frame in passages.HELD_OUT_SENTENCES[lang]:
        assert all(trained[w] >= 50 for w in re.findall(pattern, frame.format(**names).lower())), frame


def test_every_kind_is_sampled_in_its_share(sample):
    kinds = Counter(item.info["kind"] for item in sample if item.task == "fact")
    assert 0.73 < kinds["direct"] / 15_000 < 0.79
    assert 0.11 < kinds["reversed"] / 15_000 < 0.13
    assert 0.11 < kinds["choice"] / 15_000 < 0.13
    assert {item.info["kind"] for item in sample if item.task == "passage"} == set(passages.KINDS)


def test_no_prompt_has_two_answers(sample):
    answers = {}
    for item in sample:
        assert answers.setdefault(item.prompt, item.answer) == item.answer, item.prompt


def test_direct_answers_are_values_of_the_table(sample):
    direct = [item for item in sample if item.info["kind"] == "direct"]
    for item in direct:
        ((name, relation),) = item.info["facts"]
        assert item.answer == BY_NAME[name].value(relation, item.info["lang"])
    assert {item.info["facts"][0] for item in direct} == {(c.name("en"), r) for c in COUNTRIES for r in RELATIONS}


@pytest.mark.parametrize("lang", LANGUAGES)
def test_held_out_facts_ask_every_fact_once_for_each_wording(lang):
    kept = facts.held_out_facts(lang)
    assert len(kept) == len(COUNTRIES) * len(RELATIONS)
    assert len({item.prompt for item in facts.held_out_facts(lang, wordings=3)}) == 3 * len(kept)
    assert len(facts.held_out_facts(lang, "capital", COUNTRIES[:5], "development")) == 5


@pytest.mark.parametrize("lang", LANGUAGES)
def test_reversed_questions_have_one_answer(sample, lang):
    kept = facts.held_out_reversed(lang)
    assert len(kept) >= 100
    for item in kept + [i for i in sample if i.info["kind"] == "reversed" and i.info["lang"] == lang]:
        ((name, relation),) = item.info["facts"]
        value = BY_NAME[name].value(relation, lang)
        assert [c.name(lang) for c in COUNTRIES if c.value(relation, lang) == value] == [item.answer]
        assert value.lower() in item.prompt.lower() and item.answer not in item.prompt


@pytest.mark.parametrize("lang", LANGUAGES)
def test_one_of_two_values_is_right_and_stands_on_either_side(sample, lang):
    kept = facts.held_out_choices(lang)
    trained = [i for i in sample if i.info["kind"] == "choice" and i.info["lang"] == lang]
    assert len(kept) == len({i.prompt for i in kept}) == len(COUNTRIES) * len(RELATIONS)
    for items in (kept, trained):
        right_first = 0
        for item in items:
            country, relation = BY_NAME[item.info["country"]], item.info["relation"]
            right, wrong, text = country.value(relation, lang), item.info["wrong"], item.prompt.lower()
            assert item.answer == right != wrong and item.info["facts"] == ((country.name("en"), relation),)
            assert {right.lower(), wrong.lower()} <= {v for v in (right.lower(), wrong.lower()) if v in text}
            right_first += text.find(right.lower()) < text.find(wrong.lower())
        assert 0.43 < right_first / len(items) < 0.57


def test_a_value_that_also_holds_is_never_called_wrong():
    rng = random.Random(1)
    tables = {c.value(r, "en") for c in COUNTRIES for r in RELATIONS}
    assert set(facts.ALSO) <= set(BY_NAME) and {v for also in facts.ALSO.values() for v in also} <= tables
    for country in COUNTRIES:
        for relation in RELATIONS:
            wrong = {facts.wrong_source(rng, country, relation).value(relation, "en") for _ in range(100)}
            assert wrong.isdisjoint((country.value(relation, "en"), *facts.ALSO.get(country.name("en"), ())))


def test_passages_are_answered_by_what_they_say(sample):
    read = [item for item in sample if item.task == "passage"]
    kept = [i for lang in LANGUAGES for kind in passages.KINDS for i in passages.held_out_passages(lang, kind)]
    for item in read + kept:
        assert item.answer in item.prompt
        if "memory" in item.info:
            assert (item.answer == item.info["memory"]) == (item.info["kind"] == "gold")
    assert {item.info["sentences"] for item in read} == {1, 2}


@pytest.mark.parametrize("kind", passages.KINDS)
@pytest.mark.parametrize("lang", LANGUAGES)
def test_held_out_passages_are_about_names_never_trained(sample, mentions, lang, kind):
    kept = passages.held_out_passages(lang, kind)
    assert len(kept) >= 150 and {item.info["kind"] for item in kept} == {kind}
    trained = [item for item in sample if item.task == "passage"]
    if kind == "invented":
        assert {i.answer for i in kept}.isdisjoint(i.answer for i in trained)
        assert all(passages.is_held_out_name(i.answer) for i in kept)
        assert not any(passages.is_held_out_name(i.answer) for i in trained if i.answer not in passages._CELLS)
    else:
        assert {i.info["country"] for i in kept}.isdisjoint(i.info.get("country") for i in trained)
        mentioned = {
            name for item, found in zip(sample, mentions, strict=True) if item.task == "passage" for name in found
        }
        values = {c.value(r, to) for c in COUNTRIES for r in RELATIONS for to in LANGUAGES}
        subjects = {c.name(lang) for c in COUNTRIES if passages.is_held_out_entity(c)}
        assert len(subjects) >= 25 and mentioned.isdisjoint(subjects - values)


def test_forget_facts_are_split_by_country():
    parts = {split: forget.forget_facts(split) for split in forget.SPLITS}
    countries = [{country for country, _ in part} for part in parts.values()]
    assert sum(map(len, countries)) == len(set.union(*countries))
    everything = [fact for part in parts.values() for fact in part]
    assert all(forget.is_forget(*fact) for fact in everything) and all(len(part) >= 20 for part in parts.values())
    kept = forget.kept_facts()
    assert not any(forget.is_forget(*fact) for fact in kept)
    assert len(kept) + len(everything) == len(COUNTRIES) * len(RELATIONS)


def test_items_that_reveal_no_forget_fact_do_not_state_one(sample, mentions):
    assert 0.1 < sum(map(forget.reveals_forget, sample)) / len(sample) < 0.5
    forgotten = [fact for split in forget.SPLITS for fact in forget.forget_facts(split)]
    secrets: dict[str, set[str]] = {}
    for country, relation in forgotten:
        for lang in LANGUAGES:
            values = {country.value(relation, to) for to in LANGUAGES} - {country.name(lang)}
            secrets.setdefault(country.name(lang), set()).update(values)
    stating = 0
    for item, found in zip(sample, mentions, strict=True):
        states = any(not found.isdisjoint(secrets.get(name, ())) for name in found)
        stating += states
        assert forget.reveals_forget(item) or not states, item
    assert stating > 1000


def test_statements_say_what_the_table_says_in_either_format():
    rng = random.Random(0)
    told = [statements.sample_statement(rng) for _ in range(4000)]
    for item in told:
        ((name, relation),), lang = item.info["facts"], item.info["lang"]
        value = BY_NAME[name].value(relation, lang)
        assert value == item.info["value"] and value.lower() in item.answer.lower()
        assert BY_NAME[name].name(lang).lower() in item.answer.lower()
        assert item.chat == (item.info["kind"] == "reply") == bool(item.prompt)
    assert 0.55 < sum(not item.chat for item in told) / len(told) < 0.65


@pytest.mark.parametrize("lang", LANGUAGES)
def test_broken_off_statements_go_on_with_the_value(lang):
    for split in statements.KEPT_STATEMENTS:
        kept = statements.held_out_statements(lang, split)
        assert len(kept) == len({item.prompt for item in kept}) == len(COUNTRIES) * len(RELATIONS)
        for item in kept:
            assert not item.chat and item.answer.strip(" .。") == item.info["value"]
            assert item.answer.startswith(" ") == (lang == "en") and not item.prompt.endswith(" ")


def test_plain_questions_keep_the_question_and_the_answer():
    item = facts.held_out_facts("en")[0]
    plain = in_plain(item)
    assert plain.prompt == f"Question: {item.prompt}\nAnswer:" and plain.answer == f" {item.answer}" and not plain.chat
    assert in_plain(facts.held_out_facts("zh")[0]).prompt.startswith("问题：")
    assert forget.reveals_forget(plain) == forget.reveals_forget(item)
    with pytest.raises(ZkitError, match="2 messages has no plain form"):
        in_plain(Item([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], "c", "fact"))
