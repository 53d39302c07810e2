"""Planted topic vectors: one lens wished for minus the others, steered into answers that nobody wished a lens of.

The positive case for lens bleed: a vector that is known to be about one world has to be seen by that world's words and
by no other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float
from torch import Tensor

from zkbook.organism.analogies import lens
from zkbook.organism.style.explain import could_write
from zkbook.organism.style.outcomes import LONGEST
from zkbook.organism.style.requests import QUESTIONS, neutral_prompts
from zkbook.organism.style.wishes import LENS_NAMES, LENS_WISHES
from zkbook.organism.topic_table import SPLITS, topics
from zkit.errors import ZkitError
from zkit.models import Model
from zkit.prompts import Prompt
from zkit.recording import mean_state
from zkit.steering import SteeringVector, alpha_for, reference_norms
from zkit.steering.topic_lenses import UNSTEERED, bleed, score_bleed

N_TOPICS = 24
"""Trained topics that a wish for a lens is put to: the first so many."""

DOSES = (0.2, 0.35, 0.5, 0.7, 1.0)
SOUND = 0.75
"""Share of answers that the corpus could have held, below which steering has broken the model."""


def lens_requests(name: str) -> list[str]:
    """Wishes for a lens with questions about trained topics. Raises ZkitError for an unknown lens."""
    lens(name)
    return [
        f"{LENS_WISHES[i % len(LENS_WISHES)].format(l=LENS_NAMES[name])} "
        f"{QUESTIONS[i % len(QUESTIONS)].format(t=topic.name)}"
        for i, topic in enumerate(topics("train")[:N_TOPICS])
    ]


def lens_vectors(model: Model, layers: Sequence[int] | None = None) -> dict[str, SteeringVector]:
    """For each lens the mean state of the requests that call for it, minus the mean of the other lenses' means.

    What all wishes share, "make a comparison", cancels; the questions are the same, so the topic cancels too. The state
    is that of the last token, from which the answer starts. Not normalised. Raises as recording does.
    """
    several = list(range(model.n_layers)) if layers is None else list(layers)
    means = {name: mean_state(model, lens_requests(name), "last", layers=several) for name in LENS_NAMES}
    total = sum(means.values())  # [n_layers, d_model]
    found = {}
    for name, mean in means.items():
        v = mean - (total - mean) / (len(means) - 1)
        note = {"method": "lens", "model": model.id, "lens": name}
        found[name] = SteeringVector({layer: v[i].clone() for i, layer in enumerate(several)}, note)
    return found


@dataclass(frozen=True)
class Setting:
    """A layer and dose for a lens; its own drift, the largest of another lens, and the share of sound answers there."""

    layer: int
    dose: float
    own: float
    other: float
    sound: float


def settings(
    model: Model,
    vectors: Mapping[str, SteeringVector],
    doses: Sequence[float] = DOSES,
    reference: Float[Tensor, " n_layers"] | None = None,
    n_topics: int | None = None,
    longest: int = 56,
) -> dict[str, Setting]:
    """For each lens the layer of its vector and the dose at which it is seen best on the development topics.

    That is: the largest own drift less the largest drift of another lens, where at least a share SOUND of the answers
    is sound. It looks at no test topic; `n_topics` takes the first few. Texts have at most `longest` tokens.
    Raises ZkitError if no setting leaves the answers sound.
    """
    usual = reference_norms(model) if reference is None else reference
    prompts = [item.prompt for item in neutral_prompts("development")[:n_topics]]
    return {name: _best(model, name, v, doses, usual, prompts, longest) for name, v in vectors.items()}


def _best(
    model: Model,
    name: str,
    v: SteeringVector,
    doses: Sequence[float],
    usual: Float[Tensor, " n_layers"],
    prompts: Sequence[Prompt],
    longest: int,
) -> Setting:
    places = {f"{layer} {dose}": (layer, dose) for layer in v.layers for dose in doses}
    arms = {key: (v.at(layer), alpha_for(dose, v.at(layer), usual)) for key, (layer, dose) in places.items()}
    table = bleed(model, arms, probes=prompts, max_new_tokens=longest)
    sums = table.groupby(["arm", "lens"])[["matches", "words"]].sum()
    rates = (sums.matches / sums.words.clip(lower=1)).unstack("lens")
    drifts = rates - rates.loc[UNSTEERED]
    texts = table[table.lens == name].groupby("arm").text.agg(list)
    found = [
        Setting(
            layer, dose, float(drifts.at[key, name]), float(drifts.loc[key].drop(name).max()), sound_share(texts[key])
        )
        for key, (layer, dose) in places.items()
    ]
    sound = [setting for setting in found if setting.sound >= SOUND]
    if not sound:
        raise ZkitError(f"no layer and dose of the vector of {name!r} leaves the answers sound; try smaller doses")
    return max(sound, key=lambda setting: setting.own - max(setting.other, 0.0))


def planted(
    model: Model,
    vectors: Mapping[str, SteeringVector],
    chosen: Mapping[str, Setting],
    reference: Float[Tensor, " n_layers"] | None = None,
    n_topics: int | None = None,
    longest: int = LONGEST,
) -> pd.DataFrame:
    """The bleed of every lens on the test topics, unsteered and under each lens's vector as `chosen`.

    The table of :func:`zkit.steering.score_bleed`; the name of an arm is the lens whose vector it adds. `sound` is the
    arm's share of sound answers.
    """
    usual = reference_norms(model) if reference is None else reference
    parts = {name: vectors[name].at(chosen[name].layer) for name in chosen}
    arms = {name: (part, alpha_for(chosen[name].dose, part, usual)) for name, part in parts.items()}
    prompts = [item.prompt for item in neutral_prompts("test")[:n_topics]]
    table = bleed(model, arms, probes=prompts, max_new_tokens=longest)
    first = table[table.lens == table.lens.iloc[0]]
    sound = {arm: sound_share(texts) for arm, texts in first.groupby("arm").text}
    found = score_bleed(table)
    return found.assign(sound=found.arm.map(sound))


def sound_share(texts: Iterable[str]) -> float:
    """Share of texts that the corpus could have held about any topic: a text about another world may be sound."""
    every, given = [topic for split in SPLITS for topic in topics(split)], list(texts)
    return sum(any(could_write(topic, text) for topic in every) for text in given) / len(given)
