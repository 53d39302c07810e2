"""The same arithmetic problem in both languages, for experiments that move a state from one to the other."""

from __future__ import annotations

import random
from dataclasses import dataclass

from zkbook.organism.arithmetic import families, is_countable, pose
from zkbook.organism.items import LANGUAGES, Item
from zkbook.organism.number_words import LARGEST_WORD
from zkbook.organism.two_step import pose_steps, steps
from zkit.errors import ZkitError

SPLITS = ("train", "test")
PROBLEM_KINDS = ("sum", "difference", "two-step")
TRAIN_PROBLEMS = 200  # of each kind


@dataclass(frozen=True)
class Problem:
    """A problem in English and in Chinese, in matching wordings; each item is answered in its own language.

    `intermediate` is the sum that (a + b) * c goes through, None for a problem of one step.
    """

    en: Item
    zh: Item
    kind: str
    result: int
    intermediate: int | None
    operands: tuple[int, ...]


def _of_steps(a: int, b: int, c: int, words: bool) -> Problem:
    en, zh = (
        pose_steps(random.Random(f"parallel {a} {b} {c} {words}"), lang, a, b, c, lang if words else None, True)
        for lang in LANGUAGES
    )
    return Problem(en, zh, "two-step", (a + b) * c, a + b, (a, b, c))


def _of_family(sign: str, b: int, c: int, words: bool) -> Problem:
    key = f"parallel {sign} {b} {c} {words}"
    form = "word problem" if random.Random(f"form {key}").random() < 0.35 and is_countable(b, c) else "bare"
    # the same draws in either language, so that the wordings match
    en, zh = (pose(random.Random(key), lang, sign, b, c, form, lang if words else None) for lang in LANGUAGES)
    if sign == "+":
        return Problem(en, zh, "sum", b + c, None, (b, c))
    return Problem(en, zh, "difference", c, None, (b + c, b))


def _of_kind(split: str, kind: str, words: bool) -> list[Problem]:
    kept = split == "test"
    if kind == "two-step":
        found = [_of_steps(a, b, c, words) for a, b, c in steps(kept) if not words or (a + b) * c <= LARGEST_WORD]
    elif kind == "sum":
        found = [_of_family("+", b, c, words) for b, c in families(kept) if not words or b + c <= LARGEST_WORD]
    else:
        found = [_of_family("-", b, c, words) for b, c in families(kept)]
    random.Random(f"parallel {split} {kind}").shuffle(found)
    return found if kept else found[:TRAIN_PROBLEMS]


def parallel_problems(split: str, kind: str | None = None, words: bool = True) -> list[Problem]:
    """Problems whose numbers are trained ("train") or held out ("test"), of one kind or of all three.

    With `words` the answer is a number word, one token in each language; otherwise it is in digits. In problems of
    two steps the sum comes first in the text. Raises ZkitError for an unknown split or kind.
    """
    if split not in SPLITS:
        raise ZkitError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    if kind is not None and kind not in PROBLEM_KINDS:
        raise ZkitError(f"unknown kind {kind!r}: choose one of {', '.join(PROBLEM_KINDS)}")
    kinds = PROBLEM_KINDS if kind is None else (kind,)
    return [problem for one in kinds for problem in _of_kind(split, one, words)]
