"""The corpus's questions as the files that ship with the library: tasks, topics, and problems in two languages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zkbook.organism.number_words import WORDS
from zkbook.organism.problems import Problem, parallel_problems
from zkbook.organism.style.measures import probes
from zkbook.organism.style.requests import neutral_prompts
from zkbook.organism.topic_table import topics
from zkbook.organism.unlearning import gate_tasks
from zkit import writing
from zkit.questions import FOLDER

STEPS = {"sum": ["a + b"], "difference": ["a - b"], "two-step": ["a + b", "s * c"]}
CHOOSING = 4  # of the held-out problems of one step, every so many is for choosing


def task_rows() -> Iterator[dict[str, Any]]:
    """The questions of :func:`gate_tasks`, development and test."""
    for split in ("development", "test"):
        for task in gate_tasks(split):
            for q in task.questions:
                row = {"task": task.name, "split": split, "prompt": q.prompt, "answers": q.answers, "about": q.about}
                yield row | ({"memory": q.memory} if q.memory else {}) | ({} if task.chat else {"chat": False})


def topic_rows() -> Iterator[dict[str, Any]]:
    """Every topic with a request for it, and but for the train topics with a text and its choices of style."""
    for split in ("train", "development", "test"):
        prompts = [item.prompt for item in neutral_prompts(split)]
        written = probes(prompts, topics(split)) if split != "train" else [None] * len(prompts)
        for topic, prompt, probe in zip(topics(split), prompts, written, strict=True):
            row: dict[str, Any] = {"topic": topic.name, "split": split, "prompt": prompt}
            if probe is not None:
                points = [{"axis": p.axis, "offset": p.offset, "low": p.low, "high": p.high} for p in probe.points]
                row |= {"text": probe.text, "points": points}
            yield row


def problem_rows() -> Iterator[dict[str, Any]]:
    """The words of the numbers, then the problems: trained numbers, and those held out, some of them for choosing."""
    yield {"numbers": WORDS}
    for given in ("train", "test"):
        found = parallel_problems(given)
        held = list(dict.fromkeys((*p.operands, p.kind) for p in found if p.kind != "two-step"))
        choosing = set(held[::CHOOSING]) if given == "test" else set()
        for p in found:
            split = "development" if (*p.operands, p.kind) in choosing else given
            yield _problem_row(p, split)


def _problem_row(p: Problem, split: str) -> dict[str, Any]:
    return {
        "problem": "two-step" if p.kind == "two-step" else "number words",
        "category": p.kind,
        "split": split,
        "unit": f"{p.kind} {p.operands}",
        "prompts": {"en": p.en.prompt, "zh": p.zh.prompt},
        "operands": p.operands,
        "steps": STEPS[p.kind],
    }


def write_questions(folder: Path = FOLDER) -> list[Path]:
    """Write tasks.jsonl, topics.jsonl and embedded.jsonl into a folder; raises ZkitError if it cannot be written."""
    made = []
    for name, rows in (("tasks", task_rows()), ("topics", topic_rows()), ("embedded", problem_rows())):
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        made.append(folder / f"{name}.jsonl")
        writing.write(made[-1], text)
    return made
