"""Do wishes work, and do the measures see it: every axis under its two poles, on topics never trained with a wish."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from zkbook.experiments.choices import log_odds
from zkbook.organism.items import Item
from zkbook.organism.style.axes import AXES, Style
from zkbook.organism.style.explain import could_write, document, explain
from zkbook.organism.style.grammar import likelihood
from zkbook.organism.style.measures import TEXT_MEASURES, probes
from zkbook.organism.style.requests import neutral_prompts, prompted
from zkbook.organism.style.wishes import HELD_OUT_WISHES, poles
from zkbook.organism.topic_table import topics
from zkit.generation import complete
from zkit.models import Model
from zkit.stats import Interval, auc, bootstrap_mean, wilson

LONGEST = 144  # tokens; the longest text of the corpus is shorter


Condition = tuple[str, int]
"""An axis and the pole (0 negative, 1 positive) that a request wishes for; NO_WISH for none."""
NO_WISH: Condition = ("", 0)


@dataclass(frozen=True)
class Asked:
    """Requests of one condition, one for each topic: the answers, and how the model leans on every axis."""

    items: list[Item]
    texts: list[str]
    log_odds: dict[str, list[float]]


@dataclass(frozen=True)
class Outcome:
    """An axis under wishes for its negative pole, none, and its positive pole.

    `text` and `log_odds` are means over topics of the axis's two measures in this order; the AUCs say how well a
    measure tells single texts (or topics) of the two poles apart, and the gains are means over topics of the positive
    pole's measure minus the negative one's. `sound` are the shares of texts that the corpus could have held.
    """

    text: tuple[Interval, Interval, Interval]
    text_auc: Interval
    text_gain: Interval
    log_odds: tuple[Interval, Interval, Interval]
    log_odds_auc: Interval
    log_odds_gain: Interval
    sound: tuple[Interval, Interval, Interval]


def texts(model: Model, items: Sequence[Item], longest: int = LONGEST) -> list[str]:
    """Greedy answers of at most `longest` tokens."""
    return [a.text for a in complete(model, [item.prompt for item in items], max_new_tokens=longest)]


def sound(found: Sequence[str], items: Sequence[Item]) -> Interval:
    """Share of texts that the corpus could have held about their item's topic (Wilson interval)."""
    by_name = {t.name: t for split in ("train", "development", "test") for t in topics(split)}
    hits = sum(could_write(by_name[str(i.info["topic"])], text) for text, i in zip(found, items, strict=True))
    return wilson(hits, len(items))


def one_wish_each(split: str, wishes: Sequence[str]) -> list[Item]:
    """Every topic of a split with one of the wishes, in turn: as many independent texts as topics."""
    every = prompted(split, tuple(wishes))
    return [every[i * len(wishes) + i % len(wishes)] for i in range(len(topics(split)))]


def conditions(split: str = "test", own: bool = False) -> dict[Condition, list[Item]]:
    """Requests without a wish and for both poles of every axis: held-out wishes, or with `own` the poles' own."""
    found = {NO_WISH: neutral_prompts(split)}
    for axis in AXES:
        for pole in (0, 1):
            wishes = (poles(axis)[pole],) if own else HELD_OUT_WISHES[axis, pole]
            found[axis, pole] = one_wish_each(split, wishes)
    return found


def ask(
    model: Model, split: str = "test", own: bool = False, n_topics: int | None = None, longest: int = LONGEST
) -> dict[Condition, Asked]:
    """The answers and log-odds of every condition, about all topics of a split or its first `n_topics`."""
    asked = {condition: items[:n_topics] for condition, items in conditions(split, own).items()}
    about = topics(split)[:n_topics]
    flat = texts(model, [item for items in asked.values() for item in items], longest)
    given = [probe for items in asked.values() for probe in probes([item.prompt for item in items], about)]
    leans = log_odds(model, given)
    found = {}
    for i, (condition, items) in enumerate(asked.items()):
        mine = slice(i * len(about), (i + 1) * len(about))
        found[condition] = Asked(items, flat[mine], {axis: values[mine] for axis, values in leans.items()})
    return found


def outcome(axis: str, asked: Mapping[Condition, Asked]) -> Outcome:
    """What the wishes for an axis did, in both of its measures."""
    order = (asked[axis, 0], asked[NO_WISH], asked[axis, 1])
    marks = [[TEXT_MEASURES[axis](text) for text in one.texts] for one in order]
    leans = [one.log_odds[axis] for one in order]
    return Outcome(
        (bootstrap_mean(marks[0]), bootstrap_mean(marks[1]), bootstrap_mean(marks[2])),
        auc(marks[2], marks[0]),
        _gain(marks),
        (bootstrap_mean(leans[0]), bootstrap_mean(leans[1]), bootstrap_mean(leans[2])),
        auc(leans[2], leans[0]),
        _gain(leans),
        (sound(order[0].texts, order[0].items), sound(order[1].texts, order[1].items),
         sound(order[2].texts, order[2].items)),
    )  # fmt: skip


def _gain(measured: Sequence[Sequence[float]]) -> Interval:
    return bootstrap_mean([high - low for low, high in zip(measured[0], measured[2], strict=True)])


def calibration(axis: str, split: str = "test", draws: int = 5) -> tuple[Interval, Interval]:
    """How well the axis's text measure tells the generator's texts at levels 0.3 and 0.7 apart, and how well it could.

    Two AUCs: of the measure, and of the likelihood ratio of the two levels, which no measure of the text can beat
    (Neyman and Pearson). The other axes are neutral; no model is asked.
    """
    low, high = (Style().at(axis, level) for level in (0.3, 0.7))
    marks: list[list[float]] = []
    ratios: list[list[float]] = []
    for style in (low, high):
        rng = random.Random(f"calibration {axis} {style.levels[axis]}")
        found = [(topic, explain(rng, topic, style).text) for topic in topics(split) for _ in range(draws)]
        marks.append([TEXT_MEASURES[axis](text) for _, text in found])
        ratios.append(
            [log(likelihood(document(t), text, high) / likelihood(document(t), text, low)) for t, text in found]
        )
    return auc(marks[1], marks[0]), auc(ratios[1], ratios[0])
