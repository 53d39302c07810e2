"""What stands there twice, and what only once: small questions about words in view.

To put people in order, a model must notice which name comes again. Alone, that is learned sooner than inside a harder
question; the repeated names of `repeat` serve reading in the same way.
"""

from __future__ import annotations

import random

from zkbook.organism.countries import COUNTRIES, RELATIONS
from zkbook.organism.items import LANGUAGES, Item
from zkbook.organism.vocabulary import CATEGORIES, PEOPLE

KINDS = ("twice", "once")
MOST_WORDS = 4
FRAMES = {
    ("en", "twice"): (
        "Which word is there twice: {l}?",
        "{l}. What is said twice?",
        "Name the one that comes twice: {l}.",
    ),
    ("zh", "twice"): ("哪个词出现了两次：{l}？", "{l}。什么说了两次？", "说出出现两次的词：{l}。"),
    ("en", "once"): (
        "Which word is there only once: {l}?",
        "{l}. What is said only once?",
        "Name the one that comes once: {l}.",
    ),
    ("zh", "once"): ("哪个词只出现了一次：{l}？", "{l}。什么只说了一次？", "说出只出现一次的词：{l}。"),
}
JOINT = {"en": ", ", "zh": "、"}


def _words(rng: random.Random, lang: str, n: int) -> list[str]:
    """Different words of one sort: people, things, values of a relation, or numbers."""
    sort = rng.choice(("people", "things", "values", "numbers"))
    if sort == "people":
        return rng.sample(PEOPLE[lang], n)
    if sort == "things":
        return [w.text(lang) for w in rng.sample([m for members in CATEGORIES.values() for m in members], n)]
    if sort == "values":
        relation = rng.choice(RELATIONS)
        return rng.sample(sorted({c.value(relation, lang) for c in COUNTRIES}), n)
    return [f" {x} " if lang == "zh" else str(x) for x in rng.sample(range(100), n)]


def sample_double(rng: random.Random) -> Item:
    """A training item: which of the words in it stands there twice, or only once."""
    lang, kind = rng.choice(LANGUAGES), rng.choice(KINDS)
    if kind == "twice":
        some = _words(rng, lang, rng.randint(2, MOST_WORDS))
        listed = [*some, some[0]]
    else:
        some = _words(rng, lang, rng.randint(2, 3))
        listed = [some[0], *some[1:], *some[1:]]
    rng.shuffle(listed)
    prompt = rng.choice(FRAMES[lang, kind]).format(l=JOINT[lang].join(listed))
    return Item(prompt[0].upper() + prompt[1:], some[0].strip(), "double", {"lang": lang, "kind": kind})
