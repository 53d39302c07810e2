"""What the model writes about a topic: a definition, facts, analogies, an example, as one tree of graded choices.

Thresholds on the terse axis decide how much is said; every sentence is a statement or a question, plain or formal,
enthusiastic or dry, each by its own choices.
"""

from __future__ import annotations

import random
from functools import cache

from zkbook.organism.analogies import LENSES
from zkbook.organism.style.axes import Style
from zkbook.organism.style.grammar import END, Fixed, Fork, Node, Pick, Seq, Through, Writer, likelihood, sample
from zkbook.organism.style.register import in_register
from zkbook.organism.style.wording import (
    ADVERB,
    ASIDE,
    ASK_EXAMPLE,
    ASK_MORE,
    ASK_WHAT,
    ASK_WHY,
    CLOSING,
    COPULA,
    EXAMPLE,
    LINK,
    OPENER,
    SUMMARY,
    TAIL,
)  # fmt: skip
from zkbook.organism.topic_table import Subject

STOP_AFTER = (0.68, 0.55, 0.45)
"""Thresholds of the terse axis at which a text ends before its first, second and third fact."""

FULL_STOP = Fork("dry-wit", 0.5, Fixed("!"), Fixed("."))


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]


def _definition(topic: Subject, lead: str) -> Node:
    name, bare = Fixed(lead + _upper(topic.name)), in_register(topic.definition)
    with_aside = Seq((Fixed(" is,"), ASIDE.node(" "), Fixed(",")))
    full = Seq((name, Fork("terse", 0.32, with_aside, COPULA.node(" ")), bare))
    gloss = Fixed(lead + _upper(topic.gloss))
    statement = Seq((Fork("terse", 0.66, full, gloss), FULL_STOP))
    asked = Seq((ASK_WHAT.node(lead), bare, Fixed("?")))
    question = Fork("terse", 0.66, asked, Seq((gloss, Fixed("?"))))
    return Fork("socratic", 0.55, statement, question)


def _fact(fact: str) -> Node:
    said = in_register(fact)
    start = Fork("terse", 0.28, Seq((LINK.node(" "), Fixed(" it"))), Fixed(" It"))
    predicate = Fork("terse", 0.4, Seq((ADVERB.node(" "), said)), said)
    end = Fork("terse", 0.2, Seq((Fixed(","), TAIL.node(" "), FULL_STOP)), FULL_STOP)
    return Fork("socratic", 0.5, Seq((start, predicate, end)), Seq((ASK_WHY.node(" "), Fixed(" it"), said, Fixed("?"))))


def _ending(topic: Subject) -> Node:
    closing = Fork("socratic", 0.45, CLOSING.node(" "), ASK_MORE.node(" "))
    closed = Fork("terse", 0.1, closing, END)
    summary = Fork("terse", 0.2, Seq((SUMMARY.node(" "), Fixed(f" {topic.gloss}"), FULL_STOP, closed)), END)
    example = Fork(
        "socratic",
        0.6,
        Seq((EXAMPLE.node(" "), Fixed(f" {topic.example}"), FULL_STOP)),
        Seq((ASK_EXAMPLE.node(" "), Fixed(f" {topic.example}?"))),
    )
    return Fork("terse", 0.34, Seq((example, summary)), END)


def _analogies() -> dict[str, Node]:
    return {
        name: Seq((Fixed(" It is like"), Pick(tuple(Fixed(f" {clause}") for clause in clauses)), FULL_STOP))
        for name, clauses in LENSES.items()
    }


@cache
def document(topic: Subject) -> Node:
    """The tree of all texts about `topic`."""
    analogies = _analogies()
    rest = _ending(topic)
    for fact, threshold in zip(reversed(topic.facts), reversed(STOP_AFTER), strict=True):
        rest = Fork("terse", threshold, Seq((_fact(fact), Through(analogies, rest))), END)
    rest = Through(analogies, rest)
    opened = Seq((OPENER.node(), _definition(topic, " "), rest))
    return Fork("terse", 0.24, opened, Seq((_definition(topic, ""), rest)))


def explain(rng: random.Random, topic: Subject, style: Style) -> Writer:
    """A text about `topic` in `style`, from two words (terse = 1) to about eighty (terse = 0)."""
    return sample(document(topic), rng, style)


def could_write(topic: Subject, text: str) -> bool:
    """Whether the corpus could have held `text` as an answer about `topic`: what a sound answer looks like."""
    return likelihood(document(topic), text, Style()) > 0
