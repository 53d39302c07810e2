"""Is it there, is it the same, is it there twice: small questions about words in view.

To judge a statement or to order people, a model must notice that a word has been said before. Alone, that is learned
much sooner than inside a harder question; the repeated names of `repeat` serve reading in the same way.
"""

from __future__ import annotations

import random

from zkit.organism.countries import COUNTRIES, RELATIONS
from zkit.organism.fact_wordings import NAMES, NO, VERIFICATION, YES
from zkit.organism.facts import fill, in_sentence
from zkit.organism.items import LANGUAGES, Item
from zkit.organism.passages import invent
from zkit.organism.statements import STATEMENTS
from zkit.organism.vocabulary import CATEGORIES, PEOPLE

KINDS = ("said", "same", "member", "twice", "once")
SHARES = (0.4, 0.12, 0.16, 0.16, 0.16)
MOST_WORDS = 5
SAME = {
    "en": ("Is {a} the same as {b}?", "Are {a} and {b} the same word?", "{a}, {b}: is that the same?"),
    "zh": ("{a}和{b}一样吗？", "{a}和{b}是同一个词吗？", "{a}、{b}，一样吗？"),
}
MEMBER = {
    "en": ("{l}. Is {a} one of them?", "Is {a} in this list: {l}?", "Here are some words: {l}. Is {a} there?"),
    "zh": ("{l}。里面有{a}吗？", "{a}在不在这里面：{l}？", "这里有几个词：{l}。有{a}吗？"),
}
TWICE = {
    "en": ("Which word is there twice: {l}?", "{l}. What is said twice?", "Name the one that comes twice: {l}."),
    "zh": ("哪个词出现了两次：{l}？", "{l}。什么说了两次？", "说出出现两次的词：{l}。"),
}
ONCE = {
    "en": ("Which word is there only once: {l}?", "{l}. What is said only once?", "Name the one that comes once: {l}."),
    "zh": ("哪个词只出现了一次：{l}？", "{l}。什么只说了一次？", "说出只出现一次的词：{l}。"),
}
JOINT = {"en": ", ", "zh": "、"}


def _words(rng: random.Random, lang: str, n: int) -> list[str]:
    """Different words of one sort: people, things, values of a relation, or numbers."""
    sort = rng.choice(("people", "things", "values", "numbers"))
    if sort == "people":
        found = rng.sample(PEOPLE[lang], n)
    elif sort == "things":
        found = [w.text(lang) for w in rng.sample([m for members in CATEGORIES.values() for m in members], n)]
    elif sort == "values":
        relation = rng.choice(RELATIONS)
        found = rng.sample(sorted({c.value(relation, lang) for c in COUNTRIES}), n)
    else:
        found = [f" {x} " if lang == "zh" else str(x) for x in rng.sample(range(100), n)]
    return found


def _item(lang: str, kind: str, prompt: str, answer: str) -> Item:
    return Item(prompt[0].upper() + prompt[1:], answer, "check", {"lang": lang, "kind": kind})


def _said(rng: random.Random, lang: str) -> Item:
    """A sentence about an invented country, and whether it said so: another value, or another country, is a no."""
    relation = rng.choice(RELATIONS)
    name = rng.choice(NAMES[lang, relation])
    country, other = invent(rng, "country", lang), invent(rng, "country", lang)
    value, wrong = (c.value(relation, lang) for c in rng.sample(COUNTRIES, 2))
    true = rng.random() < 0.5 or value == wrong
    mistaken = (country, wrong) if rng.random() < 0.8 else (other, value)
    asked = (country, value) if true else mistaken
    told = fill(rng.choice(STATEMENTS[lang]), name, country, in_sentence(value, relation, lang))
    question = fill(rng.choice(VERIFICATION[lang]), name, asked[0], in_sentence(asked[1], relation, lang))
    return _item(lang, "said", told + (" " if lang == "en" else "") + question, (YES if true else NO)[lang])


def sample_check(rng: random.Random) -> Item:
    """A training item: a question about words that all stand in it."""
    lang, kind = rng.choice(LANGUAGES), rng.choices(KINDS, SHARES)[0]
    if kind == "said":
        return _said(rng, lang)
    true = rng.random() < 0.5
    if kind == "same":
        a, b = _words(rng, lang, 2)
        prompt = rng.choice(SAME[lang]).format(a=a, b=a if true else b)
        return _item(lang, kind, prompt, (YES if true else NO)[lang])
    some = _words(rng, lang, rng.randint(3, MOST_WORDS))
    if kind == "member":
        asked = rng.choice(some[1:]) if true else some[0]
        listed = JOINT[lang].join(some[1:])
        return _item(lang, kind, rng.choice(MEMBER[lang]).format(a=asked, l=listed), (YES if true else NO)[lang])
    if kind == "twice":
        said, wordings = [*some, some[0]], TWICE[lang]
    else:
        said, wordings = [*some[:1], *some[1:3], *some[1:3]], ONCE[lang]
    rng.shuffle(said)
    return _item(lang, kind, rng.choice(wordings).format(l=JOINT[lang].join(said)), some[0].strip())
