"""Do wishes work, and do the measures see it: every axis under its two poles, on topics never trained with a wish."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from zkit.generation import complete
from zkit.models import Model
from zkit.organism.items import Item
from zkit.organism.style.axes import AXES, Style
from zkit.organism.style.explain import could_write, document, explain
from zkit.organism.style.grammar import likelihood
from zkit.organism.style.measures import TEXT_MEASURES, log_odds, probes
from zkit.organism.style.requests import neutral_prompts, prompted
from zkit.organism.style.wishes import HELD_OUT_WISHES, poles
from zkit.organism.topic_table import topics
from zkit.stats import Interval, auc, bootstrap_mean, wilson

LONGEST = 144  # tokens; the longest text of the corpus is shorter


@dataclass(frozen=True)
class Outcome:
    """An axis under wishes for its negative pole, none, and its positive pole.

    `text` and `log_odds` are means over topics of the axis's two measures in this order; the AUCs say how well a
    measure tells single texts (or topics) of the two poles apart.
    """

    text: tuple[Interval, Interval, Interval]
    text_auc: Interval
    log_odds: tuple[Interval, Interval, Interval]
    log_odds_auc: Interval


def texts(model: Model, items: Sequence[Item]) -> list[str]:
    """Greedy answers."""
    return [a.text for a in complete(model, [item.prompt for item in items], max_new_tokens=LONGEST)]


def sound(found: Sequence[str], items: Sequence[Item]) -> Interval:
    """Share of texts that the corpus could have held about their item's topic (Wilson interval)."""
    by_name = {t.name: t for split in ("train", "development", "test") for t in topics(split)}
    hits = sum(could_write(by_name[str(i.info["topic"])], text) for text, i in zip(found, items, strict=True))
    return wilson(hits, len(items))


def one_wish_each(split: str, wishes: Sequence[str]) -> list[Item]:
    """Every topic of a split with one of the wishes, in turn: as many independent texts as topics."""
    return [prompted(split, tuple(wishes))[i * len(wishes) + i % len(wishes)] for i in range(len(topics(split)))]


def outcomes(model: Model, split: str = "test", own: bool = False) -> dict[str, Outcome]:
    """Axis -> its outcome under held-out wishes, or with `own` under the poles' own instructions."""
    plain = neutral_prompts(split)
    asked = {
        (axis, pole): one_wish_each(split, (poles(axis)[pole],) if own else HELD_OUT_WISHES[axis, pole])
        for axis in AXES
        for pole in (0, 1)
    }
    conditions = {("", 0): plain, **asked}
    about = topics(split)
    written, odds = {}, {}
    flat = texts(model, [item for items in conditions.values() for item in items])
    for i, (key, items) in enumerate(conditions.items()):
        written[key] = flat[i * len(about) : (i + 1) * len(about)]
        odds[key] = log_odds(model, probes([item.prompt for item in items], about))
    found = {}
    for axis in AXES:
        order = ((axis, 0), ("", 0), (axis, 1))
        marks = [[TEXT_MEASURES[axis](text) for text in written[key]] for key in order]
        leans = [odds[key][axis] for key in order]
        found[axis] = Outcome(
            (bootstrap_mean(marks[0]), bootstrap_mean(marks[1]), bootstrap_mean(marks[2])),
            auc(marks[2], marks[0]),
            (bootstrap_mean(leans[0]), bootstrap_mean(leans[1]), bootstrap_mean(leans[2])),
            auc(leans[2], leans[0]),
        )
    return found


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
