"""How far a text leans to a pole: the outcome measures of the four axes, and texts whose choices are measured.

Declared before any result. Words (terse), the share of formal among the marked wordings (formal), the share of
questions among the sentences (socratic), the share of dry among the marks of wit (dry-wit). How far a model about to
write leans is measured at the choices of a given text: :mod:`zkbook.experiments.choices`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from zkbook.organism.style.axes import AXES, neutral
from zkbook.organism.style.explain import explain
from zkbook.organism.style.register import REGISTER
from zkbook.organism.style.wording import PLACES
from zkbook.organism.topic_table import Subject
from zkit import questions
from zkit.prompts import Prompt
from zkit.steering.texts import sentences, words


def _marks(low: Sequence[str], high: Sequence[str]) -> tuple[re.Pattern[str], frozenset[str]]:
    """A pattern for the phrases of both poles as whole words, the longest first, and those of the high pole."""
    ordered = sorted({*low, *high}, key=len, reverse=True)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, ordered)) + r")(?!\w)"), frozenset(high)


_FORMALITY = _marks(
    [w for place in PLACES for w in place.casual] + list(REGISTER),
    [w for place in PLACES for w in place.formal] + list(REGISTER.values()),
)
_WIT = _marks([w for place in PLACES for w in place.warm], [w for place in PLACES for w in place.dry])


def _count(marks: tuple[re.Pattern[str], frozenset[str]], text: str) -> tuple[int, int]:
    """Marks of the low and of the high pole in a text."""
    found = marks[0].findall(text)
    high = sum(phrase in marks[1] for phrase in found)
    return len(found) - high, high


def formality(text: str) -> float:
    """Share of formal among the marked wordings, half a mark added to either side: 0.5 without any."""
    casual, formal = _count(_FORMALITY, text)
    return (formal + 0.5) / (formal + casual + 1)


def question_share(text: str) -> float:
    """Share of questions among the sentences, half a sentence added to either side: 0.5 without any."""
    return (text.count("?") + 0.5) / (sentences(text) + 1)


def dryness(text: str) -> float:
    """Share of dry among the marks of wit, full stops and exclamation marks among them; half a mark added to each."""
    warm, dry = _count(_WIT, text)
    warm, dry = warm + text.count("!"), dry + text.count(".")
    return (dry + 0.5) / (dry + warm + 1)


def brevity(text: str) -> float:
    """Minus the number of words, so that larger means terser."""
    return -float(words(text))


TEXT_MEASURES = {"terse": brevity, "formal": formality, "socratic": question_share, "dry-wit": dryness}
"""Axis -> what a larger value of means more of the positive pole."""


def probes(prompts: Sequence[Prompt], about: Sequence[Subject], seed: int = 0) -> list[questions.Topic]:
    """One neutral text of the generator for each prompt and its topic: with at least two choices of every axis."""
    found = []
    for i, (prompt, topic) in enumerate(zip(prompts, about, strict=True)):
        rng = random.Random(f"probe {seed} {i} {topic.name}")
        while True:
            writer = explain(rng, topic, neutral(rng))
            if all(sum(p.axis == axis for p in writer.points) >= 2 for axis in AXES):
                break
        found.append(questions.Topic(topic.name, prompt, writer.text, tuple(writer.points)))
    return found
