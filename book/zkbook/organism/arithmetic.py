"""Sums and differences of small numbers, in digits, with number words on request.

The split is over number families: b + c = a gives b + c, c + b, a - b and a - c, and a family is either trained or
held out as a whole, in both languages and in every wording.
"""

from __future__ import annotations

import random

from zkbook.organism.items import Item, check_language, held_out
from zkbook.organism.number_words import LARGEST_WORD, answered, draw_word_language
from zkit.errors import ZkitError

LARGEST = 49  # largest operand of a sum
# share of the families held out, by the largest sum it applies to; more where a sum has a word and is not too small
HELD_OUT_SHARES = ((24, 0.15), (LARGEST_WORD, 0.26), (2 * LARGEST, 0.1))
FORMS = ("bare", "word problem")
KINDS = {"+": "sum", "-": "difference"}
LANGUAGE_COLUMN = {"en": 0, "zh": 1}

# rows of matching wordings: English, Chinese
Rows = tuple[tuple[str, str], ...]
SUMS: Rows = (
    ("What is {a} + {b}?", "{a} + {b} 等于几？"),
    ("{a} + {b} =", "{a} + {b} ="),
    ("{a} + {b} = ?", "{a} + {b} = ?"),
    ("Calculate {a} + {b}.", "计算 {a} + {b}。"),
    ("How much is {a} + {b}?", "{a} + {b} 是多少？"),
    ("Please work out {a} + {b}.", "请算一下 {a} + {b}。"),
    ("Compute {a} plus {b}.", "请计算 {a} 加 {b}。"),
    ("What is {a} plus {b}?", "{a} 加 {b} 等于多少？"),
    ("How much is {a} plus {b}?", "{a} 加上 {b} 是多少？"),
    ("Tell me {a} plus {b}.", "告诉我 {a} 加 {b} 得几。"),
    ("Add {a} and {b}.", "把 {a} 和 {b} 加起来。"),
    ("Add {b} to {a}.", "给 {a} 加上 {b}。"),
    ("What is the sum of {a} and {b}?", "{a} 和 {b} 的和是多少？"),
    ("Find the sum of {a} and {b}.", "求 {a} 与 {b} 的和。"),
    ("What do you get when you add {a} and {b}?", "{a} 加 {b} 得到多少？"),
    ("Which number is {b} more than {a}?", "比 {a} 多 {b} 的数是几？"),
    ("I start with {a} and add {b}. What do I get?", "我从 {a} 开始，加上 {b}，得到几？"),
)
SUM_PROBLEMS: Rows = (
    (
        "{n} has {a} {o} and gets {b} more. How many {o} does {n} have?",
        "{n}有 {a} 个{o}，又得到 {b} 个。{n}一共有几个{o}？",
    ),
    (
        "{n} had {a} {o} and found {b} more. How many {o} are there now?",
        "{n}有 {a} 个{o}，又找到 {b} 个。现在有几个{o}？",
    ),
    (
        "There are {a} {o} in one box and {b} in another. How many {o} are there?",
        "一个盒子里有 {a} 个{o}，另一个有 {b} 个。一共有几个{o}？",
    ),
    (
        "{n} has {a} {o} and {m} has {b}. How many {o} do they have together?",
        "{n}有 {a} 个{o}，{m}有 {b} 个。两人一共有几个{o}？",
    ),
    (
        "{n} has {a} {o}. {m} gives {n} {b} more. How many {o} does {n} have now?",
        "{n}有 {a} 个{o}，{m}又给{n} {b} 个。{n}现在有几个{o}？",
    ),
    (
        "{n} buys {a} {o} in the morning and {b} in the evening. How many {o} does {n} buy?",
        "{n}早上买 {a} 个{o}，晚上买 {b} 个。{n}一共买几个{o}？",
    ),
    (
        "In a bag are {a} red {o} and {b} blue ones. How many {o} are in the bag?",
        "袋子里有 {a} 个红{o}和 {b} 个蓝{o}。袋子里一共有几个{o}？",
    ),
    (
        "{n} has {a} {o}. {m} has {b} more than {n}. How many {o} does {m} have?",
        "{n}有 {a} 个{o}，{m}比{n}多 {b} 个。{m}有几个{o}？",
    ),
    (
        "There are {a} {o} on the table. {n} puts {b} more there. How many {o} are on the table?",
        "桌上有 {a} 个{o}，{n}又放上 {b} 个。桌上有几个{o}？",
    ),
    (
        "{n} gave away {a} {o} and kept {b}. How many {o} were there before?",
        "{n}送出 {a} 个{o}，留下 {b} 个。以前有几个{o}？",
    ),
)
DIFFERENCES: Rows = (
    ("What is {a} - {b}?", "{a} - {b} 等于几？"),
    ("{a} - {b} =", "{a} - {b} ="),
    ("{a} - {b} = ?", "{a} - {b} = ?"),
    ("Calculate {a} - {b}.", "计算 {a} - {b}。"),
    ("How much is {a} - {b}?", "{a} - {b} 是多少？"),
    ("Please work out {a} - {b}.", "请算一下 {a} - {b}。"),
    ("Compute {a} minus {b}.", "请计算 {a} 减 {b}。"),
    ("What is {a} minus {b}?", "{a} 减 {b} 等于多少？"),
    ("How much is {a} minus {b}?", "{a} 减去 {b} 是多少？"),
    ("Tell me {a} minus {b}.", "告诉我 {a} 减 {b} 得几。"),
    ("Subtract {b} from {a}.", "从 {a} 中减去 {b}。"),
    ("Take {b} away from {a}.", "从 {a} 中拿走 {b}。"),
    ("What is the difference of {a} and {b}?", "{a} 与 {b} 的差是多少？"),
    ("What do you get when you take {b} from {a}?", "{a} 减去 {b} 得到多少？"),
    ("Which number is {b} less than {a}?", "比 {a} 少 {b} 的数是几？"),
    ("I start with {a} and subtract {b}. What do I get?", "我从 {a} 开始，减去 {b}，得到几？"),
)
DIFFERENCE_PROBLEMS: Rows = (
    ("{n} has {a} {o} and gives away {b}. How many {o} are left?", "{n}有 {a} 个{o}，送出 {b} 个。还剩几个{o}？"),
    (
        "{n} had {a} {o} and lost {b}. How many {o} does {n} have now?",
        "{n}有 {a} 个{o}，丢了 {b} 个。{n}现在有几个{o}？",
    ),
    (
        "{n} has {a} {o}. {m} takes {b}. How many {o} does {n} keep?",
        "{n}有 {a} 个{o}，{m}拿走 {b} 个。{n}还有几个{o}？",
    ),
    ("{n} has {a} {o} and sells {b} of them. How many {o} are left?", "{n}有 {a} 个{o}，卖出 {b} 个。还剩下几个{o}？"),
    (
        "There are {a} {o} on the table. {n} takes {b}. How many {o} stay there?",
        "桌上有 {a} 个{o}，{n}拿走 {b} 个。桌上还有几个{o}？",
    ),
    (
        "{n} has {a} {o} and {m} has {b}. How many more {o} does {n} have?",
        "{n}有 {a} 个{o}，{m}有 {b} 个。{n}比{m}多几个{o}？",
    ),
    ("{n} needs {a} {o} and has {b}. How many {o} are missing?", "{n}要 {a} 个{o}，只有 {b} 个。还少几个{o}？"),
    (
        "In a bag are {a} {o}, and {b} of them are red. How many {o} are not red?",
        "袋子里有 {a} 个{o}，红的有 {b} 个。不红的有几个{o}？",
    ),
    (
        "Two boxes hold {a} {o} together, one of them {b}. How many {o} does the other hold?",
        "两个盒子里一共有 {a} 个{o}，一个有 {b} 个。另一个有几个{o}？",
    ),
    (
        "{n} has {a} {o}. {m} has {b} fewer than {n}. How many {o} does {m} have?",
        "{n}有 {a} 个{o}，{m}比{n}少 {b} 个。{m}有几个{o}？",
    ),
)
ROWS = {
    ("+", "bare"): SUMS,
    ("+", "word problem"): SUM_PROBLEMS,
    ("-", "bare"): DIFFERENCES,
    ("-", "word problem"): DIFFERENCE_PROBLEMS,
}
PEOPLE = {"en": ("Anna", "Ben", "Mia", "Tom", "Lily"), "zh": ("安娜", "小明", "小红", "小李", "小王")}
OBJECTS = {
    "en": ("apples", "eggs", "balls", "cups", "oranges", "pears", "coins"),
    "zh": ("苹果", "鸡蛋", "球", "杯子", "橘子", "梨", "硬币"),
}


def is_held_out_family(b: int, c: int) -> bool:
    """Whether the family b + c is kept for evaluation (in either order, and in its differences)."""
    share = next(share for largest, share in HELD_OUT_SHARES if b + c <= largest)
    return held_out(f"family {min(b, c)} {max(b, c)}", share)


def families(kept: bool) -> list[tuple[int, int]]:
    """The families held out (`kept`) or trained, each once, the order of the two numbers alternating."""
    pairs = [(b, c) for b in range(LARGEST + 1) for c in range(b, LARGEST + 1) if is_held_out_family(b, c) == kept]
    return [(c, b) if i % 2 else (b, c) for i, (b, c) in enumerate(pairs)]


def fill(rng: random.Random, lang: str, rows: Rows, **numbers: int) -> str:
    """A wording of `rows` in `lang`; equal states of `rng` give matching wordings in the two languages."""
    frame = rng.choice(rows)[LANGUAGE_COLUMN[lang]]
    first, second = rng.sample(range(len(PEOPLE[lang])), 2)
    people = PEOPLE[lang]
    return frame.format(n=people[first], m=people[second], o=rng.choice(OBJECTS[lang]), **numbers)


def is_countable(*numbers: int) -> bool:
    """Whether a word problem can speak of so many things: two or more each time."""
    return min(numbers) >= 2


def pose(rng: random.Random, lang: str, sign: str, b: int, c: int, form: str, word_in: str | None) -> Item:
    """The family b + c asked as b + c or as (b + c) - b, answered in digits or by a word of `word_in`."""
    first, second, result = (b, c, b + c) if sign == "+" else (b + c, b, c)
    question = fill(rng, lang, ROWS[sign, form], a=first, b=second)
    info = {"kind": KINDS[sign], "form": form, "operands": (first, second), "sign": sign, "lang": lang}
    return answered(rng, question, result, "arithmetic", word_in, info)


def sample_arithmetic(rng: random.Random) -> Item:
    """A training item; never from a held-out family."""
    largest = rng.choice((20, LARGEST, LARGEST))
    while True:
        b, c = rng.randint(0, largest), rng.randint(0, largest)
        if not is_held_out_family(b, c):
            break
    lang = rng.choice(("en", "zh"))
    sign = "+" if rng.random() < 0.65 else "-"
    form = "word problem" if rng.random() < 0.35 and is_countable(b, c) else "bare"
    word_in = draw_word_language(rng, lang, b + c if sign == "+" else c, 0.34)
    return pose(rng, lang, sign, b, c, form, word_in)


def held_out_arithmetic(lang: str, sign: str = "+", words: bool = False, form: str | None = None) -> list[Item]:
    """Each held-out family once in `lang`: answered in digits, or by number words (results that have one).

    Wordings are trained ones, drawn reproducibly: of one `form` ("bare" or "word problem"), or of both in turn.
    Raises ZkitError for a language the model does not speak, an unknown sign or an unknown form.
    """
    check_language(lang)
    if sign not in KINDS:
        raise ZkitError(f"unknown sign {sign!r}: choose one of {', '.join(KINDS)}")
    if form is not None and form not in FORMS:
        raise ZkitError(f"unknown form {form!r}: choose one of {', '.join(FORMS)}")
    rng = random.Random(f"held-out arithmetic {lang} {sign} {words} {form}")
    items = []
    for i, (b, c) in enumerate(families(kept=True)):
        chosen = form or FORMS[i // 2 % 2 if is_countable(b, c) else 0]
        if words and (b + c if sign == "+" else c) > LARGEST_WORD:
            continue
        if chosen == "bare" or is_countable(b, c):
            items.append(pose(rng, lang, sign, b, c, chosen, lang if words else None))
    return items
