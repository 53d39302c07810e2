"""Do word relations have a direction? Differences of the states of related words, and what they can predict."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.steering.contrast import stability

States = Float[Tensor, "n_pairs n_layers d_model"]


def analogy_hits(words: States, answers: States) -> Bool[Tensor, "n_pairs n_layers"]:
    """Whether a word moved along the relation lands nearest to its own answer, each pair left out of the direction.

    The direction for pair i is the mean of answers - words over all other pairs; nearest by cosine among all answers,
    so chance is one over their number. Raises ZkitError for shapes that differ, fewer than three pairs, and two pairs
    with one answer.
    """
    _check(words, answers, 3)
    n = len(words)
    deltas = answers - words
    moved = words + (deltas.sum(0) - deltas) / (n - 1)
    cosines = torch.einsum("ild,jld->ijl", _unit(moved), _unit(answers))
    return cosines.argmax(1) == torch.arange(n)[:, None]


def shuffled_stability(words: States, answers: States, draws: int, seed: int = 0) -> Float[Tensor, "draws n_layers"]:
    """Stability of the differences when every word is given another pair's answer: what two clouds of words give.

    Raises ZkitError for shapes that differ, fewer than two pairs, two pairs with one answer, and fewer than one draw.
    """
    _check(words, answers, 2)
    if draws < 1:
        raise ZkitError(f"draws is {draws}; give at least 1")
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while len(found) < draws:
        order = _derangement(len(words), generator)
        found.append(stability(answers[order] - words))
    return torch.stack(found)


def _derangement(n: int, generator: torch.Generator) -> Tensor:
    """A random order in which nothing stays in its place."""
    while True:
        order = torch.randperm(n, generator=generator)
        if not bool((order == torch.arange(n)).any()):
            return order


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def _check(words: Tensor, answers: Tensor, least: int) -> None:
    if words.shape != answers.shape or len(words) < least:
        raise ZkitError(
            f"states of words {tuple(words.shape)} and of answers {tuple(answers.shape)} must be those of the same "
            f"pairs, at least {least} of them"
        )
    if len(torch.unique(answers.flatten(1), dim=0)) < len(answers):
        raise ZkitError("two pairs have the same answer, so that one could stand for the other; give each its own")
