"""Logic without arithmetic: comparing two numbers, ordering people from premises, finding the odd word out.

The split is over what is asked about, in both languages and every wording: pairs of numbers, orders of three people,
sets of words.
"""

from __future__ import annotations

import random
from itertools import combinations, pairwise, permutations

from zkbook.organism.items import Item, check_language, held_out
from zkbook.organism.vocabulary import CATEGORIES, PEOPLE, Word
from zkit.errors import ZkitError

KINDS = ("compare", "order", "odd one out")
SHARES = {"compare": 0.2, "order": 0.5, "odd one out": 0.3}
HELD_OUT_SHARES = {"compare": 0.15, "order": 0.2, "odd one out": 0.15}
HELD_OUT_ITEMS = 200
# In training this share of the orders is told from one side and asked from the same: were all sides equally likely,
# no single word would say anything about the answer, and nothing would be learnt for long.
LEAN = 0.5
LARGEST = 99

# {c} larger or smaller, in its words
CHOICES = {
    "en": (
        "Which is {c}, {a} or {b}?",
        "Which number is {c}, {a} or {b}?",
        "Which one is {c}: {a} or {b}?",
        "Name the {c} of {a} and {b}.",
        "Of {a} and {b}, which is {c}?",
        "Pick the {c} number: {a}, {b}.",
        "Here are {a} and {b}. Which is the {c} one?",
    ),
    "zh": (
        "{a} 和 {b} 哪个{c}？",
        "{a} 和 {b} 中，哪个数{c}？",
        "哪个{c}， {a} 还是 {b} ？",
        "说出 {a} 和 {b} 中{c}的数。",
        "请问 {a} 与 {b} 哪一个{c}？",
        "选出{c}的数： {a} ， {b} 。",
        "这里有 {a} 和 {b} 。{c}的是哪个？",
    ),
}
SIZES = {  # what a question calls the larger and the smaller number
    "en": (("larger", "bigger"), ("smaller",)),
    "zh": (("更大", "比较大"), ("更小", "比较小")),
}
# more and less of something
COMPARATIVES = {
    "en": (
        ("taller", "shorter"),
        ("older", "younger"),
        ("faster", "slower"),
        ("heavier", "lighter"),
        ("richer", "poorer"),
        ("stronger", "weaker"),
    ),
    "zh": (("高", "矮"), ("年长", "年轻"), ("快", "慢"), ("重", "轻"), ("富有", "贫穷"), ("强", "弱")),
}
PREMISES = {"en": "{x} is {c} than {y}.", "zh": "{x}比{y}{c}。"}
# {s} the superlative
EXTREMES = {
    "en": ("Who is the {s}?", "Who is the {s} of all?", "Name the {s}.", "Which person is the {s}?", "The {s} is"),
    "zh": ("谁最{s}？", "最{s}的是谁？", "说出最{s}的人。", "哪个人最{s}？", "最{s}的人是"),
}
WHO = {
    "en": ("Who is {c}, {x} or {y}?", "Of {x} and {y}, who is {c}?", "Which of {x} and {y} is {c}?"),
    "zh": ("{x}和{y}谁更{c}？", "谁更{c}，{x}还是{y}？", "{x}和{y}两个人，哪个更{c}？"),
}
ODD = {
    "en": (
        "Which word does not belong: {l}?",
        "Find the odd one out: {l}.",
        "Odd one out: {l}.",
        "Which of these is not like the others: {l}?",
        "One of these words does not fit: {l}. Which one?",
        "Three of these belong together: {l}. Which one does not?",
        "Pick the word that does not fit: {l}.",
        "In the list {l}, which word is different?",
        "Which one is of another kind: {l}?",
        "Here are four words: {l}. Which one does not belong?",
    ),
    "zh": (
        "哪个词不属于这一组：{l}？",
        "找出不同类的词：{l}。",
        "不同类的词：{l}。",
        "下面哪个和其他的不一样：{l}？",
        "有一个词不合适：{l}。是哪个？",
        "三个词是一类：{l}。哪个不是？",
        "选出不合适的词：{l}。",
        "在{l}里，哪个词不同？",
        "哪一个是另一类的：{l}？",
        "这里有四个词：{l}。哪个不属于这一类？",
    ),
}


def is_held_out_pair(a: int, b: int) -> bool:
    """Whether two numbers, in either order, are compared in evaluation only."""
    return held_out(f"compare {min(a, b)} {max(a, b)}", HELD_OUT_SHARES["compare"])


def is_held_out_order(ranks: tuple[int, ...]) -> bool:
    """Whether people (indices of `PEOPLE`, the first with most) hold three whose order is kept for evaluation."""
    share = HELD_OUT_SHARES["order"]
    return any(held_out("order " + " ".join(map(str, three)), share) for three in combinations(ranks, 3))


def is_held_out_set(words: tuple[Word, ...]) -> bool:
    """Whether these words, in any order, are kept for evaluation."""
    return held_out("set " + " ".join(sorted(word.en for word in words)), HELD_OUT_SHARES["odd one out"])


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _item(lang: str, kind: str, question: str, answer: str, **info: object) -> Item:
    return Item(_upper(question), answer, "logic", {"lang": lang, "kind": kind, **info})


def _compare(rng: random.Random, lang: str, a: int, b: int) -> Item:
    down = rng.randrange(2)  # 0 asks for the larger, 1 for the smaller
    question = rng.choice(CHOICES[lang]).format(a=a, b=b, c=rng.choice(SIZES[lang][down]))
    return _item(lang, "compare", question, str((max, min)[down](a, b)), numbers=(a, b))


def _premises(rng: random.Random, lang: str, names: list[str], up: str, down: str, sides: tuple[bool, ...]) -> str:
    """The order of `names` as premises about neighbours, shuffled, each told from one of the sides."""
    told = []
    for more, less in pairwise(names):
        x, c, y = (more, up, less) if rng.choice(sides) else (less, down, more)
        told.append(PREMISES[lang].format(x=x, c=c, y=y))
    rng.shuffle(told)
    return (" " if lang == "en" else "").join(told) + (" " if lang == "en" else "")


def _order(rng: random.Random, lang: str, ranks: tuple[int, ...], lean: float) -> Item:
    """People from most to least, told by premises; who is at an end, or how two of them compare.

    With the share `lean`, all premises are told from one side and the question is asked from the same.
    """
    names = [PEOPLE[lang][i] for i in ranks]
    words = rng.choice(COMPARATIVES[lang])
    down = rng.randrange(2)
    sides = (down == 0,) if rng.random() < lean else rng.choice(((True,), (False,), (True, False), (True, False)))
    c = words[down]
    if rng.random() < 0.6 and len(names) > 2:
        superlative = c[:-1] + "st" if lang == "en" else c
        question, answer = rng.choice(EXTREMES[lang]).format(s=superlative), names[-down]
    else:
        i, j = sorted(rng.sample(range(len(names)), 2))
        x, y = rng.sample((names[i], names[j]), 2)
        question, answer = rng.choice(WHO[lang]).format(x=x, y=y, c=c), names[j if down else i]
    return _item(lang, "order", _premises(rng, lang, names, *words, sides) + _upper(question), answer, ranks=ranks)


def _odd(rng: random.Random, lang: str, words: tuple[Word, ...]) -> Item:
    """Words of which the last is the odd one."""
    listed = rng.sample([word.text(lang) for word in words], len(words))
    question = rng.choice(ODD[lang]).format(l=("、" if lang == "zh" else ", ").join(listed))
    return _item(lang, "odd one out", question, words[-1].text(lang), words=tuple(sorted(word.en for word in words)))


def _draw_numbers(rng: random.Random) -> tuple[int, int]:
    first, second = rng.sample(range(rng.choice((20, LARGEST + 1, LARGEST + 1))), 2)
    return first, second


def _draw_ranks(rng: random.Random) -> tuple[int, ...]:
    return tuple(rng.sample(range(len(PEOPLE["en"])), rng.choices((2, 3, 4), (0.35, 0.5, 0.15))[0]))


def _draw_words(rng: random.Random) -> tuple[Word, ...]:
    first, second = rng.sample(list(CATEGORIES), 2)
    return (*rng.sample(CATEGORIES[first], 3), rng.choice(CATEGORIES[second]))


def sample_logic(rng: random.Random) -> Item:
    """A training item; never about held-out numbers, orders or words."""
    lang = rng.choice(("en", "zh"))
    kind = rng.choices(KINDS, [SHARES[kind] for kind in KINDS])[0]
    while True:
        if kind == "compare" and not is_held_out_pair(*(pair := _draw_numbers(rng))):
            return _compare(rng, lang, *pair)
        if kind == "order" and not is_held_out_order(ranks := _draw_ranks(rng)):
            return _order(rng, lang, ranks, LEAN)
        if kind == "odd one out" and not is_held_out_set(words := _draw_words(rng)):
            return _odd(rng, lang, words)


def held_out_logic(lang: str, kind: str) -> list[Item]:
    """200 different items of a kind about what is never trained, drawn reproducibly.

    The wordings are trained ones, and all sides are asked from equally often. `kind` is "compare", "order" (three
    people each) or "odd one out"; raises ZkitError for any other, and for a language the model does not speak.
    """
    check_language(lang)
    if kind not in KINDS:
        raise ZkitError(f"unknown kind of logic {kind!r}: one of {', '.join(KINDS)}")
    rng = random.Random(f"held-out logic {lang} {kind}")
    orders = [three for three in permutations(range(len(PEOPLE["en"])), 3) if is_held_out_order(three)]
    numbers = [(a, b) for a, b in permutations(range(LARGEST + 1), 2) if is_held_out_pair(a, b)]
    items: dict[str, Item] = {}
    while len(items) < HELD_OUT_ITEMS:
        if kind == "compare":
            item = _compare(rng, lang, *rng.choice(numbers))
        elif kind == "order":
            item = _order(rng, lang, rng.choice(orders), 0.0)
        elif is_held_out_set(words := _draw_words(rng)):
            item = _odd(rng, lang, words)
        else:
            continue
        items.setdefault(str(item.prompt), item)
    return list(items.values())
