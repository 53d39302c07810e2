"""Reading: a short passage and a question about it, answered by what the passage says, whether or not it is true.

Passages are about real countries, with their own value or that of another country, and about invented ones. A quarter
of the real countries and a tenth of the invented names never occur as subjects of a training passage, and some
wordings of passages are kept; the held-out passages use both, with the test wordings of the questions.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from zkbook.organism.countries import COUNTRIES, RELATIONS, Country
from zkbook.organism.fact_wordings import FRAMES, HELD_OUT_FRAMES, NAMES, OWN_FRAMES
from zkbook.organism.facts import fill, in_sentence, wrong_source
from zkbook.organism.items import LANGUAGES, Item, check_language, held_out
from zkit.errors import ZkitError

KINDS = ("gold", "swapped", "invented")
ENTITY_SHARE, NAME_SHARE = 0.25, 0.1
HELD_OUT_INVENTED = 150

SENTENCES = {
    "en": (
        "The {r} of {c} is {v}.",
        "{v} is the {r} of {c}.",
        "{c} has {v} as its {r}.",
        "In {c}, the {r} is {v}.",
        "For {c}, the {r} is {v}.",
        "People say that the {r} of {c} is {v}.",
        "In this story, the {r} of {c} is {v}.",
        "Note that the {r} of {c} is {v}.",
        "We read that {v} is the {r} of {c}.",
        "My friend lives in {c}. The {r} there is {v}.",
        "From now on, {v} is the {r} of {c}.",
        "{c} is a country whose {r} is {v}.",
        "People in {c} call {v} their {r}.",
        "Today the {r} of {c} is {v}.",
        "This is a text about {c}. Its {r} is {v}.",
    ),
    "zh": (
        "{c}的{r}是{v}。",
        "{v}是{c}的{r}。",
        "在{c}，{r}是{v}。",
        "{c}这个国家的{r}是{v}。",
        "注意，{c}的{r}是{v}。",
        "在这个故事里，{c}的{r}是{v}。",
        "有人说{c}的{r}是{v}。",
        "书上写着{v}是{c}的{r}。",
        "{c}的{r}叫{v}。",
        "从今天起，{v}是{c}的{r}。",
        "我的朋友住在{c}。那里的{r}是{v}。",
        "现在{c}的{r}是{v}。",
        "{c}是一个国家，它的{r}是{v}。",
        "{c}有了新的{r}：{v}。",
        "{c}人都知道，他们的{r}叫{v}。",
    ),
}
OWN_SENTENCES = {
    ("en", "capital"): ("{v} is a city, and it is the capital of {c}.", "The capital city of {c} has the name {v}."),
    ("en", "language"): ("People in {c} speak {v}.", "The language that people speak in {c} is {v}."),
    ("en", "currency"): ("People in {c} pay with {v}.", "The money that people use in {c} is {v}."),
    ("zh", "capital"): ("{v}是一座城市，它是{c}的首都。", "{c}的首都名字叫{v}。"),
    ("zh", "language"): ("{c}人说{v}。", "在{c}，人们说的语言是{v}。"),
    ("zh", "currency"): ("{c}人用{v}。", "在{c}，人们用的货币是{v}。"),
}
HELD_OUT_SENTENCES = {
    "en": (
        "{v} is now the {r} of {c}.",
        "People in {c} say that {v} is their {r}.",
        "{c} is the country that has {v} as its {r}.",
        "The {r} in {c} today is {v}.",
    ),
    "zh": (
        "{v}现在是{c}的{r}。",
        "{c}人说，他们的{r}是{v}。",
        "在{c}这个国家，{r}叫{v}。",
        "有一个国家叫{c}，那里的{r}是{v}。",
    ),
}
# {p} passage, {q} question
LAYOUTS = {
    "en": ("{p} {q}", "{p}\n{q}", "Text: {p}\n{q}", "Text: {p} Question: {q}", "Read this: {p} {q}", "Story: {p}\n{q}"),
    "zh": ("{p}{q}", "{p}\n{q}", "文章：{p}\n{q}", "文章：{p}问题：{q}", "请读：{p}{q}", "故事：{p}\n{q}"),
}
QUESTION_FIRST = {
    "en": ("{q} Text: {p}", "{q}\n{p}", "Question: {q} Text: {p}", "{q} Read this: {p}"),
    "zh": ("{q}文章：{p}", "{q}\n{p}", "问题：{q}文章：{p}", "{q}请读：{p}"),
}
# a layout may say "Question:" itself
_QUESTIONS = {
    lang: tuple(frame for frame in frames if not frame.startswith(("Question", "问题")))
    for lang, frames in FRAMES.items()
}

# parts of invented names
_PARTS = """
onset b br d dr f g gr h j k kl l m n p pr qu r s sk st t tr v w y z
vowel a a e i o o u ai ei ou
coda l m n r s nd rk
country ia land stan ania ova aria onia
capital burg ville ton grad polis a o i
language ish ian ese ic i
currency o a in ar al et
"""
_ENGLISH = {row.split()[0]: row.split()[1:] for row in _PARTS.strip().splitlines()}
_HANZI = (
    "阿安巴贝比伯波布达代德迪杜多厄法菲弗加戈格古哈赫基吉卡科克库"
    "拉莱兰雷利列林鲁卢罗洛马玛曼梅米莫纳内尼诺帕佩萨塞斯索塔特图托瓦维西亚伊扎"
)
_HANZI_LENGTHS = {"country": (2, 4), "capital": (2, 4), "language": (2, 3), "currency": (1, 3)}
_HANZI_ENDS = {"country": ("",), "capital": ("",), "language": ("语",), "currency": ("元", "币", "盾")}
_CELLS = sorted({cell for country in COUNTRIES for cell in country.cells})
_REAL = re.compile("|".join(re.escape(cell) for cell in _CELLS))


@dataclass(frozen=True)
class Statement:
    """One sentence of a passage: a relation of a subject, real (with its country) or invented, and the value given."""

    subject: str
    relation: str
    value: str
    country: Country | None = None


def is_held_out_entity(country: Country) -> bool:
    """Whether no training passage is about this country."""
    return held_out(f"passage {country.name('en')}", ENTITY_SHARE)


_TRAINED = tuple(c for c in COUNTRIES if not is_held_out_entity(c))


def is_held_out_name(name: str) -> bool:
    """Whether this invented name is kept for evaluation."""
    return held_out(f"invented {name}", NAME_SHARE)


def _coin(rng: random.Random, what: str, lang: str) -> str:
    if lang == "zh":
        length = rng.randint(*_HANZI_LENGTHS[what])
        return "".join(rng.choice(_HANZI) for _ in range(length)) + rng.choice(_HANZI_ENDS[what])
    onset, vowel, coda = (_ENGLISH[part] for part in ("onset", "vowel", "coda"))
    stem = "".join(rng.choice(onset) + rng.choice(vowel) for _ in range(rng.randint(1, 2)))
    middle = (rng.choice(coda) if rng.random() < 0.7 else "") + rng.choice(onset)[0]
    word = stem + middle + rng.choice(_ENGLISH[what])
    return word if what == "currency" else word.capitalize()


def invent(rng: random.Random, what: str, lang: str, kept: bool = False) -> str:
    """A new name for a "country" or a value of a relation: of the trained names, or of those kept for evaluation."""
    while True:
        name = _coin(rng, what, lang)
        if is_held_out_name(name) == kept and not _REAL.search(name):
            return name


def _revealed(statements: list[Statement], lang: str) -> tuple[tuple[str, str], ...]:
    """The true facts whose country and value both occur in the passage."""
    found = []
    for country in [s.country for s in statements if s.country is not None]:
        for s in statements:
            if country.value(s.relation, lang) in s.value and (country.name("en"), s.relation) not in found:
                found.append((country.name("en"), s.relation))
    return tuple(found)


def _sentence(frame: str, name: str, s: Statement, lang: str) -> str:
    return fill(frame, name, s.subject, in_sentence(s.value, s.relation, lang))


def _value(rng: random.Random, relation: str, lang: str) -> str:
    if rng.random() < 0.5:
        return rng.choice(COUNTRIES).value(relation, lang)
    return invent(rng, relation, lang)


def _statement(rng: random.Random, relation: str, lang: str) -> Statement:
    """About a trained real country, its value true, another's or invented; or about an invented country."""
    if rng.random() < 0.45:
        return Statement(invent(rng, "country", lang), relation, _value(rng, relation, lang))
    country, form = rng.choice(_TRAINED), rng.random()
    value = country.value(relation, lang)
    if form < 0.5:
        value = rng.choice(COUNTRIES).value(relation, lang)
    elif form < 0.8:
        value = invent(rng, relation, lang)
    return Statement(country.name(lang), relation, value, country)


def _distractor(rng: random.Random, asked: Statement, lang: str) -> Statement:
    """A statement about another subject, or about another relation of the same one."""
    while True:
        if rng.random() < 0.65:
            other = _statement(rng, asked.relation, lang)
            distinct = other.subject not in asked.subject and asked.subject not in other.subject
        else:
            relation = rng.choice([relation for relation in RELATIONS if relation != asked.relation])
            other = Statement(asked.subject, relation, _value(rng, relation, lang), asked.country)
            distinct = True
        if distinct and other.value not in asked.value and asked.value not in other.value:
            return other


def _kind(s: Statement, lang: str) -> str:
    if s.country is None:
        return "invented"
    return "gold" if s.value == s.country.value(s.relation, lang) else "swapped"


def _item(prompt: str, statements: list[Statement], lang: str) -> Item:
    asked = statements[0]
    info: dict[str, object] = {"kind": _kind(asked, lang), "lang": lang, "relation": asked.relation}
    info |= {"sentences": len(statements), "facts": _revealed(statements, lang)}
    if asked.country is not None:
        info |= {"country": asked.country.name("en"), "memory": asked.country.value(asked.relation, lang)}
    return Item(prompt, asked.value, "passage", info)


def sample_passage(rng: random.Random) -> Item:
    """A training item: one or two sentences about countries that are not held out, with a question."""
    lang, relation = rng.choice(LANGUAGES), rng.choice(RELATIONS)
    statements = [_statement(rng, relation, lang)]
    if rng.random() < 0.5:
        statements.append(_distractor(rng, statements[0], lang))
    sentences = []
    for s in statements:
        frame = rng.choice(SENTENCES[lang] + OWN_SENTENCES[lang, s.relation])
        sentences.append(_sentence(frame, rng.choice(NAMES[lang, s.relation]), s, lang))
    rng.shuffle(sentences)
    passage = (" " if lang == "en" else "").join(sentences)
    frame = rng.choice(_QUESTIONS[lang] + OWN_FRAMES[lang, relation])
    question = fill(frame, rng.choice(NAMES[lang, relation]), statements[0].subject)
    layouts = QUESTION_FIRST if rng.random() < 0.2 and question[-1] in "?.？。" else LAYOUTS
    return _item(rng.choice(layouts[lang]).format(p=passage, q=question), statements, lang)


def _held_out_statements(rng: random.Random, lang: str, kind: str) -> list[Statement]:
    if kind == "invented":
        relations = [RELATIONS[i % len(RELATIONS)] for i in range(HELD_OUT_INVENTED)]
        return [Statement(invent(rng, "country", lang, True), r, invent(rng, r, lang, True)) for r in relations]
    found = []
    for country in filter(is_held_out_entity, COUNTRIES):
        for relation in RELATIONS:
            source = country if kind == "gold" else wrong_source(rng, country, relation)
            found.append(Statement(country.name(lang), relation, source.value(relation, lang), country))
    return found


def held_out_passages(lang: str, kind: str) -> list[Item]:
    """Passages about held-out names, in wordings that are never trained, each statement with two of them.

    `kind` "gold" gives a real country its true value, "swapped" another country's (`info["memory"]` is the true one),
    and "invented" is about invented countries and values. Raises ZkitError for an unknown language or kind.
    """
    check_language(lang)
    if kind not in KINDS:
        raise ZkitError(f"unknown kind of passage {kind!r}: one of {', '.join(KINDS)}")
    rng = random.Random(f"held-out passages {kind}")
    return _posed(_held_out_statements(rng, lang, kind), lang, kept=True)


def _posed(statements: list[Statement], lang: str, kept: bool) -> list[Item]:
    """Each statement as a passage with a question, in two wordings: never trained ones if `kept`, else trained."""
    frames = HELD_OUT_SENTENCES[lang] if kept else SENTENCES[lang]
    questions, layouts = HELD_OUT_FRAMES[lang] if kept else _QUESTIONS[lang], LAYOUTS[lang]
    items = []
    for i, s in enumerate(statements):
        name = NAMES[lang, s.relation][0]
        for k in range(2):
            passage = _sentence(frames[(i + 2 * k) % len(frames)], name, s, lang)
            question = fill(questions[(i + i // len(RELATIONS) + k) % len(questions)], name, s.subject)
            items.append(_item(layouts[(i // 2 + k) % len(layouts)].format(p=passage, q=question), [s], lang))
    return items


def passages_about(lang: str, facts: Sequence[tuple[Country, str]], kind: str, kept: bool = True) -> list[Item]:
    """Passages that give each fact ("gold"), or another value in its place ("swapped"), two of each.

    In wordings that are never trained, or with `kept` False in trained ones. Unlike those of `held_out_passages` their
    countries may be subjects of training passages. Raises ZkitError for an unknown language or kind.
    """
    check_language(lang)
    if kind not in ("gold", "swapped"):
        raise ZkitError(f"unknown kind of passage {kind!r} about a fact: one of gold, swapped")
    rng = random.Random(f"passages about {kind}")
    sources = [country if kind == "gold" else wrong_source(rng, country, relation) for country, relation in facts]
    told = [
        Statement(country.name(lang), relation, source.value(relation, lang), country)
        for (country, relation), source in zip(facts, sources, strict=True)
    ]
    return _posed(told, lang, kept)
