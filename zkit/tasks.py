"""Questions with the answers that count as right, and whether a text gives one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from zkit.answers import bare, stands_in
from zkit.errors import ZkitError
from zkit.prompts import Prompt
from zkit.stats import Interval, clustered_mean

LAYOUT = {"en": ("Question: {q}\nAnswer:", " {a}"), "zh": ("问题：{q}\n回答：", "{a}")}
"""A question and its answer as plain text, by the language of the question."""


@dataclass(frozen=True)
class Question:
    """A prompt with the answers that count as right.

    memory: the answers of a model that ignores the prompt. about: the subject of the question, the same for questions
    in other wordings or languages, which are not independent ("": no other question has the same subject).
    """

    prompt: Prompt
    answers: tuple[str, ...]
    memory: tuple[str, ...] = ()
    about: str = ""


@dataclass(frozen=True)
class Task:
    """Questions of one kind, all through the chat template or all without it.

    exact: whether the whole text must be an accepted answer; if not, it must contain one.
    """

    name: str
    questions: tuple[Question, ...]
    chat: bool = True
    exact: bool = True


def gives(task: Task, text: str, accepted: Sequence[str]) -> bool:
    """Whether a text counts as one of the accepted answers."""
    if task.exact:
        return bare(text) in {bare(a) for a in accepted}
    return any(stands_in(a, text) for a in accepted)


def right(task: Task, texts: Sequence[str]) -> Bool[NDArray, " questions"]:
    """Which of the texts are accepted answers."""
    pairs = zip(task.questions, texts, strict=True)
    return np.array([gives(task, text, q.answers) for q, text in pairs])


def from_memory(task: Task, texts: Sequence[str]) -> Bool[NDArray, " questions"]:
    """Which of the texts are answers from memory, against the prompt."""
    pairs = zip(task.questions, texts, strict=True)
    return np.array([gives(task, text, q.memory) for q, text in pairs])


def share(task: Task, hits: Sequence[float] | NDArray[Any]) -> Interval:
    """The mean of one value for each question, with an interval over the questions' subjects; n counts subjects."""
    return clustered_mean(hits, [q.about or f"question {i}" for i, q in enumerate(task.questions)])


def only(task: Task, kept: Sequence[bool] | NDArray[Any]) -> Task:
    """The task with the questions that are marked, one mark for each."""
    return replace(task, questions=tuple(q for q, keep in zip(task.questions, kept, strict=True) if keep))


def as_plain_text(prompt: str, *answers: str) -> tuple[str, ...]:
    """A question, and answers to it, as plain text without the chat template: see :data:`LAYOUT`."""
    before, after = LAYOUT["zh" if re.search(r"[\u4e00-\u9fff]", prompt) else "en"]
    return before.format(q=prompt), *(after.format(a=answer) for answer in answers)


def asks_itself(prompt: Prompt) -> bool:
    """Whether a prompt itself says what the question is, so that the layout of plain text would say it twice."""
    return isinstance(prompt, str) and re.search(r"Question|问题", prompt) is not None


def plain(task: Task) -> Task:
    """The task asked as plain text. Questions that say themselves what the question is are left out.

    Raises ZkitError for a conversation of several messages.
    """
    if not task.chat:
        return task

    def asked(question: Question) -> Question:
        if not isinstance(question.prompt, str):
            raise ZkitError(f"a conversation of {len(question.prompt)} messages has no plain form: ask one question")
        prompt, *answers = as_plain_text(question.prompt, *question.answers)
        memory = as_plain_text(question.prompt, *question.memory)[1:]
        return replace(question, prompt=prompt, answers=tuple(answers), memory=memory)

    fit = tuple(asked(q) for q in task.questions if not asks_itself(q.prompt))
    return replace(task, questions=fit, chat=False)
