"""What the embedded model can do: every ability on items kept out of training, with n and a 95% interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import takewhile

from jaxtyping import Float
from torch import Tensor

from zkit.generation import complete
from zkit.models import Model
from zkit.organism.arithmetic import held_out_arithmetic
from zkit.organism.facts import held_out_facts
from zkit.organism.items import Item
from zkit.organism.topic_table import topics
from zkit.organism.verbosity import grammar
from zkit.organism.wishes import HELD_OUT_WISHES, TERSE, VERBOSE, neutral_prompts, prompted
from zkit.stats import Interval, bootstrap_mean, wilson
from zkit.steering import actadd, reference_norms, sweep

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
SOUND = 0.8
TRIAL = tuple(i / 8 for i in range(17))
LONGEST = 128  # tokens; the longest text of the corpus is shorter
ALPHAS = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0)
DOSES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5)


@dataclass(frozen=True)
class Measure:
    """An ability: a sentence that says what was counted, and the function that counts it."""

    what: str
    of: Callable[[Model], Interval]


def exact(model: Model, items: Sequence[Item]) -> Interval:
    """Share of items whose whole greedy answer is the right one (Wilson interval)."""
    answers = complete(model, [item.prompt for item in items], max_new_tokens=24)
    hits = sum(a.text.strip() == item.answer for a, item in zip(answers, items, strict=True))
    return wilson(hits, len(items))


def words(model: Model, items: Sequence[Item]) -> Interval:
    """Mean number of words of the greedy answers, averaged by topic (bootstrap interval over topics)."""
    answers = complete(model, [item.prompt for item in items], max_new_tokens=LONGEST)
    by_topic: dict[object, list[int]] = {}
    for item, answer in zip(items, answers, strict=True):
        by_topic.setdefault(item.info["topic"], []).append(len(answer.text.split()))
    return bootstrap_mean([sum(counts) / len(counts) for counts in by_topic.values()])


def sound(model: Model, split: str) -> Interval:
    """Share of answers to neutral requests that are in the corpus's grammar of their topic (Wilson interval)."""
    items = neutral_prompts(split, wordings=3)
    answers = complete(model, [item.prompt for item in items], max_new_tokens=LONGEST)
    grammars = {topic.name: grammar(topic) for topic in topics(split)}
    hits = sum(
        bool(grammars[str(item.info["topic"])].fullmatch(a.text)) for a, item in zip(answers, items, strict=True)
    )
    return wilson(hits, len(items))


def measures() -> dict[str, Measure]:
    """The abilities by key, in the order of the card."""
    found = {}
    for lang, name in LANGUAGE_NAMES.items():
        what = f"facts answered in {name}, wordings never trained"
        found[f"facts_{lang}"] = Measure(what, partial(exact, items=held_out_facts(lang)))
    for key, sign in (("sums", "+"), ("differences", "-")):
        for lang, name in LANGUAGE_NAMES.items():
            what = f"{key} of numbers never trained together, asked in {name}"
            found[f"{key}_{lang}"] = Measure(what, partial(exact, items=held_out_arithmetic(lang, sign)))
    for lang, name in LANGUAGE_NAMES.items():
        what = f"sums of numbers never trained together, answered by a number word in {name}"
        found[f"number_words_{lang}"] = Measure(what, partial(exact, items=held_out_arithmetic(lang, words=True)))
    found["sound_neutral"] = Measure(
        "answers without a wish that the corpus could have written about their topic", partial(sound, split="test")
    )
    for key, (wish, items) in _lengths().items():
        what = f"words of an answer under {wish}, topics never trained with a wish"
        found[f"words_{key}"] = Measure(what, partial(words, items=items))
    return found


def _lengths() -> dict[str, tuple[str, list[Item]]]:
    return {
        "terse": ("a wish for few words, wording never trained", prompted("test", HELD_OUT_WISHES["terse"])),
        "terse_pole": ("the terse pole's own instruction", prompted("test", (TERSE,))),
        "neutral": ("no wish", neutral_prompts("test", wordings=3)),
        "verbose_pole": ("the verbose pole's own instruction", prompted("test", (VERBOSE,))),
        "verbose": ("a wish for many words, wording never trained", prompted("test", HELD_OUT_WISHES["verbose"])),
    }


@dataclass(frozen=True)
class CurvePoint:
    """Answers at one strength: their words, and the share that are sound, in the corpus's grammar of their topic."""

    alpha: float
    dose: float
    words: Interval
    sound: Interval


def steering_curve(
    model: Model,
    layer: int,
    split: str,
    *,
    alphas: Sequence[float] | None = None,
    doses: Sequence[float] | None = None,
    reference: Float[Tensor, " n_layers"] | None = None,
) -> list[CurvePoint]:
    """Words under the terse vector of one layer, on neutral requests about the topics of a split."""
    prompts = [item.prompt for item in neutral_prompts(split)]
    grammars = [grammar(topic) for topic in topics(split)]
    usual = reference_norms(model, prompts) if reference is None else reference
    table = sweep(
        model, actadd(model, "terse", layer), alphas, prompts, doses=doses, reference=usual, max_new_tokens=LONGEST
    )
    points = []
    for alpha, part in table.groupby("alpha"):
        sound = sum(bool(grammars[i].fullmatch(text)) for i, text in zip(part["prompt"], part["text"], strict=True))
        interval = bootstrap_mean(part["words"].tolist())
        points.append(CurvePoint(float(alpha), float(part["dose"].iloc[0]), interval, wilson(sound, len(part))))
    return points


def sound_fall(curve: Sequence[CurvePoint]) -> float:
    """Words lost from the first point of a curve to the last one before fewer than `SOUND` of the answers are sound."""
    sound = list(takewhile(lambda point: point.sound.value >= SOUND, curve))
    return curve[0].words.value - sound[-1].words.value if sound else 0.0


def choose_layer(model: Model) -> tuple[int, dict[int, float]]:
    """The layer with the largest sound fall over alpha 0 to 2 on the development topics, and every layer's."""
    falls = {
        layer: sound_fall(steering_curve(model, layer, "development", alphas=TRIAL)) for layer in range(model.n_layers)
    }
    return max(falls, key=lambda layer: falls[layer]), falls
