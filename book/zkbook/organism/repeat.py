"""Saying something again: invented words are copied from the request into the answer.

Reading a passage needs the same skill; alone, it is learned much sooner.
"""

from __future__ import annotations

import random

from zkbook.organism.countries import RELATIONS
from zkbook.organism.items import LANGUAGES, Item
from zkbook.organism.passages import invent

FRAMES = {
    "en": (
        "Repeat: {x}",
        "Repeat after me: {x}",
        "Say this again: {x}",
        "Copy these words: {x}",
        "Please repeat {x}.",
        "Write {x} once more.",
        "Say {x}.",
        "Here are some words: {x}. Repeat them.",
    ),
    "zh": (
        "重复：{x}",
        "跟我说：{x}",
        "再说一次：{x}",
        "抄写：{x}",
        "请重复{x}。",
        "再写一次{x}。",
        "请说{x}。",
        "这里有几个词：{x}。请重复。",
    ),
}
JOINT = {"en": ", ", "zh": "、"}
MOST_WORDS = 4


def sample_repeat(rng: random.Random) -> Item:
    """A training item: one to four invented names, to be repeated as they are."""
    lang = rng.choice(LANGUAGES)
    names = [invent(rng, rng.choice(("country", *RELATIONS)), lang) for _ in range(rng.randint(1, MOST_WORDS))]
    text = JOINT[lang].join(names)
    return Item(rng.choice(FRAMES[lang]).format(x=text), text, "repeat", {"lang": lang, "kind": "repeat"})
