"""Subspaces fitted on states of the same problems in two languages, row i of each being problem i.

They are controls for Z, which is computed from the weights. Fit them on training problems only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.subspaces import Projector, Subspace, low_variance, principal, random_subspace, spanned_by


def language_space(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"], k: int = 1) -> Subspace:
    """The mean difference between the languages and the k - 1 leading directions of its variation over problems.

    The directions after the first may represent more than language: if a layer's state is closer to the final answer in
    one language than in the other, the difference varies with the answer. Raises ZkitError for states of different
    shapes, and for a k larger than the rank of the differences allows.
    """
    check_pairs(en, zh)
    difference = zh - en
    mean = difference.mean(0, keepdim=True)
    return spanned_by(mean if k == 1 else torch.cat((mean, principal(difference, k - 1).basis)))


def contrastive_space(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"], language: Subspace, k: int) -> Subspace:
    """The k leading principal directions of the problems' means over both languages, without language directions."""
    check_pairs(en, zh)
    return principal(language.reject((en + zh) / 2), k)


def without_language(states: Float[Tensor, "n d"], language: Subspace, k: int) -> Subspace:
    """The k leading principal directions of states in both languages, without language directions."""
    return principal(language.reject(states), k)


def random_like(states: Float[Tensor, "n d"], k: int, generator: torch.Generator) -> Subspace:
    """The span of k Gaussian combinations of the centred states: a random subspace of the states' own variation.

    A subspace may contain much of something only because the states vary in few directions. This control shows it;
    :func:`zkit.subspaces.random_subspace` does not. Raises ZkitError for a k larger than the rank of the states.
    """
    centred = states - states.mean(0)
    space = spanned_by(torch.randn(k, len(states), generator=generator).to(centred) @ centred)
    if space.k < k:
        raise ZkitError(f"k = {k} directions drawn from states of rank {space.k}; choose a smaller k")
    return space


def unembedding_space(rows: Float[Tensor, "n d"], gamma: Float[Tensor, " d"], k: int) -> Subspace:
    """The k leading directions in which the logits of given tokens differ, before the scale of the final norm.

    rows: the tokens' rows of the output matrix. gamma: the scale of the final norm. Raises ZkitError for a k above the
    rank of the centred rows, which is at most n - 1.
    """
    return principal(rows.float() * gamma.float(), k)


@dataclass(frozen=True, eq=False)
class Oblique:
    """x -> left right x, a projection onto the span of the columns of ``left`` along the null space of ``right``."""

    left: Float[Tensor, "d k"]
    right: Float[Tensor, "k d"]

    def project(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return (x @ self.right.to(x).T) @ self.left.to(x).T


def leace(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"]) -> Oblique:
    """The projection onto the part that LEACE removes so that no linear probe tells the language (Belrose et al. 2023).

    It has rank one and is oblique in general. Raises ZkitError without the package ``concept-erasure``, and for states
    of different shapes.
    """
    try:
        from concept_erasure import LeaceFitter
    except ImportError as error:
        raise ZkitError("LEACE needs the package concept-erasure: pip install 'zkit[erasure]'") from error
    check_pairs(en, zh)
    fitter = LeaceFitter(en.shape[1], 1, dtype=torch.float64)
    for states, label in ((en, 0.0), (zh, 1.0)):
        fitter.update(states.double(), torch.full((len(states), 1), label, dtype=torch.float64))
    eraser = fitter.eraser
    return Oblique(eraser.proj_left, eraser.proj_right)


def fitted(
    en: Float[Tensor, "n d"],
    zh: Float[Tensor, "n d"],
    k: int,
    *,
    answers: Float[Tensor, "n_answers d"] | None = None,
    gamma: Float[Tensor, " d"] | None = None,
    n_language: int = 1,
    seed: int = 0,
) -> dict[str, Projector]:
    """The control subspaces by name. All have k dimensions, except the language space and its complement.

    en, zh: states of the same problems. n_language: dimensions of the language space.
    answers, gamma: the rows and the scale for :func:`unembedding_space`. Without them this space is left out; with
    fewer than k + 1 answers it has fewer dimensions. seed: of the random space.
    Raises ZkitError for states of different shapes, a k larger than their rank, and a single answer.
    """
    language = language_space(en, zh, n_language)
    both = torch.cat((en, zh))
    spaces: dict[str, Projector] = {
        "language": language,
        "not language": language.complement(),
        "contrastive": contrastive_space(en, zh, language, k),
        "top PCA": principal(both, k),
        "top PCA, no language": without_language(both, language, k),
        "low variance": low_variance(both, k),
        "random": random_subspace(k, en.shape[1], torch.Generator().manual_seed(seed)),
    }
    if answers is not None and gamma is not None:
        if len(answers) < 2:
            raise ZkitError("a single answer spans no differences; give two answers or more, or none")
        spaces["unembedding"] = unembedding_space(answers, gamma, min(k, len(answers) - 1))
    return spaces


def check_pairs(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"]) -> None:
    """Raise ZkitError unless both have the same shape [n, d]."""
    if en.shape != zh.shape or en.dim() != 2:
        raise ZkitError(
            f"states of the same problems in two languages have one shape [n, d], got {tuple(en.shape)} and "
            f"{tuple(zh.shape)}"
        )
