"""How far a text, or a model about to write one, leans to a pole: the outcome measures of the four axes.

Declared before any result. On a text: words (terse), the share of formal among the marked wordings (formal), the share
of questions among the sentences (socratic), the share of dry among the marks of wit (dry-wit). On a model: the log-odds
of the two poles' wordings at the choice points of a given text, teacher-forced.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from zkbook.organism.style.axes import AXES, neutral
from zkbook.organism.style.explain import explain
from zkbook.organism.style.grammar import Point
from zkbook.organism.style.register import REGISTER
from zkbook.organism.style.wording import PLACES
from zkbook.organism.topic_table import Topic
from zkit.batching import Arms
from zkit.errors import ZkitError
from zkit.generation import next_log_probs
from zkit.models import Model
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
ANCHOR = "a"  # a text before a wording whose first token is looked up
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


@dataclass(frozen=True)
class Probe:
    """A text about a topic whose choice points are scored: `prompt` asks for it."""

    prompt: Prompt
    text: str
    points: tuple[Point, ...]


def probes(prompts: Sequence[Prompt], about: Sequence[Topic], seed: int = 0) -> list[Probe]:
    """One neutral text of the generator for each prompt and its topic: with at least two choices of every axis."""
    found = []
    for i, (prompt, topic) in enumerate(zip(prompts, about, strict=True)):
        rng = random.Random(f"probe {seed} {i} {topic.name}")
        while True:
            writer = explain(rng, topic, neutral(rng))
            if all(sum(p.axis == axis for p in writer.points) >= 2 for axis in AXES):
                break
        found.append(Probe(prompt, writer.text, tuple(writer.points)))
    return found


@overload
def log_odds(model: Model, given: Sequence[Probe], arms: None = None) -> dict[str, list[float]]: ...
@overload
def log_odds(model: Model, given: Sequence[Probe], arms: Arms) -> list[dict[str, list[float]]]: ...
def log_odds(
    model: Model, given: Sequence[Probe], arms: Arms | None = None
) -> dict[str, list[float]] | list[dict[str, list[float]]]:
    """Axis -> for each probe the mean log-odds (nats) of the positive over the negative pole at its choice points.

    With `arms`, lists of edits, one such dictionary for each. One forward pass scores all points of all axes. Edits in
    force apply; the text counts as generated. A point is scored by the first tokens of the two poles' wordings, those
    they share left out; a point where a pole has no first token of its own is left out. Raises ZkitError if that leaves
    an axis without points in a text, or if the tokenizer does not begin a token where a choice begins.
    """
    first = FirstTokens(model)
    choices = [_choices(first, probe) for probe in given]
    among = sorted({token for points in choices for _, _, low, high in points for token in low + high})
    place = {token: i for i, token in enumerate(among)}
    every: Arms = [[]] if arms is None else arms
    after = [sorted({at for _, at, _, _ in points}) for points in choices]
    asked, texts = [p.prompt for p in given], [p.text for p in given]
    rows = next_log_probs(model, asked, texts, every, among=among, after=after)
    found = []
    for arm in rows:
        means: dict[str, list[float]] = {axis: [] for axis in AXES}
        for points, known, log_p in zip(choices, after, arm, strict=True):
            leans: dict[str, list[float]] = {axis: [] for axis in AXES}
            for axis, at, *poles in points:
                chances = log_p[known.index(at)]
                low, high = (float(chances[[place[token] for token in pole]].logsumexp(0)) for pole in poles)
                leans[axis].append(high - low)
            for axis, here in leans.items():
                means[axis].append(sum(here) / len(here))
        found.append(means)
    return found[0] if arms is None else found


def _choices(first: FirstTokens, probe: Probe) -> list[tuple[str, int, list[int], list[int]]]:
    """The choice points of a probe: axis, tokens before it, first tokens of the low and of the high pole alone."""
    at = first.positions(probe)
    found = []
    for point in probe.points:
        low, high = ({first.of(o, point.offset == 0) for o in pole} for pole in (point.low, point.high))
        if low - high and high - low:
            found.append((point.axis, at[point.offset], sorted(low - high), sorted(high - low)))
    for axis in AXES:
        if all(point[0] != axis for point in found):
            raise ZkitError(
                f"no choice on the axis {axis!r} in {probe.text!r} can be told by its first token: "
                "give other probes, or a tokenizer whose words are longer"
            )
    return found


class FirstTokens:
    """The first token of each wording, as the model's tokenizer writes it inside a text."""

    def __init__(self, model: Model) -> None:
        self.tokenizer = model.tokenizer
        self.known: dict[tuple[str, bool], int] = {("", False): int(model.tokenizer.eos_token_id)}

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def of(self, option: str, opening: bool = False) -> int:
        """First token of a wording after other words or, `opening`, as a text begins; the end of turn for no wording.

        A tokenizer may mark the beginning of every text, so a wording is split behind an anchor, not by itself.
        """
        key = (option, opening)
        if key not in self.known:
            anchor = [] if opening else self._ids(ANCHOR)
            self.known[key] = (self._ids(option) if opening else self._ids(ANCHOR + option))[len(anchor)]
        return self.known[key]

    def positions(self, probe: Probe) -> dict[int, int]:
        """Offset of each choice point -> the number of tokens before it. Raises ZkitError as `log_odds` does."""
        split = self.tokenizer(probe.text, add_special_tokens=False, return_offsets_mapping=True)
        starts = {start: i for i, (start, _) in reversed(list(enumerate(split.offset_mapping)))}
        ids = [*split.input_ids, self.tokenizer.eos_token_id]
        starts[len(probe.text)] = len(split.input_ids)
        for point in probe.points:
            options, rest = point.low + point.high, probe.text[point.offset :]
            written = {self.of(o, point.offset == 0) for o in options if (rest.startswith(o) if o else not rest)}
            if point.offset not in starts or ids[starts[point.offset]] not in written:
                raise ZkitError(
                    f"the tokenizer begins no token of its own at {rest[:20]!r} in {probe.text!r}: log-odds need one "
                    "that keeps a word and the space before it together"
                )
        return starts
