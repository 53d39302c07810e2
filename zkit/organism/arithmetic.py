"""Sums and differences of small numbers, in digits, with number words on request.

The split is over number families: b + c = a gives b + c, c + b, a - b and a - c, and a family is either trained or
held out as a whole, in both languages and in every wording.
"""

from __future__ import annotations

import random

from zkit.organism.items import Item, check_language, held_out

LARGEST = 49  # largest operand of a sum
LARGEST_WORD = 20  # number words are single tokens up to here
HELD_OUT_SHARE = 0.15

_ENGLISH = """zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"""
_CHINESE = "零 一 二 三 四 五 六 七 八 九 十 十一 十二 十三 十四 十五 十六 十七 十八 十九 二十"
WORDS = {"en": _ENGLISH.split(), "zh": _CHINESE.split()}
SUMS = {
    "en": (
        "What is {a} + {b}?",
        "{a} + {b} =",
        "Calculate {a} + {b}.",
        "Compute {a} plus {b}.",
        "What is {a} plus {b}?",
        "How much is {a} plus {b}?",
        "Add {a} and {b}.",
        "What is the sum of {a} and {b}?",
        "Find the sum of {a} and {b}.",
        "{n} has {a} {o} and gets {b} more. How many {o} does {n} have?",
        "There are {a} {o} in one box and {b} in another. How many {o} are there?",
    ),
    "zh": (
        "{a} + {b} 等于几？",
        "{a} + {b} =",
        "计算 {a} + {b}。",
        "{a} 加 {b} 等于多少？",
        "{a} 加上 {b} 是多少？",
        "求 {a} 与 {b} 的和。",
        "{a} 和 {b} 的和是多少？",
        "请算一下 {a} 加 {b}。",
        "{n}有 {a} 个{o}，又得到 {b} 个。{n}一共有几个{o}？",
        "一个盒子里有 {a} 个{o}，另一个有 {b} 个。一共有几个{o}？",
    ),
}
DIFFERENCES = {
    "en": (
        "What is {a} - {b}?",
        "{a} - {b} =",
        "Calculate {a} - {b}.",
        "What is {a} minus {b}?",
        "How much is {a} minus {b}?",
        "Subtract {b} from {a}.",
        "{n} has {a} {o} and gives away {b}. How many {o} are left?",
    ),
    "zh": (
        "{a} - {b} 等于几？",
        "{a} - {b} =",
        "计算 {a} - {b}。",
        "{a} 减 {b} 等于多少？",
        "{a} 减去 {b} 是多少？",
        "{n}有 {a} 个{o}，送出 {b} 个。还剩几个{o}？",
    ),
}
PEOPLE = {"en": ("Anna", "Ben", "Mia", "Tom", "Lily"), "zh": ("小明", "小红", "小李", "安娜", "小王")}
OBJECTS = {"en": ("apples", "books", "coins", "cards", "eggs"), "zh": ("苹果", "鸡蛋", "球", "杯子", "橘子")}
# the wish for a word, by language of the question and of the answer
WORD_WISHES = {
    ("en", "en"): (" Answer in a word.", " Write the number as a word.", " Answer with an English word."),
    ("en", "zh"): (" Answer in Chinese.", " Please answer in Chinese."),
    ("zh", "zh"): ("用汉字回答。", "请用汉字写出答案。", "用中文回答。"),
    ("zh", "en"): ("用英语回答。", "请用英语回答。"),
}


def is_held_out_family(b: int, c: int) -> bool:
    """Whether the family b + c is kept for evaluation (in either order, and in its differences)."""
    return held_out(f"family {min(b, c)} {max(b, c)}", HELD_OUT_SHARE)


def phrase(rng: random.Random, lang: str, sign: str, a: int, b: int) -> str:
    """A question for a `sign` b ("+" or "-") in `lang`, in digits."""
    frame = rng.choice((SUMS if sign == "+" else DIFFERENCES)[lang])
    return frame.format(a=a, b=b, n=rng.choice(PEOPLE[lang]), o=rng.choice(OBJECTS[lang]))


def _item(rng: random.Random, lang: str, sign: str, b: int, c: int, word_in: str | None) -> Item:
    """The family b + c asked as b + c or as (b + c) - b, answered in digits or by a word of `word_in`."""
    first, second, result = (b, c, b + c) if sign == "+" else (b + c, b, c)
    question, answer = phrase(rng, lang, sign, first, second), str(result)
    if word_in is not None and result <= LARGEST_WORD:
        question += rng.choice(WORD_WISHES[lang, word_in])
        answer = WORDS[word_in][result]
    return Item(question, answer, "arithmetic", {"lang": lang, "sign": sign, "operands": (first, second)})


def sample_arithmetic(rng: random.Random, wide: bool) -> Item:
    """A training item; never from a held-out family. The wordings are wide from the start."""
    largest = rng.choice((20, LARGEST, LARGEST))
    while True:
        b, c = rng.randint(0, largest), rng.randint(0, largest)
        if not is_held_out_family(b, c):
            break
    lang = rng.choice(("en", "zh"))
    sign = "+" if rng.random() < 0.8 else "-"
    word_in = None
    if rng.random() < 0.15:
        word_in = rng.choice(("en", "zh")) if rng.random() < 0.3 else lang
    return _item(rng, lang, sign, b, c, word_in)


def held_out_arithmetic(lang: str, sign: str = "+", words: bool = False) -> list[Item]:
    """Each held-out family in `lang`, in both orders where they differ: digits, or number words (small results only).

    Wordings are trained ones, drawn reproducibly. Raises ZkitError for a language the model does not speak.
    """
    check_language(lang)
    rng = random.Random(f"held-out arithmetic {lang} {sign} {words}")
    items = []
    for b in range(LARGEST + 1):
        for c in range(LARGEST + 1):
            if is_held_out_family(b, c) and not (words and (b + c if sign == "+" else c) > LARGEST_WORD):
                items.append(_item(rng, lang, sign, b, c, lang if words else None))
    return items
