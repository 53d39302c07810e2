"""The correct answer of a problem, also after a swap, from a small causal model written as code.

Source: Geiger et al. 2021, "Causal Abstractions of Neural Networks". The counterfactual answer of an interchange is
computed here from the variables that were moved; it is never written by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zkit.errors import ZkitError

VARIABLES = ("operands", "language", "intermediate", "result", "answer")
"""In causal order: each follows from variables before it."""


@dataclass(frozen=True)
class CausalModel:
    """A causal model: operands -> intermediate -> result, and result and language -> answer.

    intermediate: operands -> the intermediate result of a problem of two steps (None: one step).
    result: (intermediate, operands) -> the content of the answer. say: (result, language) -> its text.
    """

    name: str
    result: Callable[[Any, Any], Any]
    say: Callable[[Any, str], str]
    intermediate: Callable[[Any], Any] | None = None

    def run(self, operands: Any, language: str, /, **fixed: Any) -> dict[str, Any]:
        """The values of all variables. Those in ``fixed`` have the given values, whatever the variables before them.

        Raises ZkitError for an unknown variable, the intermediate of a problem of one step, and a problem without an
        answer in ``language``.
        """
        for name in fixed:
            if name not in VARIABLES or (name == "intermediate" and self.intermediate is None):
                raise ZkitError(f"{self.name} has no variable {name!r} to set; choose one of {', '.join(VARIABLES)}")
        found = {"operands": operands, "language": language} | fixed
        if "intermediate" not in fixed:
            found["intermediate"] = None if self.intermediate is None else self.intermediate(found["operands"])
        if "result" not in fixed:
            found["result"] = self.result(found["intermediate"], found["operands"])
        if "answer" not in fixed:
            found["answer"] = self.say(found["result"], found["language"])
        if not found["answer"]:
            raise ZkitError(f"{self.name} {operands!r} has no answer in {found['language']!r}; leave the problem out")
        return found


@dataclass(frozen=True)
class Problem:
    """One problem in two languages: its prompts, and the causal model that answers it.

    prompts: by language ("en", "zh"). chat: whether they go through the chat template, or are plain text.
    unit: a name shared by problems that are not independent, such as a sum in both orders and all wordings. Splits
    keep them together, and intervals draw them together.
    """

    causal: CausalModel
    operands: Any
    prompts: dict[str, str]
    chat: bool = True
    category: str = ""
    unit: str = ""

    def run(self, language: str) -> dict[str, Any]:
        return self.causal.run(self.operands, language)

    def answer(self, language: str) -> str:
        return str(self.run(language)["answer"])

    @property
    def result(self) -> Any:
        return self.run("en")["result"]

    @property
    def kind(self) -> str:
        return self.causal.name

    @property
    def one_step(self) -> bool:
        """Whether the result follows at once from the operands, without an intermediate one."""
        return self.causal.intermediate is None


def by_category(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    """The problems of each category, in their order."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.category, []).append(problem)
    return found


def swapped(target: Problem, source: Problem, variables: Sequence[str], *, language: str, source_language: str) -> str:
    """The answer to ``target``, asked in ``language``, after some ``variables`` were set to their values in ``source``,
    asked in ``source_language``.

    swapped(t, s, ["result"], language="en", source_language="zh") is the source's result as an English word; with
    ["language"] it is the target's result as a Chinese word; with ["intermediate"] an answer of neither problem.
    Raises ZkitError for unknown variables or none, the intermediate of a problem of one step, and a problem without an
    answer in its language.
    """
    unknown = [name for name in variables if name not in VARIABLES]
    if unknown or not variables:
        raise ZkitError(f"no variable {unknown[:1] or 'named'}; choose some of {', '.join(VARIABLES)}")
    values = source.run(source_language)
    return str(target.causal.run(target.operands, language, **{name: values[name] for name in variables})["answer"])


@dataclass(frozen=True)
class Swaps:
    """Targets asked in one language, each with a source, asked in the other, whose state is moved into it."""

    targets: list[Problem]
    sources: list[Problem]
    language: str = "en"
    source_language: str = "zh"

    @property
    def prompts(self) -> list[str]:
        return [problem.prompts[self.language] for problem in self.targets]

    @property
    def source_prompts(self) -> list[str]:
        return [problem.prompts[self.source_language] for problem in self.sources]

    @property
    def twin_prompts(self) -> list[str]:
        """The prompts of the targets in the language of the sources."""
        return [problem.prompts[self.source_language] for problem in self.targets]

    @property
    def units(self) -> tuple[list[str], list[str]]:
        """The units of the targets and of the sources, which are drawn for intervals over pairs.

        Raises ZkitError for a problem without a unit: all such problems would count as the same one.
        """
        for problem in (*self.targets, *self.sources):
            if not problem.unit:
                raise ZkitError(
                    f"{problem.causal.name} {problem.operands!r} names no unit; give Problem(..., unit=...)"
                )
        return [problem.unit for problem in self.targets], [problem.unit for problem in self.sources]

    def answers(self, *variables: str) -> list[str]:
        """Each target's answer with these variables set to their values in its source; without any, its own answer."""
        languages = {"language": self.language, "source_language": self.source_language}
        return [
            swapped(target, source, variables, **languages) if variables else target.answer(self.language)
            for target, source in zip(self.targets, self.sources, strict=True)
        ]


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
