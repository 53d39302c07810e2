"""What a model is asked, from a file: tasks with answers, topics to write about, and problems in two languages.

A file has one JSON object on each line. Each has a ``split`` ("train", "development" or "test", the default) and is

* a question of a task: ``{"task": "sums", "prompt": "3 + 4 =", "answers": ["7"], "about": "3 4"}``; optional:
  ``memory``, the answers of a model that ignores the prompt; ``about``, the subject; ``chat``, false for a question
  asked without the chat template;
* a topic: ``{"topic": "a window", "prompt": "Describe a window."}``; optional: ``text`` with ``points``, the choices of
  style in it;
* a problem in two languages: ``{"problem": "two-step", "unit": "2 3 4", "prompts": {"en": ..., "zh": ...}}`` with
  either ``answers`` by language, or ``operands`` and ``steps`` that compute the result, such as ``[2, 3, 4]`` and
  ``["a + b", "s * c"]``: operands are called a, b, c and so on, and s is the result of the first step;
  optional: ``category`` and ``chat``;
* the words of numbers from 0 on, which then are the answers of computed problems:
  ``{"numbers": {"en": ["zero", "one"], "zh": ["零", "一"]}}``; without them, digits are.
"""

from __future__ import annotations

import ast
import string
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from zkit.causal import CausalModel, Problem
from zkit.errors import ZkitError
from zkit.prompts import Prompt, check_prompts
from zkit.reading import Checked, Count, check, located, read_lines, shown
from zkit.tasks import Question, Task

FOLDER = Path(__file__).parent / "questions"
"""What ships: tasks and topics for any model, problems for the embedded model and for others."""
SPLITS = ("train", "development", "test")

_Split = Literal["train", "development", "test"]
_Name = Annotated[str, Field(min_length=1)]
_Prompt = str | list[dict[str, str]]


class _Question(Checked):
    task: _Name
    prompt: _Prompt
    answers: Annotated[list[_Name], Field(min_length=1)]
    memory: list[_Name] = Field(default_factory=list)
    about: str = ""
    chat: bool = True
    split: _Split = "test"


class _Point(Checked):
    axis: _Name
    offset: Count
    low: Annotated[list[str], Field(min_length=1)]
    high: Annotated[list[str], Field(min_length=1)]


class _Topic(Checked):
    topic: _Name
    prompt: _Prompt
    text: str = ""
    points: list[_Point] = Field(default_factory=list)
    split: _Split = "test"


class _ByLanguage(Checked):
    en: _Name
    zh: _Name


class _Problem(Checked):
    problem: _Name
    unit: _Name
    prompts: _ByLanguage
    answers: _ByLanguage | None = None
    operands: list[int] = Field(default_factory=list, max_length=18)
    steps: list[_Name] = Field(default_factory=list, max_length=2)
    category: str = ""
    chat: bool = True
    split: _Split = "test"


class _Words(Checked):
    en: Annotated[list[_Name], Field(min_length=1)]
    zh: Annotated[list[_Name], Field(min_length=1)]


class _Numbers(Checked):
    numbers: _Words


_Row = _Question | _Topic | _Problem | _Numbers
_KINDS: dict[str, type[_Row]] = {"task": _Question, "topic": _Topic, "problem": _Problem, "numbers": _Numbers}
_REMEDY = "see zkit.questions for what a line may hold"


@dataclass(frozen=True)
class Point:
    """A choice made in a text: the offset of its first character, and what each pole could have begun with there.

    An empty beginning means that the text could have ended.
    """

    offset: int
    axis: str
    low: tuple[str, ...]
    high: tuple[str, ...]


@dataclass(frozen=True)
class Topic:
    """A prompt that asks to write about a topic; perhaps with a text that answers it and its choices of style."""

    name: str
    prompt: Prompt
    text: str = ""
    points: tuple[Point, ...] = ()


@dataclass(frozen=True)
class Questions:
    """The lines of a file. source: its name, for messages."""

    source: str
    rows: tuple[_Row, ...]

    def before(self, other: Questions) -> Questions:
        """These questions, and of the other ones the kinds of lines (tasks, topics, problems) that are missing here."""
        have = {_kind(row) for row in self.rows}
        more = tuple(row for row in other.rows if _kind(row) not in have)
        return Questions(self.source if not more else f"{self.source} with {other.source}", self.rows + more)

    def tasks(self, split: str = "test", *needed: str, exact: bool = False) -> dict[str, Task]:
        """The tasks of a split by name, in the order of the file.

        needed: names that must be there. exact: whether the whole text must be an answer, see
        :class:`zkit.tasks.Task`. Raises ZkitError for an unknown split, if a task that is needed is missing, and if
        there are none.
        """
        rows: dict[str, list[_Question]] = {}
        for row in self._in(_Question, split):
            rows.setdefault(row.task, []).append(row)
        missing = [name for name in needed if name not in rows] or ([] if rows else ["any task"])
        if missing:
            raise ZkitError(
                f"{self.source} has no questions of {missing[0]!r} in the split {split!r}, only of "
                f"{', '.join(rows) or 'none'}; add lines such as "
                f'{{"task": "sums", "split": "{split}", "prompt": "3 + 4 =", "answers": ["7"]}}'
            )
        return {
            name: Task(
                name,
                tuple(Question(q.prompt, tuple(q.answers), tuple(q.memory), q.about) for q in given),
                given[0].chat,
                exact,
            )
            for name, given in rows.items()
        }

    def topics(self, split: str = "test") -> list[Topic]:
        """The topics of a split. Raises ZkitError for an unknown split, and if it has none."""
        found = self._in(_Topic, split)
        if not found:
            raise ZkitError(
                f"{self.source} has no topics in the split {split!r}; add lines such as "
                f'{{"topic": "a window", "split": "{split}", "prompt": "Describe a window."}}'
            )
        return [
            Topic(
                row.topic,
                row.prompt,
                row.text,
                tuple(Point(p.offset, p.axis, tuple(p.low), tuple(p.high)) for p in row.points),
            )
            for row in found
        ]

    def problems(self, *splits: str, kind: str | None = None) -> list[Problem]:
        """The problems of the splits (of all, if none is given), of one kind or of all, in the order of the file.

        Raises ZkitError for an unknown split or kind, and if there are none.
        """
        kinds = self.kinds()
        if kind is not None and kind not in kinds:
            raise ZkitError(f"{self.source} has no problems of the kind {kind!r}, only {', '.join(kinds) or 'none'}")
        rows = [row for row in self._in(_Problem, *splits) if kind in (None, row.problem)]
        if not rows:
            raise ZkitError(
                f"{self.source} has no problems in {' or '.join(splits) or 'any split'}; add lines such as "
                '{"problem": "one digit", "unit": "3 4", "prompts": {"en": "3 + 4 =", "zh": "计算 3 + 4"}, '
                '"operands": [3, 4], "steps": ["a + b"]}'
            )
        return [_problem(row, self.numbers()) for row in rows]

    def kinds(self) -> list[str]:
        """The kinds of its problems, in the order of the file."""
        return list(dict.fromkeys(row.problem for row in self.rows if isinstance(row, _Problem)))

    def numbers(self) -> dict[str, list[str]]:
        """The words of the numbers from 0 on, by language; empty where numbers are written in digits."""
        return next(({"en": r.numbers.en, "zh": r.numbers.zh} for r in self.rows if isinstance(r, _Numbers)), {})

    def _in(self, kind: type[Any], *splits: str) -> list[Any]:
        for split in splits:
            if split not in SPLITS:
                raise ZkitError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
        return [row for row in self.rows if isinstance(row, kind) and row.split in (splits or SPLITS)]


def read(path: str | Path) -> Questions:
    """The questions of a JSON Lines file, as this module describes it.

    Raises ZkitError, which names file, line and field, for a file that is missing, empty or no JSON Lines; for a line
    that is none of the four kinds, lacks a field or has an unknown one; for a prompt that is neither a text nor a
    conversation; for a task in which some questions go through the chat template and others do not; for points beyond
    their text; and for a problem without answers, or whose steps are not sums, differences or products of its operands.
    """
    path = located(path, "file of questions", "give a JSONL file")
    rows: list[_Row] = []
    chat: dict[tuple[str, str], bool] = {}
    for where, value in read_lines(path):
        kind = next((_KINDS[key] for key in _KINDS if isinstance(value, dict) and key in value), None)
        if kind is None:
            raise ZkitError(f"{where} is {shown(value)}, an object without any of {', '.join(_KINDS)}; {_REMEDY}")
        row = check(kind, value, where, _REMEDY)
        try:
            if isinstance(row, _Question | _Topic):
                check_prompts([row.prompt])
            if isinstance(row, _Question) and chat.setdefault((row.task, row.split), row.chat) != row.chat:
                raise ZkitError(f"the task {row.task!r} has questions with and without the template; name them apart")
            if isinstance(row, _Topic) and any(point.offset > len(row.text) for point in row.points):
                raise ZkitError(f"a point lies beyond the text, which has {len(row.text)} characters")
            if isinstance(row, _Problem):
                _problem(row, {}).run("en")
        except ZkitError as error:
            raise ZkitError(f"{where}: {error}") from error
        rows.append(row)
    if not rows:
        raise ZkitError(f"{path} has no questions; {_REMEDY}")
    return Questions(str(path), tuple(rows))


@cache
def shipped(embedded: bool) -> Questions:
    """The questions that ship: tasks, topics, and problems for the embedded model or for any other.

    Number words answer the problems of the embedded model; the others have answers that a small real model can give.
    """
    parts = [read(FOLDER / f"{name}.jsonl") for name in ("tasks", "topics", "embedded" if embedded else "problems")]
    return Questions("the shipped questions", tuple(row for part in parts for row in part.rows))


def compute(step: str, values: Mapping[str, int]) -> int:
    """The value of a step such as "(a + b) * c". Raises ZkitError for anything but sums, differences and products."""

    def value(node: ast.expr) -> int:
        match node:
            case ast.BinOp(left, ast.Add(), right):
                return value(left) + value(right)
            case ast.BinOp(left, ast.Sub(), right):
                return value(left) - value(right)
            case ast.BinOp(left, ast.Mult(), right):
                return value(left) * value(right)
            case ast.Name(id) if id in values:
                return values[id]
            case ast.Constant(int(n)) if not isinstance(n, bool):
                return n
        raise ZkitError(
            f"the step {step[:40]!r} is no sum, difference or product of {', '.join(values)} and whole numbers"
        )

    try:
        return value(ast.parse(step, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise ZkitError(f"the step {step[:40]!r} cannot be read ({error}); write it like a + b") from error


def _problem(row: _Problem, words: Mapping[str, list[str]]) -> Problem:
    if (row.answers is None) == (not row.steps):
        raise ZkitError(f"the problem {row.unit!r} needs either its answers or the steps that compute them")
    prompts = {"en": row.prompts.en, "zh": row.prompts.zh}
    if row.answers is not None:
        pair = {"en": row.answers.en, "zh": row.answers.zh}
        causal = CausalModel(row.problem, lambda _, answers: answers, lambda result, lang: dict(result)[lang])
        return Problem(causal, tuple(pair.items()), prompts, row.chat, row.category or row.problem, row.unit)

    def named(operands: tuple[int, ...]) -> dict[str, int]:
        return dict(zip(string.ascii_lowercase, operands, strict=False))

    first, last = row.steps[0], row.steps[-1]

    def said(n: int, language: str) -> str:
        if not words:
            return str(n)
        return words[language][n] if 0 <= n < len(words[language]) else ""

    def result(s: int | None, operands: tuple[int, ...]) -> int:
        return compute(last, named(operands) | ({} if s is None else {"s": s}))

    through = None if len(row.steps) == 1 else lambda operands: compute(first, named(operands))
    causal = CausalModel(row.problem, result, said, through)
    return Problem(causal, tuple(row.operands), prompts, row.chat, row.category or row.problem, row.unit)


def _kind(row: _Row) -> str:
    return "problem" if isinstance(row, _Numbers) else next(key for key, kind in _KINDS.items() if kind is type(row))
