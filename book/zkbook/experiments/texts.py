"""Twenty problems in two languages, ten categories: for the table of the specification. Answers are computed."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import product
from typing import Any

from zkit.phase3.causal import CausalModel, Problem

CUE = {"en": " Give only the answer.", "zh": "只写出答案。"}
_TEXT = CausalModel("text", lambda _, compute: compute(), lambda result, _: _written(result))

_PROBLEMS: tuple[tuple[str, str, str, Callable[[], Any]], ...] = (
    ("arithmetic", "What is 17 * 6 - 25?", "17 * 6 - 25 等于多少？", lambda: 17 * 6 - 25),
    (
        "arithmetic",
        "A shop sells 12 apples in the morning and 3 times as many in the afternoon. How many apples is that in all?",
        "一家商店上午卖出 12 个苹果，下午卖出的是上午的 3 倍。一共卖出多少个苹果？",
        lambda: 12 + 3 * 12,
    ),
    ("fractions", "What is 1/3 + 1/6?", "1/3 + 1/6 等于多少？", lambda: Fraction(1, 3) + Fraction(1, 6)),
    ("fractions", "What is 3/4 of 60?", "60 的 3/4 是多少？", lambda: Fraction(3, 4) * 60),
    ("percent", "What is 15% of 80?", "80 的 15% 是多少？", lambda: Fraction(15, 100) * 80),
    (
        "percent",
        "A price of 50 rises by 20% and then falls by 10%. What is the price now?",
        "价格 50 元先上涨 20%，再下降 10%。现在的价格是多少？",
        lambda: 50 * Fraction(120, 100) * Fraction(90, 100),
    ),
    ("sequences", "What number comes next: 2, 6, 18, 54?", "下一个数是多少：2, 6, 18, 54？", lambda: 54 * (6 // 2)),
    (
        "sequences",
        "What is the 10th number of the sequence 5, 8, 11, 14, ...?",
        "数列 5, 8, 11, 14, ... 的第 10 个数是多少？",
        lambda: 5 + 9 * (8 - 5),
    ),
    (
        "geometry",
        "A triangle has a base of 10 and a height of 7. What is its area?",
        "一个三角形的底是 10，高是 7。它的面积是多少？",
        lambda: Fraction(10 * 7, 2),
    ),
    (
        "geometry",
        "A rectangle is 8 long and 5 wide. What is its perimeter?",
        "一个长方形长 8，宽 5。它的周长是多少？",
        lambda: 2 * (8 + 5),
    ),
    (
        "number theory",
        "What is the greatest common divisor of 48 and 36?",
        "48 和 36 的最大公约数是多少？",
        lambda: math.gcd(48, 36),
    ),
    (
        "number theory",
        "Which prime numbers divide 36?",
        "36 的质因数有哪些？",
        lambda: [p for p in range(2, 37) if 36 % p == 0 and all(p % q for q in range(2, p))],
    ),
    (
        "probability",
        "Three dice are thrown. What is the probability that each shows 3 or less?",
        "掷三个骰子。每个点数都不超过 3 的概率是多少？",
        lambda: Fraction(sum(max(throw) <= 3 for throw in product(range(1, 7), repeat=3)), 6**3),
    ),
    (
        "probability",
        "Two coins are tossed. What is the probability of two heads?",
        "掷两枚硬币。两枚都是正面的概率是多少？",
        lambda: Fraction(sum(throw == (1, 1) for throw in product((0, 1), repeat=2)), 4),
    ),
    ("equations", "Solve 2x + 7 = 19 for x.", "解方程 2x + 7 = 19，x 等于多少？", lambda: Fraction(19 - 7, 2)),
    (
        "equations",
        "Two whole numbers have the sum 5 and the product 6. What are they?",
        "两个整数的和是 5，积是 6。这两个数是多少？",
        lambda: [x for x in range(6) if x * (5 - x) == 6],
    ),
    ("bases", "Write 255 in hexadecimal.", "把 255 写成十六进制。", lambda: f"{255:X}"),
    (
        "bases",
        "How many of the numbers from 1 to 2025 have exactly three ones in binary?",
        "从 1 到 2025 的数中，二进制里恰好有三个 1 的有多少个？",
        lambda: sum(n.bit_count() == 3 for n in range(1, 2026)),
    ),
    (
        "word problems",
        "Tom is 4 years older than Ann. Together they are 20 years old. How old is Ann?",
        "汤姆比安大 4 岁，两人一共 20 岁。安几岁？",
        lambda: Fraction(20 - 4, 2),
    ),
    (
        "word problems",
        "A train leaves at 9:40 and arrives at 11:15. How many minutes does it take?",
        "一列火车 9:40 出发，11:15 到达。路上用了多少分钟？",
        lambda: (11 * 60 + 15) - (9 * 60 + 40),
    ),
)


def texts(cue: bool = False) -> list[Problem]:
    """The twenty problems, through the chat template; with ``cue`` each asks for the answer alone."""
    return [
        Problem(_TEXT, compute, {"en": en + CUE["en"] * cue, "zh": zh + CUE["zh"] * cue}, category=category, unit=en)
        for category, en, zh, compute in _PROBLEMS
    ]


def _written(result: Any) -> str:
    return ", ".join(map(str, result)) if isinstance(result, list) else str(result)
