"""Relations between words and logic: every answer follows from its text, and the splits hold."""

from __future__ import annotations

import random
import re
from itertools import chain, pairwise

import pytest

from zkbook.organism import logic, relations
from zkbook.organism.vocabulary import CATEGORIES, PEOPLE, _word

SAMPLE = 30_000
LANGS = ("en", "zh")


@pytest.fixture(scope="module")
def logic_items():
    return [logic.sample_logic(random.Random(i)) for i in range(SAMPLE)]


@pytest.fixture(scope="module")
def relation_items():
    return [relations.sample_relation(random.Random(i)) for i in range(SAMPLE)]


def _held_out_logic(lang):
    return [item for kind in logic.KINDS for item in logic.held_out_logic(lang, kind)]


MORE = {"en": r"larger|bigger", "zh": r"更大|比较大"}


def _compare(lang, text):
    a, b = map(int, re.findall(r"\d+", text))
    if lang == "en":
        asks_more = bool(re.search(MORE["en"], text))
        assert asks_more != ("smaller" in text)
    else:
        asks_more = "大" in text
        assert asks_more != ("小" in text)
    return str(max(a, b) if asks_more else min(a, b))


NAME = {lang: "|".join(sorted(PEOPLE[lang], key=len, reverse=True)) for lang in LANGS}
WORDS = {lang: [word for pair in logic.COMPARATIVES[lang] for word in pair] for lang in LANGS}


def _ranks(lang, text):
    """The order told by the premises (from most to least), and the question after them."""
    pattern = rf"({NAME['en']}) is (\w+) than ({NAME['en']})\. " if lang == "en" else rf"({NAME['zh']})比({NAME['zh']})"
    above = []
    if lang == "zh":
        pattern += rf"({'|'.join(WORDS['zh'])})。"
    rest = text
    while found := re.match(pattern, rest):
        x, word, y = found.groups() if lang == "en" else (found[1], found[3], found[2])
        above.append((x, y) if WORDS[lang].index(word) % 2 == 0 else (y, x))
        rest = rest[found.end() :]
    people = list(dict.fromkeys(chain.from_iterable(above)))
    first = (set(people) - {b for _, b in above}).pop()
    order = [first]
    while len(order) < len(people):
        order.append(dict(above)[order[-1]])
    assert len(above) == len(people) - 1
    return order, rest


def _order(lang, text):
    order, rest = _ranks(lang, text)
    asked = re.findall(NAME[lang], rest)
    stems = [w[:-1] for w in WORDS["en"]] if lang == "en" else WORDS["zh"]
    down = next(i for i, stem in enumerate(stems) if stem in re.sub(NAME[lang], "", rest)) % 2
    if not asked:
        return order[-down]
    return min(asked, key=order.index) if not down else max(asked, key=order.index)


def _listed(lang, text):
    words = {w.text(lang): (w, name) for name, members in CATEGORIES.items() for w in members}
    pattern = "|".join(sorted(words, key=len, reverse=True))
    found = re.findall(rf"\b(?:{pattern})\b" if lang == "en" else pattern, text.lower())
    return [words[w] for w in found]


def _odd(lang, text):
    found = _listed(lang, text)
    assert len(set(found)) == 4
    names = [name for _, name in found]
    return next(w.text(lang) for w, name in found if names.count(name) == 1)


SOLVERS = {"compare": _compare, "order": _order, "odd one out": _odd}


def _key(item):
    """What an item is about, read from its text, without a language."""
    lang, text = item.info["lang"], item.prompt
    if item.info["kind"] == "compare":
        return frozenset(map(int, re.findall(r"\d+", text)))
    if item.info["kind"] == "order":
        return tuple(PEOPLE[lang].index(name) for name in _ranks(lang, text)[0])
    return frozenset(w.en for w, _ in _listed(lang, text))


def test_logic_answers_follow_from_the_text(logic_items):
    for item in chain(logic_items, _held_out_logic("en"), _held_out_logic("zh")):
        lang = item.info["lang"]
        assert SOLVERS[item.info["kind"]](lang, item.prompt) == item.answer, item


def test_logic_kinds_and_answers_are_mixed(logic_items):
    for kind, share in logic.SHARES.items():
        answers = [i.answer for i in logic_items if i.info["kind"] == kind]
        assert len(answers) / SAMPLE == pytest.approx(share, abs=0.02)
        assert len(set(answers)) >= 20
    larger = [
        int(i.answer) == max(map(int, re.findall(r"\d+", i.prompt))) for i in logic_items if i.info["kind"] == "compare"
    ]
    assert sum(larger) / len(larger) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("lang", LANGS)
@pytest.mark.parametrize("kind", logic.KINDS)
def test_held_out_logic_is_not_trained(logic_items, lang, kind):
    kept = logic.held_out_logic(lang, kind)
    assert kept == logic.held_out_logic(lang, kind)
    assert len(kept) == len({i.prompt for i in kept}) == 200
    assert {i.info["lang"] for i in kept} == {lang}
    trained = {_key(i) for i in logic_items if i.info["kind"] == kind}
    kept_keys = {_key(i) for i in kept}
    if kind == "order":  # an order of four tells the orders of its threes
        assert all(len(three) == 3 for three in kept_keys)
        for order in trained:
            assert not any(three in kept_keys for three in logic.combinations(order, 3))
        assert {i.answer for i in kept} >= set(PEOPLE[lang])
    assert trained.isdisjoint(kept_keys)
    assert {i.prompt for i in logic_items}.isdisjoint(i.prompt for i in kept)


def test_held_out_shares_are_as_said():
    numbers = [logic.is_held_out_pair(a, b) for a in range(100) for b in range(a)]
    orders = [logic.is_held_out_order(three) for three in logic.permutations(range(10), 3)]
    assert sum(numbers) / len(numbers) == pytest.approx(0.15, abs=0.02)
    assert sum(orders) / len(orders) == pytest.approx(0.18, abs=0.02)
    assert logic.is_held_out_pair(3, 8) == logic.is_held_out_pair(8, 3)


@pytest.mark.parametrize("table", [logic.CHOICES, logic.EXTREMES, logic.WHO, logic.ODD])
def test_logic_wordings_are_as_many_in_both_languages(table):
    assert len(set(table["en"])) == len(table["en"]) == len(set(table["zh"])) == len(table["zh"])


def test_relation_tables_have_one_answer_per_word():
    for relation in relations.RELATION_NAMES:
        pairs = relations.pairs(relation)
        assert len(pairs) >= 30
        for lang in LANGS:
            words = [p.word.text(lang) for p in pairs]
            assert len(set(words)) == len(words)
            assert all(re.fullmatch(r"[a-z]+" if lang == "en" else r"[\u4e00-\u9fff]+", w) for w in words)
        translations = {(p.answer.en, p.answer.zh) for p in pairs}
        assert len({en for en, _ in translations}) == len({zh for _, zh in translations}) == len(translations)
    both = {(p.word, p.answer) for p in relations.pairs("antonym")}
    assert both == {(b, a) for a, b in both}
    assert all(w != name and len(members) == 8 for name, members in CATEGORIES.items() for w in members)


def test_every_word_has_one_translation_and_every_person_two_names():
    words = {w for r in relations.RELATION_NAMES for p in relations.pairs(r) for w in (p.word, p.answer)}
    for one, other in pairwise(sorted(words, key=lambda w: (w.en, w.zh))):
        assert one.en != other.en, (one, other)
    assert _word("robin|知更鸟") in words
    assert len(set(PEOPLE["en"])) == len(set(PEOPLE["zh"])) == len(PEOPLE["en"]) == len(PEOPLE["zh"])


def test_relation_answers_are_the_pairs(relation_items):
    asked = set()
    for item in relation_items:
        pair = next(p for p in relations.pairs(item.info["kind"]) if p.word.en == item.info["word"])
        assert item.answer == pair.answer.text(item.info["lang"])
        spoken = "zh" if re.search(r"[\u4e00-\u9fff]", item.prompt) else "en"
        assert pair.word.text(spoken) in item.prompt.lower()
        wished = "Chinese" in item.prompt or "英语" in item.prompt
        assert wished == (spoken != item.info["lang"])
        asked.add((item.info["kind"], pair, item.info["lang"]))
    assert len(asked) == 2 * sum(len(relations.pairs(r)) for r in relations.RELATION_NAMES)


@pytest.mark.parametrize("lang", LANGS)
def test_held_out_wordings_of_relations_are_not_trained(lang):
    kept = relations.held_out_relations(lang)
    assert kept == relations.held_out_relations(lang)
    for relation in relations.RELATION_NAMES:
        part = relations.held_out_relations(lang, relation)
        assert len(part) >= 200 and {i.info["kind"] for i in part} == {relation}
        assert len(set(relations.FRAMES[lang, relation])) >= 12
    trained = {
        relations._fill(frame, pair.word.text(lang)).lower()
        for relation in relations.RELATION_NAMES
        for frame in relations.FRAMES[lang, relation]
        for pair in relations.pairs(relation)
    }
    everything = "\n".join(sorted(trained))
    for item in kept:
        prompt = item.prompt.lower()
        assert prompt not in everything, prompt
        assert not [t for t in trained if t in prompt], prompt


@pytest.mark.parametrize("lang", LANGS)
def test_relations_use_one_answer_per_prompt(lang, relation_items, logic_items):
    answers: dict[str, str] = {}
    for item in chain(relation_items, logic_items, relations.held_out_relations(lang), _held_out_logic(lang)):
        assert answers.setdefault(item.prompt, item.answer) == item.answer


def test_held_out_wordings_use_characters_and_words_of_training():
    for lang in LANGS:
        find = (lambda t: re.findall(r"[a-z]+", t)) if lang == "en" else list
        trained = " ".join(f for r in relations.RELATION_NAMES for f in relations.FRAMES[lang, r])
        kept = " ".join(f for r in relations.RELATION_NAMES for f in relations.HELD_OUT_FRAMES[lang, r])
        assert set(find(kept.lower())) <= set(find(trained.lower()))
