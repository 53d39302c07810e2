"""Two steps in one answer: (a + b) * c, where the sum is never written; and the plain products that go with it.

The split is over {a, b} with c, on top of the split of sums: a pair whose sum is held out is held out here as well.
Products are a table to be learnt by heart, and trained in full.
"""

from __future__ import annotations

import random

from zkbook.organism.arithmetic import Rows, fill, is_countable, is_held_out_family
from zkbook.organism.items import Item, check_language, held_out
from zkbook.organism.number_words import LARGEST_WORD, answered, draw_word_language

LARGEST_OPERAND = 20
LARGEST_SUM = 30
FACTORS = (2, 3, 4, 5, 6, 7, 8, 9)
HELD_OUT_SHARE = 0.08

# rows of matching wordings: English, Chinese
SUM_FIRST: Rows = (
    ("What is ({a} + {b}) * {c}?", "({a} + {b}) * {c} 等于几？"),
    ("({a} + {b}) * {c} =", "({a} + {b}) * {c} ="),
    ("Calculate ({a} + {b}) * {c}.", "计算 ({a} + {b}) * {c}。"),
    ("How much is ({a} + {b}) * {c}?", "({a} + {b}) * {c} 是多少？"),
    ("Please work out ({a} + {b}) times {c}.", "请算一下 ({a} + {b}) 乘以 {c}。"),
    ("Add {a} and {b}, then multiply by {c}.", "把 {a} 和 {b} 加起来，再乘以 {c}。"),
    ("Take {a} plus {b} and multiply the sum by {c}.", "{a} 加 {b}，得到的和再乘以 {c}。"),
    ("Multiply the sum of {a} and {b} by {c}.", "用 {a} 与 {b} 的和乘以 {c}。"),
    ("What is the sum of {a} and {b}, times {c}?", "{a} 与 {b} 的和乘以 {c} 是多少？"),
    (
        "Find the sum of {a} and {b}. What do you get when you multiply it by {c}?",
        "先求 {a} 与 {b} 的和，乘以 {c} 得到多少？",
    ),
    ("First add {a} and {b}, then take the sum {c} times.", "先算 {a} 加 {b}，再算和的 {c} 倍。"),
    ("I start with {a}, add {b} and multiply by {c}. What do I get?", "我从 {a} 开始，加上 {b}，再乘以 {c}，得到几？"),
)
FACTOR_FIRST: Rows = (
    ("What is {c} * ({a} + {b})?", "{c} * ({a} + {b}) 等于几？"),
    ("{c} * ({a} + {b}) =", "{c} * ({a} + {b}) ="),
    ("What is {c} times the sum of {a} and {b}?", "用 {c} 去乘 {a} 与 {b} 的和，得多少？"),
    ("Calculate {c} times the sum of {a} and {b}.", "计算：用 {c} 去乘 {a} 与 {b} 的和。"),
)
SUM_FIRST_PROBLEMS: Rows = (
    (
        "{n} has {a} red and {b} blue {o} in each of {c} bags. How many {o} does {n} have?",
        "{n}在每个袋子里放 {a} 个红{o}和 {b} 个蓝{o}，共有 {c} 个袋子。{n}一共有几个{o}？",
    ),
    (
        "A box holds {a} {o}, and {n} puts in {b} more. How many {o} do {c} such boxes hold?",
        "一个盒子里有 {a} 个{o}，{n}又放进 {b} 个。{c} 个这样的盒子里有几个{o}？",
    ),
    (
        "Every day {n} buys {a} {o} in the morning and {b} in the evening. How many {o} is that in {c} days?",
        "{n}每天早上买 {a} 个{o}，晚上买 {b} 个。{c} 天一共买几个{o}？",
    ),
    (
        "{n} gives {a} {o} and then {b} more to every friend. How many {o} do {c} friends get?",
        "{n}给每个朋友 {a} 个{o}，又给 {b} 个。{c} 个朋友一共得到几个{o}？",
    ),
)
FACTOR_FIRST_PROBLEMS: Rows = (
    (
        "In each of {c} bags are {a} red and {b} blue {o}. How many {o} are there?",
        "有 {c} 个袋子，每个里有 {a} 个红{o}和 {b} 个蓝{o}。一共有几个{o}？",
    ),
    (
        "{n} has {c} boxes, each with {a} {o}, and puts {b} more in each. How many {o} are there now?",
        "{n}有 {c} 个盒子，每个里有 {a} 个{o}，又在每个里放 {b} 个。现在有几个{o}？",
    ),
)
PRODUCTS: Rows = (
    ("What is {s} * {c}?", "{s} * {c} 等于几？"),
    ("{s} * {c} =", "{s} * {c} ="),
    ("What is {c} * {s}?", "{c} * {s} 等于几？"),
    ("Calculate {s} * {c}.", "计算 {s} * {c}。"),
    ("How much is {s} times {c}?", "{s} 乘以 {c} 是多少？"),
    ("What is {c} times {s}?", "{c} 乘以 {s} 等于多少？"),
    ("Multiply {s} by {c}.", "用 {s} 乘以 {c}。"),
    ("Please work out {s} times {c}.", "请算一下 {s} 乘以 {c}。"),
    ("I start with {s} and multiply by {c}. What do I get?", "我从 {s} 开始，乘以 {c}，得到几？"),
    ("What do you get when you multiply {s} by {c}?", "{s} 乘以 {c} 得到多少？"),
    ("What is {s} taken {c} times?", "{s} 的 {c} 倍是多少？"),
    ("Take {s} and multiply it by {c}.", "把 {s} 乘以 {c}。"),
)


def is_held_out_steps(a: int, b: int, c: int) -> bool:
    """Whether (a + b) * c is kept for evaluation, in either order of a and b."""
    return is_held_out_family(a, b) or held_out(f"steps {min(a, b)} {max(a, b)} {c}", HELD_OUT_SHARE)


def steps(kept: bool) -> list[tuple[int, int, int]]:
    """The triples held out (`kept`) or trained, {a, b} with c once each, the order of a and b alternating."""
    found = [
        (a, b, c)
        for a in range(LARGEST_OPERAND + 1)
        for b in range(a, min(LARGEST_OPERAND, LARGEST_SUM - a) + 1)
        for c in FACTORS
        if is_held_out_steps(a, b, c) == kept
    ]
    return [(b, a, c) if i % 2 else (a, b, c) for i, (a, b, c) in enumerate(found)]


def pose_steps(
    rng: random.Random, lang: str, a: int, b: int, c: int, word_in: str | None, sum_first: bool = False
) -> Item:
    """(a + b) * c asked in `lang`, answered in digits or by a word of `word_in`; perhaps always with the sum first."""
    problem = rng.random() < 0.3 and is_countable(a, b)
    rows = (SUM_FIRST_PROBLEMS if problem else SUM_FIRST) + (
        () if sum_first else FACTOR_FIRST_PROBLEMS if problem else FACTOR_FIRST
    )
    question = fill(rng, lang, rows, a=a, b=b, c=c)
    info = {
        "kind": "two-step",
        "form": "word problem" if problem else "bare",
        "operands": (a, b, c),
        "intermediate": a + b,
        "new_sum": is_held_out_family(a, b),
        "lang": lang,
    }
    return answered(rng, question, (a + b) * c, "two-step", word_in, info)


def _product(rng: random.Random, lang: str, s: int, c: int, word_in: str | None) -> Item:
    question = fill(rng, lang, PRODUCTS, s=s, c=c)
    info = {"kind": "product", "form": "bare", "operands": (s, c), "lang": lang}
    return answered(rng, question, s * c, "two-step", word_in, info)


def sample_two_step(rng: random.Random) -> Item:
    """A training item: two steps, never held-out ones, or one time in five a product."""
    lang, c = rng.choice(("en", "zh")), rng.choice(FACTORS)
    if rng.random() < 0.2:
        s = rng.randint(0, LARGEST_SUM)
        return _product(rng, lang, s, c, draw_word_language(rng, lang, s * c, 0.35))
    while True:
        a, b, c = rng.randint(0, LARGEST_OPERAND), rng.randint(0, LARGEST_OPERAND), rng.choice(FACTORS)
        if a + b <= LARGEST_SUM and not is_held_out_steps(a, b, c):
            return pose_steps(rng, lang, a, b, c, draw_word_language(rng, lang, (a + b) * c, 0.35))


def held_out_two_step(lang: str, words: bool = False) -> list[Item]:
    """Each held-out (a + b) * c once in `lang`: answered in digits, or by number words (results that have one).

    `info["new_sum"]` says whether a + b itself is held out as well. Wordings are trained ones, drawn reproducibly.
    Raises ZkitError for a language the model does not speak.
    """
    check_language(lang)
    rng = random.Random(f"held-out two-step {lang} {words}")
    return [
        pose_steps(rng, lang, a, b, c, lang if words else None)
        for a, b, c in steps(kept=True)
        if not (words and (a + b) * c > LARGEST_WORD)
    ]
