"""Twenty problems in two languages, as Phase 3 asks them, and how the answer in a text is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zkbook.experiments.outcomes import read_answer
from zkbook.extraction import extract
from zkbook.replication.host import Host
from zkit.causal import by_category
from zkit.questions import shipped

LANGUAGES = ("zh", "en")
TWENTY = 20


@dataclass(frozen=True)
class Asked:
    """Problem i in both languages. ``chat``: whether prompts go through the chat template."""

    prompts: dict[str, list[str]]
    answers: list[str]
    chat: bool
    read: Callable[[str], str | None]


def problems(host: Host) -> Asked:
    """Twenty text problems of ten categories, as plain text: the published model is no chat model.

    They are ours, because the published ones are not printed. The embedded model gets as many of its own arithmetic,
    whose answers are number words.
    """
    bank = shipped(host.model.source.embedded)
    if not host.model.source.embedded:
        found = bank.problems(kind="text")
        prompts = {lang: [p.prompts[lang] for p in found] for lang in LANGUAGES}
        return Asked(prompts, [p.answer("en") for p in found], False, lambda text: read_answer(text, "first"))
    kinds = by_category(bank.problems("development", "test")).values()
    own = [p for row in zip(*kinds, strict=False) for p in row][:TWENTY]
    numbers = {word: str(n) for words in bank.numbers().values() for n, word in enumerate(words)}
    return Asked(
        {lang: [p.prompts[lang] for p in own] for lang in LANGUAGES},
        [str(p.result) for p in own],
        True,
        lambda text: numbers.get(text.strip(" .。")),
    )


def token_states(host: Host, asked: Asked) -> dict[str, list[Float[Tensor, "n_tokens n_layers d"]]]:
    """The layers' outputs at every token of every prompt, by language; kept in the host's folder."""
    return {
        lang: extract(host.model, asked.prompts[lang], ["resid_post"], asked.chat, host.folder / "states")["resid_post"]
        for lang in LANGUAGES
    }


def means(states: dict[str, list[Tensor]]) -> dict[str, Float[Tensor, "n_problems n_layers d"]]:
    """Over all tokens, the first included, as published."""
    return {lang: torch.stack([rows.mean(0) for rows in found]) for lang, found in states.items()}
