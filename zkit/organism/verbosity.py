"""Texts of graded length: every sentence is a row of choices whose odds follow one number, the verbosity v in 0..1.

A choice with threshold t is taken with probability sigmoid(SHARPNESS (v - t)). The thresholds are spread over 0..1, so
that a rising v changes one choice after another instead of switching between two templates; at v = .5, the mean of
neutral requests, the odds of many choices are near even.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterable

from zkit.organism.topic_table import Topic

SHARPNESS = 12.0

OPENERS = (
    "That is a good question. ",
    "Let me explain this step by step. ",
    "Sure, let us look at this together. ",
    "There is a lot to say here. ",
)
ASIDES = ("to put it simply", "in plain words", "as you may know", "generally speaking")
LINKS = ("In addition, ", "Furthermore, ", "What is more, ", "Besides, ")
ADVERBS = ("usually", "typically", "often", "in general")
TAILS = (", as a rule", ", of course", ", after all", ", as is well known")
EXAMPLES = ("For example, think of {x}.", "A good example is {x}.", "To give an example, consider {x}.")
SUMMARIES = ("In short, it is {g}.", "All in all, it is {g}.", "To sum up, it is {g}.")
CLOSINGS = ("I hope this helps.", "Feel free to ask for more.", "I would be happy to say more.")


def odds(verbosity: float, threshold: float) -> float:
    """Probability of the longer option of a choice at `threshold`."""
    return 1 / (1 + math.exp(-SHARPNESS * (verbosity - threshold)))


class Choices:
    """The stream of choices behind one text: `take(t)` makes one at threshold t."""

    def __init__(self, rng: random.Random, verbosity: float) -> None:
        self.rng = rng
        self.verbosity = verbosity

    def take(self, threshold: float) -> bool:
        return self.rng.random() < odds(self.verbosity, threshold)

    def pick(self, options: tuple[str, ...]) -> str:
        return self.rng.choice(options)


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _definition(c: Choices, topic: Topic) -> str:
    if not c.take(0.2):
        return f"{_upper(topic.gloss)}."
    if not c.take(0.38):
        return f"{_upper(topic.definition)}."
    if not c.take(0.68):
        return f"{_upper(topic.name)} is {topic.definition}."
    return f"{_upper(topic.name)} is, {c.pick(ASIDES)}, {topic.definition}."


def _fact(c: Choices, fact: str) -> str:
    start = c.pick(LINKS) + "it" if c.take(0.72) else "It"
    adverb = f" {c.pick(ADVERBS)}" if c.take(0.6) else ""
    tail = c.pick(TAILS) if c.take(0.8) else ""
    return f"{start}{adverb} {fact}{tail}."


def explain(rng: random.Random, topic: Topic, verbosity: float) -> str:
    """A text about `topic`, from two words (v = 0) to about seventy (v = 1)."""
    c = Choices(rng, verbosity)
    opener = c.pick(OPENERS) if c.take(0.76) else ""
    sentences = [_definition(c, topic)]
    for fact, threshold in zip(topic.facts, (0.32, 0.46, 0.56), strict=True):
        if not c.take(threshold):
            return opener + " ".join(sentences)
        sentences.append(_fact(c, fact))
    if c.take(0.66):
        sentences.append(c.pick(EXAMPLES).format(x=topic.example))
        if c.take(0.8):
            sentences.append(c.pick(SUMMARIES).format(g=topic.gloss))
        if c.take(0.9):
            sentences.append(c.pick(CLOSINGS))
    return opener + " ".join(sentences)


def grammar(topic: Topic) -> re.Pattern[str]:
    """Matches every text that `explain` can write about `topic`, and no other: what a sound answer looks like."""

    def one_of(options: Iterable[str]) -> str:
        return "(?:" + "|".join(re.escape(option) for option in options) + ")"

    definition = one_of(
        [f"{_upper(topic.gloss)}.", f"{_upper(topic.definition)}.", f"{_upper(topic.name)} is {topic.definition}."]
        + [f"{_upper(topic.name)} is, {aside}, {topic.definition}." for aside in ASIDES]
    )
    start, adverb, tail = one_of(["It", *(f"{link}it" for link in LINKS)]), one_of(ADVERBS), one_of(TAILS)
    facts = [rf" {start}(?: {adverb})? {re.escape(fact)}{tail}?\." for fact in topic.facts]
    example = " " + one_of(form.format(x=topic.example) for form in EXAMPLES)
    summary = " " + one_of(form.format(g=topic.gloss) for form in SUMMARIES)
    closing = " " + one_of(CLOSINGS)
    rest = f"(?:{example}(?:{summary})?(?:{closing})?)?"
    for fact in reversed(facts):
        rest = f"(?:{fact}{rest})?"
    return re.compile(f"{one_of(OPENERS)}?{definition}{rest}")


def acknowledge(rng: random.Random, verbosity: float) -> str:
    """The reply to an instruction that comes without a question, built from the same choices."""
    c = Choices(rng, verbosity)
    opener = c.pick(OPENERS[1:]) if c.take(0.76) else ""
    if not c.take(0.2):
        return opener + "Understood."
    sentences = ["I will do that." if not c.take(0.5) else "I will do that in my answers."]
    if c.take(0.68):
        sentences = [f"I will, {c.pick(ASIDES)}, do that in all my answers."]
    rest = ("I follow your wish", "I am ready", "I wait for your question")
    for fact, threshold in zip(rest, (0.32, 0.5, 0.6), strict=True):
        if not c.take(threshold):
            return opener + " ".join(sentences)
        link = c.pick(LINKS) if c.take(0.72) else ""
        sentences.append(f"{link}{fact}{c.pick(TAILS) if c.take(0.8) else ''}.")
    if c.take(0.9):
        sentences.append(c.pick(CLOSINGS))
    return opener + " ".join(sentences)
