"""Problems for any model that speaks English and Chinese, with one-token answers: digits, in one step or two, and
opposites.

Digits are the same token in both languages. The answers to opposites differ between languages, so that language and
content can be moved separately.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from zkit.errors import ZkitError
from zkit.phase3.causal import CausalModel, Problem

LANGUAGES = ("en", "zh")
SPLITS = ("train", "development", "test")

_DIGITS = CausalModel("digits", lambda _, x: x[0] + x[2] if x[1] == "+" else x[0] - x[2], lambda n, _: str(n))
_TWO_STEPS = CausalModel("two steps", lambda total, x: total * x[2], lambda n, _: str(n), lambda x: x[0] + x[1])
_WORDINGS = (  # English, Chinese
    ("What is {a} {sign} {b}? Answer with one number only.", "计算 {a} {sign} {b}。只回答数字。"),
    ("Calculate {a} {sign} {b}. Reply with the number only.", "请计算{a}{word}{b}，只给出数字。"),
)

_EXAMPLES = "black white 黑 白, open closed 开 关, north south 北 南, true false 真 假"
_PAIRS = (
    "hot cold 热 冷, big small 大 小, long short 长 短, high low 高 低, fast slow 快 慢, up down 上 下, "
    "left right 左 右, good bad 好 坏, new old 新 旧, inside outside 里 外, front back 前 后, strong weak 强 弱, "
    "rich poor 富 穷, early late 早 晚, many few 多 少, dry wet 干 湿, near far 近 远, hard soft 硬 软, "
    "thick thin 厚 薄, wide narrow 宽 窄, love hate 爱 恨, buy sell 买 卖, east west 东 西, man woman 男 女, "
    "win lose 赢 输, full empty 满 空, deep shallow 深 浅, life death 生 死, happy sad 喜 悲, come go 来 去, "
    "sweet bitter 甜 苦, light dark 明 暗, push pull 推 拉, rise fall 升 降, sky earth 天 地, "
    "positive negative 正 负, friend enemy 友 敌, husband wife 夫 妻, question answer 问 答, advance retreat 进 退, "
    "day night 日 夜, father mother 父 母, start end 始 终, first last 首 末, gain loss 得 失, attack defend 攻 守, "
    "add subtract 加 减, multiply divide 乘 除, teach learn 教 学, remember forget 记 忘, cry laugh 哭 笑, "
    "spring autumn 春 秋, summer winter 夏 冬, guest host 客 主, public private 公 私, odd even 奇 偶, "
    "loose tight 松 紧, busy free 忙 闲, straight curved 直 弯, float sink 浮 沉, ancient modern 古 今, "
    "male female 雄 雌, single double 单 双, lazy diligent 懒 勤, beautiful ugly 美 丑, "
    "horizontal vertical 横 竖, asleep awake 睡 醒, success failure 成 败, send receive 发 收"
)


def _table(text: str) -> list[tuple[str, str, str, str]]:
    rows = [tuple(row.split()) for row in text.split(", ")]
    return [(a, b, c, d) for a, b, c, d in rows]


_WORDS = _table(_PAIRS)


def _opposite(_: object, operands: tuple[int, int]) -> tuple[int, int]:
    pair, side = operands
    return pair, 1 - side


def _say(word: tuple[int, int], language: str) -> str:
    pair, side = word
    return " " + _WORDS[pair][side] if language == "en" else _WORDS[pair][2 + side]


_OPPOSITES = CausalModel("opposites", _opposite, _say)


def split_of(name: str) -> str:
    """The split of an item, by a hash of its name: half are train, an eighth development, the rest test."""
    return (*["train"] * 4, "development", *["test"] * 3)[hashlib.sha256(name.encode()).digest()[0] % 8]


def digits(split: str) -> list[Problem]:
    """Sums and differences of digits whose result is a digit, in two wordings, through the chat template.

    The splits are disjoint by operands, in either order of a sum. Raises ZkitError for an unknown split.
    """
    _check(split)
    found = []
    for a in range(10):
        for b in range(10):
            for sign, word in (("+", "加"), ("-", "减")):
                if not 0 <= (a + b if sign == "+" else a - b) <= 9:
                    continue
                name = f"{min(a, b)} + {max(a, b)}" if sign == "+" else f"{a} - {b}"
                if split_of(f"digits {name}") == split:
                    found += [
                        Problem(
                            _DIGITS,
                            (a, sign, b),
                            {"en": en.format(a=a, sign=sign, b=b), "zh": zh.format(a=a, sign=sign, b=b, word=word)},
                            category="sum" if sign == "+" else "difference",
                            unit=name,
                        )
                        for en, zh in _WORDINGS
                    ]
    return found


def two_steps(split: str) -> list[Problem]:
    """Problems (a + b) × c whose result is a digit, in two wordings, through the chat template.

    The splits are disjoint by operands, in either order of the sum. Raises ZkitError for an unknown split.
    """
    _check(split)
    asked = [(a, b, c) for c in range(2, 10) for a in range(10) for b in range(10) if (a + b) * c <= 9]
    return [
        Problem(
            _TWO_STEPS,
            (a, b, c),
            {lang: form.format(a=f"({a} + {b})", sign="×", word="乘", b=c) for lang, form in forms.items()},
            category="two steps",
            unit=unit,
        )
        for a, b, c in asked
        if split_of(unit := f"two steps {min(a, b)} {max(a, b)} {c}") == split
        for forms in (dict(zip(LANGUAGES, wording, strict=True)) for wording in _WORDINGS)
    ]


def opposites(split: str) -> list[Problem]:
    """Problems that ask for the opposite of a word, as plain text after four examples. The answer is one word, in
    English with the space before it.

    The splits are disjoint by pairs of opposites. Raises ZkitError for an unknown split.
    """
    _check(split)
    shown = _table(_EXAMPLES)
    head = {
        "en": "".join(f"The opposite of {row[0]} is {row[1]}\n" for row in shown),
        "zh": "".join(f"{row[2]}的反义词是{row[3]}\n" for row in shown),
    }
    found = []
    for pair, row in enumerate(_WORDS):
        if split_of(unit := f"opposites {row[0]}") != split:
            continue
        for side in (0, 1):
            asked = {"en": f"The opposite of {row[side]} is", "zh": f"{row[2 + side]}的反义词是"}
            prompts = {language: head[language] + asked[language] for language in LANGUAGES}
            found.append(Problem(_OPPOSITES, (pair, side), prompts, chat=False, category="opposite", unit=unit))
    return found


def pairs(problems: Sequence[Problem], each: int = 1) -> tuple[list[Problem], list[Problem]]:
    """Targets and their sources: every problem with ``each`` others of a different result, evenly spread over the list.

    Raises ZkitError for a problem that has fewer such others.
    """
    n = len(problems)
    targets: list[Problem] = []
    sources: list[Problem] = []
    for i, target in enumerate(problems):
        others = [problems[(i + step) % n] for step in range(1, n) if problems[(i + step) % n].result != target.result]
        if len(others) < each:
            raise ZkitError(f"{len(others)} problems have another result than {target.result!r}, and {each} are wanted")
        targets += [target] * each
        sources += [others[(2 * j + 1) * len(others) // (2 * each)] for j in range(each)]
    return targets, sources


def _check(split: str) -> None:
    if split not in SPLITS:
        raise ZkitError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
