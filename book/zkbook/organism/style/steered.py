"""How each axis answers to its ActAdd vector: greedy texts by dose, and the texts whose choices are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from zkbook.organism.style.explain import could_write
from zkbook.organism.style.measures import TEXT_MEASURES, probes, words
from zkbook.organism.style.outcomes import LONGEST
from zkbook.organism.style.requests import neutral_prompts
from zkbook.organism.topic_table import topics
from zkit.generation import complete
from zkit.models import Model
from zkit.questions import Topic
from zkit.stats import Interval, bootstrap_mean, wilson
from zkit.steering import actadd, alpha_for, edits, reference_norms


def neutral_probes(split: str) -> list[Topic]:
    """A text with its choice points for each topic of a split, asked for without a wish."""
    return probes([item.prompt for item in neutral_prompts(split)], topics(split))


@dataclass(frozen=True)
class Response:
    """Texts of one axis at one dose of its vector, over neutral requests: means over topics, share of sound texts."""

    dose: float
    alpha: float
    text: Interval
    words: Interval
    sound: Interval


def responses(
    model: Model,
    layers: Mapping[str, int],
    doses: Sequence[float],
    split: str = "test",
    reference: Float[Tensor, " n_layers"] | None = None,
    n_topics: int | None = None,
    longest: int = LONGEST,
) -> dict[str, list[Response]]:
    """What each axis writes under its own vector, at its layer of `layers`, at each dose: on the topics of a split or
    its first `n_topics`. Texts have at most `longest` tokens; those of all axes share batches.
    """
    usual = reference_norms(model) if reference is None else reference
    vectors = {axis: actadd(model, axis, layer) for axis, layer in layers.items()}
    items, about = neutral_prompts(split)[:n_topics], topics(split)[:n_topics]
    places = [(axis, dose) for axis in layers for dose in doses]
    alphas = {(axis, dose): alpha_for(dose, vectors[axis], usual) for axis, dose in places}
    arms = [edits(model, vectors[axis], alphas[axis, dose]) for axis, dose in places]
    answers = complete(model, [item.prompt for item in items], arms, max_new_tokens=longest)
    found: dict[str, list[Response]] = {axis: [] for axis in layers}
    for (axis, dose), row in zip(places, answers, strict=True):
        written = [answer.text for answer in row]
        hits = sum(could_write(topic, text) for topic, text in zip(about, written, strict=True))
        found[axis].append(
            Response(
                dose,
                alphas[axis, dose],
                bootstrap_mean([TEXT_MEASURES[axis](text) for text in written]),
                bootstrap_mean([words(text) for text in written]),
                wilson(hits, len(about)),
            )
        )
    return found
