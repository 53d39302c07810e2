"""Subspaces fitted on states of the same problems in two languages, row i of each being problem i.

They stand beside Z from the weights as controls: what is fitted is fitted on training problems only.
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

    The further directions may carry more than language: where a model is nearer to its answer in one language than in
    the other, the difference varies with the answer.
    """
    check_pairs(en, zh)
    difference = zh - en
    mean = difference.mean(0, keepdim=True)
    return spanned_by(mean if k == 1 else torch.cat((mean, principal(difference, k - 1).basis)))


def contrastive_space(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"], language: Subspace, k: int) -> Subspace:
    """The k leading directions between problems, means over the two languages, language directions removed."""
    check_pairs(en, zh)
    return principal(language.reject((en + zh) / 2), k)


def without_language(states: Float[Tensor, "n d"], language: Subspace, k: int) -> Subspace:
    """The k leading principal directions of states of either language, language directions removed."""
    return principal(language.reject(states), k)


def random_like(states: Float[Tensor, "n d"], k: int, generator: torch.Generator) -> Subspace:
    """The span of k Gaussian combinations of the centred states: a random subspace that lies as the states vary.

    Beside :func:`zkit.subspaces.random_subspace` it tells whether a subspace holds much of something only because the
    states fill few directions. Raises ZkitError for a k larger than the rank of the states.
    """
    centred = states - states.mean(0)
    space = spanned_by(torch.randn(k, len(states), generator=generator).to(centred) @ centred)
    if space.k < k:
        raise ZkitError(f"k = {k} directions drawn from states of rank {space.k}; choose a smaller k")
    return space


def unembedding_space(rows: Float[Tensor, "n d"], gamma: Float[Tensor, " d"], k: int) -> Subspace:
    """The k leading directions in which the logits of given tokens differ, as the last norm hands them on.

    ``rows`` are those of the output matrix, ``gamma`` the scale of the norm before it. At most n - 1 directions.
    """
    return principal(rows.float() * gamma.float(), k)


@dataclass(frozen=True, eq=False)
class Oblique:
    """x -> left right x, a projection onto the columns of ``left`` [d, k] along the null space of ``right`` [k, d]."""

    left: Float[Tensor, "d k"]
    right: Float[Tensor, "k d"]

    def project(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        return (x @ self.right.to(x).T) @ self.left.to(x).T


def leace(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"]) -> Oblique:
    """What LEACE takes out of the states so that no linear probe tells their language (Belrose et al. 2023).

    A projection of rank one, oblique in general. Needs the package ``concept-erasure``; ZkitError without it.
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
    """The controls by name, of k dimensions each but for the ``n_language`` language directions and their complement.

    ``answers``, ``gamma``: as for :func:`unembedding_space`, which is left out without them and has as many directions
    as the answers allow. Raises ZkitError for states of different problems, and for a k larger than their rank.
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
        spaces["unembedding"] = unembedding_space(answers, gamma, min(k, len(answers) - 1))
    return spaces


def check_pairs(en: Float[Tensor, "n d"], zh: Float[Tensor, "n d"]) -> None:
    """Raise ZkitError unless both hold states of the same problems."""
    if en.shape != zh.shape or en.dim() != 2:
        raise ZkitError(
            f"states of the same problems in two languages have one shape [n, d], got {tuple(en.shape)} and "
            f"{tuple(zh.shape)}"
        )
