"""Does the last prompt token hold the answer's language and its number apart? Problems in two languages, patched.

Everything is fitted on training problems; the test problems are held out, and so are their answers: no result of a
test problem, as source or as target, occurs among the results that the subspaces are fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zkbook.organism.items import held_out
from zkbook.organism.number_words import WORDS
from zkbook.organism.problems import Problem, parallel_problems
from zkit.generation import complete
from zkit.models import Model
from zkit.patching import swap
from zkit.phase3.fits import contrastive_space, language_space
from zkit.recording import record
from zkit.stats import Interval, wilson
from zkit.subspaces import Subspace, random_subspace

K = 20
LANGUAGE_DIRECTIONS = 3
RANDOM_DRAWS = 5
DEVELOPMENT_SHARE = 0.5  # of the kept answers; the layer is chosen on these


@dataclass(frozen=True)
class Pairs:
    """Problems as targets (asked in English), each with the problem whose Chinese version is its source."""

    targets: list[Problem]
    sources: list[Problem]


def is_kept_answer(result: int) -> bool:
    """Whether a result is kept away from everything that is fitted: about half of them."""
    return held_out(f"answer {result}", 0.5)


def _split(result: int) -> str:
    return "development" if held_out(f"development answer {result}", DEVELOPMENT_SHARE) else "test"


def fit_problems() -> list[Problem]:
    """The training problems that subspaces are fitted on."""
    return [p for p in parallel_problems("train") if not is_kept_answer(p.result)]


def pairs(split: str) -> Pairs:
    """Held-out problems with kept answers, each with a source of another result, in turn."""
    problems = [p for p in parallel_problems("test") if is_kept_answer(p.result) and _split(p.result) == split]
    shift = len(problems) // 2
    sources = [
        next(q for q in problems[(i + shift) % len(problems) :] + problems if q.result != p.result)
        for i, p in enumerate(problems)
    ]
    return Pairs(problems, sources)


def states(model: Model, problems: Sequence[Problem], lang: str) -> Float[Tensor, "n n_layers d_model"]:
    """The state of the last prompt token of each problem in one language, after every layer."""
    return record(model, [getattr(p, lang).prompt for p in problems], "last")


def patched(
    model: Model, problems: Sequence[Problem], source: Float[Tensor, "n d"], space: Subspace, layer: int
) -> list[str]:
    """Answers to the English problems with the part of their last prompt token in `space` moved to the source."""
    arm = [swap(layer, source, space)]
    return [a.text for a in complete(model, [p.en.prompt for p in problems], [arm], max_new_tokens=6)[0]]


def switched(model: Model, given: Pairs, own: Float[Tensor, "n d"], layer: int, space: Subspace) -> Interval:
    """Share of English problems answered by their own number in Chinese once their language part is Chinese.

    `own` are the states of the targets' Chinese versions at the layer.
    """
    texts = patched(model, given.targets, own, space, layer)
    hits = sum(text == WORDS["zh"][p.result] for text, p in zip(texts, given.targets, strict=True))
    return wilson(hits, len(texts))


def moved(model: Model, given: Pairs, other: Float[Tensor, "n d"], layer: int, space: Subspace) -> Interval:
    """Share of English problems answered by the number of their Chinese source, in English.

    `other` are the states of the sources' Chinese versions at the layer.
    """
    texts = patched(model, given.targets, other, space, layer)
    hits = sum(text == WORDS["en"][p.result] for text, p in zip(texts, given.sources, strict=True))
    return wilson(hits, len(texts))


def spaces(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"]) -> tuple[Subspace, Subspace]:
    """The language directions and the contrastive subspace of a layer, from its states of the problems for fitting."""
    language = language_space(en, zh, LANGUAGE_DIRECTIONS)
    return language, contrastive_space(en, zh, language, K)


def probe(model: Model) -> dict[str, object]:
    """The interchange rows: the layer is the best for `moved` on development answers, three before the last at most."""
    chosen_on, test = pairs("development"), pairs("test")
    en, zh = (states(model, fit_problems(), lang) for lang in ("en", "zh"))
    fitted = [spaces(en[:, layer], zh[:, layer]) for layer in range(model.n_layers - 3)]
    sources = states(model, chosen_on.sources, "zh")
    by_layer = {
        layer: moved(model, chosen_on, sources[:, layer], layer, contrastive).value
        for layer, (_, contrastive) in enumerate(fitted)
    }
    layer = max(by_layer, key=lambda one: by_layer[one])
    language, contrastive = fitted[layer]
    own, other = (states(model, problems, "zh")[:, layer] for problems in (test.targets, test.sources))
    unpatched = complete(model, [p.en.prompt for p in test.targets], max_new_tokens=6)
    right = wilson(sum(a.text == p.en.answer for a, p in zip(unpatched, test.targets, strict=True)), len(unpatched))
    generator = torch.Generator().manual_seed(0)
    draws = [
        moved(model, test, other, layer, random_subspace(K, model.d_model, generator)) for _ in range(RANDOM_DRAWS)
    ]
    hits = sum(round(d.value * d.n) for d in draws)
    return {
        "layer": layer,
        "moved_by_layer_development": by_layer,
        "unpatched_right": right,
        "language_switched": switched(model, test, own, layer, language),
        "contrastive_moved": moved(model, test, other, layer, contrastive),
        "random_moved": wilson(hits, sum(d.n for d in draws)),
    }
