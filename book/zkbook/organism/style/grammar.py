"""Texts as trees of choices: one tree samples a text, tells how likely a text is, and finds its choice points.

A node writes itself (`write`), gives the ends it can reach in a text with their probabilities (`spans`), and lists the
strings it can start with (`firsts`). A space belongs to the word that follows it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zkbook.organism.style.axes import Style, odds
from zkit.questions import Point


@dataclass
class Writer:
    """A text in the making, with the choice points passed so far."""

    rng: random.Random
    style: Style
    text: str = ""
    points: list[Point] = field(default_factory=list)


class Node(Protocol):
    def write(self, w: Writer) -> None: ...
    def spans(self, text: str, start: int, style: Style) -> dict[int, float]: ...
    def firsts(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Fixed:
    """These characters."""

    text: str

    def write(self, w: Writer) -> None:
        w.text += self.text

    def spans(self, text: str, start: int, style: Style) -> dict[int, float]:
        return {start + len(self.text): 1.0} if text.startswith(self.text, start) else {}

    def firsts(self) -> tuple[str, ...]:
        return (self.text,)


END = Fixed("")


@dataclass(frozen=True)
class Seq:
    """One part after the other; the first part is never empty."""

    parts: tuple[Node, ...]

    def write(self, w: Writer) -> None:
        for part in self.parts:
            part.write(w)

    def spans(self, text: str, start: int, style: Style) -> dict[int, float]:
        ends = {start: 1.0}
        for part in self.parts:
            ends = _sum([(p, part.spans(text, end, style)) for end, p in ends.items()])
        return ends

    def firsts(self) -> tuple[str, ...]:
        return self.parts[0].firsts()


@dataclass(frozen=True)
class Pick:
    """One of several nodes, all equally likely."""

    options: tuple[Node, ...]

    def write(self, w: Writer) -> None:
        w.rng.choice(self.options).write(w)

    def spans(self, text: str, start: int, style: Style) -> dict[int, float]:
        return _sum([(1 / len(self.options), option.spans(text, start, style)) for option in self.options])

    def firsts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(first for option in self.options for first in option.firsts()))


@dataclass(frozen=True)
class Fork:
    """`high` with the odds of `axis` at `threshold`, else `low`."""

    axis: str
    threshold: float
    low: Node
    high: Node

    def write(self, w: Writer) -> None:
        w.points.append(Point(len(w.text), self.axis, self.low.firsts(), self.high.firsts()))
        taken = w.rng.random() < odds(w.style.levels[self.axis], self.threshold)
        (self.high if taken else self.low).write(w)

    def spans(self, text: str, start: int, style: Style) -> dict[int, float]:
        p = odds(style.levels[self.axis], self.threshold)
        return _sum([(1 - p, self.low.spans(text, start, style)), (p, self.high.spans(text, start, style))])

    def firsts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.low.firsts() + self.high.firsts()))


@dataclass(frozen=True)
class Through:
    """Now and then something seen through a lens, then `rest`: often through the wished one, rarely through any."""

    lenses: Mapping[str, Node]
    rest: Node
    wished: float = 0.6
    unwished: float = 0.04

    def write(self, w: Writer) -> None:
        if w.rng.random() < (self.unwished if w.style.lens is None else self.wished):
            name = w.rng.choice(tuple(self.lenses)) if w.style.lens is None else w.style.lens
            self.lenses[name].write(w)
        self.rest.write(w)

    def spans(self, text: str, start: int, style: Style) -> dict[int, float]:
        p = self.unwished if style.lens is None else self.wished
        seen = self.lenses if style.lens is None else {style.lens: self.lenses[style.lens]}
        after = _sum(
            [(p / len(seen), node.spans(text, start, style)) for node in seen.values()] + [(1 - p, {start: 1})]
        )
        return _sum([(q, self.rest.spans(text, end, style)) for end, q in after.items()])

    def firsts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(f for n in (*self.lenses.values(), self.rest) for f in n.firsts()))


def _sum(parts: Sequence[tuple[float, Mapping[int, float]]]) -> dict[int, float]:
    total: dict[int, float] = {}
    for weight, ends in parts:
        for end, p in ends.items():
            total[end] = total.get(end, 0.0) + weight * p
    return total


def sample(node: Node, rng: random.Random, style: Style) -> Writer:
    """A text of `node` in `style`, with its choice points."""
    writer = Writer(rng, style)
    node.write(writer)
    return writer


def likelihood(node: Node, text: str, style: Style) -> float:
    """The probability that `node` writes exactly `text` in `style`; 0 if it cannot."""
    return node.spans(text, 0, style).get(len(text), 0.0)
