"""The numbers up to fifty as words, each one token in either language, and the wish for an answer in words."""

from __future__ import annotations

import random
from collections.abc import Mapping

from zkbook.organism.items import Item

LARGEST_WORD = 50

# fmt: off
_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)
# fmt: on
_TENS = ("", "", "twenty", "thirty", "forty", "fifty")
_DIGITS = "零一二三四五六七八九"


def _english(n: int) -> str:
    if n < 20:
        return _SMALL[n]
    return _TENS[n // 10] + (f"-{_SMALL[n % 10]}" if n % 10 else "")


def _chinese(n: int) -> str:
    if n < 10:
        return _DIGITS[n]
    return (_DIGITS[n // 10] if n >= 20 else "") + "十" + (_DIGITS[n % 10] if n % 10 else "")


WORDS = {
    "en": [_english(n) for n in range(LARGEST_WORD + 1)],
    "zh": [_chinese(n) for n in range(LARGEST_WORD + 1)],
}
# the wish for a word, by language of the question and of the answer
WORD_WISHES = {
    ("en", "en"): (
        "Answer in a word.",
        "Write the number as a word.",
        "Answer with an English word.",
        "Give the number in words.",
        "Write out the number.",
        "Use a word, not digits.",
    ),
    ("zh", "zh"): (
        "用汉字回答。",
        "请用汉字写出答案。",
        "用中文回答。",
        "请用中文写出这个数。",
        "答案写成汉字。",
        "用汉字，不用数字。",
    ),
    ("en", "zh"): (
        "Answer in Chinese.",
        "Please answer in Chinese.",
        "Write the number in Chinese.",
        "Answer with a Chinese word.",
        "Give the answer in Chinese.",
        "Say the number in Chinese.",
    ),
    ("zh", "en"): (
        "用英语回答。",
        "请用英语回答。",
        "用英语写出这个数。",
        "请用英语写出答案。",
        "答案用英语写。",
        "用英语说这个数。",
    ),
}


def answered(
    rng: random.Random, question: str, result: int, task: str, word_in: str | None, info: Mapping[str, object]
) -> Item:
    """`question` with its answer in digits; or, with the wish for it, by a word of the language `word_in`.

    `info["lang"]` is the language of the question, and becomes that of the answer.
    """
    lang, answer = str(info["lang"]), str(result)
    if word_in is not None:
        question += (" " if lang == "en" else "") + rng.choice(WORD_WISHES[lang, word_in])
        answer = WORDS[word_in][result]
    full = {**info, "asked_in": lang, "lang": word_in or lang, "result": result, "words": word_in is not None}
    return Item(question, answer, task, full)


def draw_word_language(rng: random.Random, lang: str, result: int, share: float) -> str | None:
    """In which language a training item wants its result in words; None for digits.

    Of the results that have a word, `share` are asked for in words, 35% of these in the other language.
    """
    if result > LARGEST_WORD or rng.random() >= share:
        return None
    if rng.random() < 0.35:
        return "zh" if lang == "en" else "en"
    return lang
