"""What each layer writes into a subspace: the residual updates of a model, divided into a part inside and one outside.

Source: the Phase 3 specification, experiment B. The transition l -> l + 1 is what attention and MLP of layer l + 1 add:
Delta h_l = h_{l+1} - h_l, where h_l is the output of layer l. What layer 0 adds to the embedding is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import false_discovery_control, permutation_test
from torch import Tensor

from zkit.errors import ZkitError
from zkit.stats import Interval, bootstrap_ratio_difference
from zkit.subspaces import Subspace
from zkit.tokens import massive

POOLS = ("mean", "tokens")
_HELD = 2**24
"""Most coordinates, of vectors in all subspaces together, that are in memory at a time."""


def updates(states: Float[Tensor, "n_tokens n_layers d"]) -> Float[Tensor, "n_tokens n_transitions d"]:
    """Delta h_l = h_{l+1} - h_l for l = 0 .. n_layers - 2, from the outputs of all layers."""
    return states[:, 1:] - states[:, :-1]


def parts(
    states: Mapping[str, Float[Tensor, "n_tokens n_layers d"]], tolerance: float = 0.01
) -> dict[str, Float[Tensor, "n_tokens n_transitions d"]]:
    """The updates ("both") and their parts from attention ("attn") and MLP ("mlp"), from one prompt's states at
    "attn_out", "mlp_out" and "resid_post".

    The two parts sum to the update up to rounding. Raises ZkitError if their sum differs from it by more than
    ``tolerance`` times the state's norm, as in models that normalise a part before they add it.
    """
    both, attn, mlp = updates(states["resid_post"]), states["attn_out"][:, 1:], states["mlp_out"][:, 1:]
    missed = (attn + mlp - both).norm(dim=-1) / states["resid_post"][:, 1:].norm(dim=-1)
    if float(missed.max()) > tolerance:
        raise ZkitError(
            f"attention and MLP miss a layer's update by {float(missed.max()):.2g} of the state: this model changes "
            "them before it adds them; use the whole update"
        )
    return {"both": both, "attn": attn, "mlp": mlp}


def usual_tokens(
    states: Float[Tensor, "n_tokens n_layers d"], first_token: bool = False
) -> Bool[Tensor, "n_tokens n_transitions"]:
    """For each transition the tokens that are massive neither before nor after it (:func:`zkit.tokens.massive`).

    The first token is left out, massive or not, unless ``first_token``.
    """
    norms = states.norm(dim=-1).T
    heavy = massive(norms, torch.ones_like(norms, dtype=torch.bool)).T
    kept = ~(heavy[:, 1:] | heavy[:, :-1])
    kept[0] &= first_token
    return kept


def chance(k: int, d: int) -> float:
    """sqrt(k / (d - k)): the ratio of a vector's parts inside and outside a random subspace of k of d dimensions.

    It is the root of the ratio of their mean squares; the mean ratio of their norms is lower by a share of about
    1 / (4 k). Raises ZkitError unless 1 <= k < d.
    """
    if not 1 <= k < d:
        raise ZkitError(f"k = {k} of d = {d} leaves nothing inside or nothing outside; choose 1 <= k < d")
    return math.sqrt(k / (d - k))


@dataclass(frozen=True, eq=False)
class Sizes:
    """Norms of each prompt's updates inside and outside of a subspace, or of several along a first axis."""

    inside: Float[Tensor, "*spaces n_prompts n_transitions"]
    outside: Float[Tensor, "*spaces n_prompts n_transitions"]

    @property
    def ratio(self) -> Float[Tensor, "*spaces n_transitions"]:
        """R(l): the mean over prompts of |P Delta h_l|, divided by the mean over prompts of |P_perp Delta h_l|."""
        return self.inside.mean(-2) / self.outside.mean(-2)

    def __getitem__(self, i: int) -> Sizes:
        """The norms for one subspace."""
        return Sizes(self.inside[i], self.outside[i])

    def __add__(self, other: Sizes) -> Sizes:
        """The sum of the norms, prompt by prompt, for the same problems in two languages."""
        return Sizes(self.inside + other.inside, self.outside + other.outside)

    def resampled(self, draws: int = 2000, seed: int = 0) -> Float[Tensor, "draws n_transitions"]:
        """R(l) of one subspace for prompts drawn with replacement, for bootstrap intervals of functions of R."""
        n = self.inside.shape[-2]
        weights = torch.from_numpy(np.random.default_rng(seed).multinomial(n, [1 / n] * n, draws)).to(self.inside.dtype)
        return (weights @ self.inside) / (weights @ self.outside)

    def intervals(self, level: float = 0.95) -> list[Interval]:
        """R(l) of one subspace with a percentile bootstrap interval over prompts."""
        edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=self.inside.dtype)
        low, high = self.resampled().quantile(edges, dim=0).tolist()
        found = zip(self.ratio.tolist(), low, high, strict=True)
        return [Interval(*each, self.inside.shape[-2]) for each in found]


def sizes(
    found: Sequence[Float[Tensor, "n_tokens n_transitions d"]],
    spaces: Sequence[Subspace],
    kept: Sequence[Bool[Tensor, "n_tokens n_transitions"]] | None = None,
    pool: str = "mean",
) -> Sizes:
    """Norms of each prompt's updates inside and outside of each of the subspaces, all of one k.

    found: the updates of each prompt. kept: the tokens that are counted at each transition (None: all).
    pool: ``"mean"`` takes the norms of the mean update over a prompt's tokens, as specified; ``"tokens"`` takes the
    mean of the norms of each token's update. Raises ZkitError for an unknown pool, subspaces of different k, no
    prompts, lists of different lengths, and a prompt without a counted token at a transition.
    """
    kept = [torch.ones(x.shape[:2], dtype=torch.bool) for x in found] if kept is None else kept
    if pool not in POOLS:
        raise ZkitError(f"unknown pool {pool!r}; use one of {', '.join(POOLS)}")
    if not found or len(kept) != len(found):
        raise ZkitError(f"{len(found)} prompts and {len(kept)} choices of their tokens; give one choice for each")
    if len({space.k for space in spaces}) != 1:
        raise ZkitError("sizes compares subspaces of one k; call it once for each k")
    for i, mask in enumerate(kept):
        if not bool(mask.any(0).all()):
            raise ZkitError(f"prompt {i} keeps no token at transition {int(mask.any(0).int().argmin())}; keep more")
    basis, k, pairs = torch.cat([space.basis for space in spaces]), spaces[0].k, zip(found, kept, strict=True)
    if pool == "mean":
        return Sizes(*_norms(torch.stack([_mean(x, mask) for x, mask in pairs]), basis, k))
    means = []
    for x, mask in pairs:
        counted = mask.any(1)  # tokens that are counted at some transition
        means.append([_mean(n[..., None], mask[counted])[..., 0] for n in _norms(x[counted], basis, k)])
    return Sizes(*(torch.stack(side, dim=1) for side in zip(*means, strict=True)))


def best_ratio(
    found: Sequence[Float[Tensor, "n_tokens n_transitions d"]],
    kept: Sequence[Bool[Tensor, "n_tokens n_transitions"]],
    k: int,
) -> Float[Tensor, " n_transitions"]:
    """R(l) of norms token by token for the best subspace of k dimensions at each transition: an upper reference.

    The subspace is spanned by the k leading directions of the updates of every second prompt, the first included; R is
    measured on the other prompts. Raises ZkitError for fewer than two prompts, or fewer than k tokens to fit.
    """
    if len(found) < 2:
        raise ZkitError("a subspace is fitted on one half of the prompts and held to the other; give at least two")
    ratios = []
    for l in range(found[0].shape[1]):
        own = torch.cat([x[mask[:, l], l] for x, mask in zip(found[::2], kept[::2], strict=True)])
        if len(own) < k:
            raise ZkitError(f"{len(own)} tokens do not span k = {k} dimensions; give more prompts")
        best = Subspace(torch.linalg.svd(own, full_matrices=False)[2][:k])
        tested = [(x[:, [l]], mask[:, [l]]) for x, mask in zip(found[1::2], kept[1::2], strict=True)]
        ratios.append(sizes([x for x, _ in tested], [best], [mask for _, mask in tested], "tokens")[0].ratio)
    return torch.cat(ratios)


def _mean(x: Float[Tensor, "*spaces n_tokens n_transitions width"], kept: Tensor) -> Tensor:
    """The mean over the tokens that are kept."""
    return torch.where(kept[..., None], x, 0.0).sum(-3) / kept.sum(0)[:, None]


def _norms(vectors: Float[Tensor, "*batch d"], basis: Float[Tensor, "all_k d"], k: int) -> tuple[Tensor, Tensor]:
    """Norms [n_spaces, *batch] of each vector inside and outside of each subspace; ``basis`` stacks their bases."""
    rows, inside = vectors.reshape(-1, vectors.shape[-1]), []
    for part in rows.split(max(1, _HELD // len(basis))):
        inside.append((part @ basis.T.to(part)).unflatten(-1, (-1, k)).norm(dim=-1).T)
    within = torch.cat(inside, dim=1)
    beyond = (rows.norm(dim=-1).square() - within.square()).clamp(min=0).sqrt()
    shape = (-1, *vectors.shape[:-1])
    return within.reshape(shape), beyond.reshape(shape)


@dataclass(frozen=True, eq=False)
class Band:
    """R(l) of a subspace compared with R(l) of random subspaces of its size, by transition."""

    low: Float[Tensor, " n_transitions"]
    high: Float[Tensor, " n_transitions"]
    percentile: Float[Tensor, " n_transitions"]
    """Share of the random subspaces with a smaller R, in percent; ties count half."""
    p: Float[Tensor, " n_transitions"]
    """Two-sided: twice the smaller of the shares of R at least as large and at least as small, its own included."""
    q: Float[Tensor, " n_transitions"]
    """p after Benjamini and Hochberg, over transitions."""
    n: int
    """Number of random subspaces."""


def band(
    ratio: Float[Tensor, " n_transitions"], draws: Float[Tensor, "n_draws n_transitions"], level: float = 0.95
) -> Band:
    """Compare ``ratio`` with the ratios of random subspaces; a share ``level`` of these is within ``low`` and ``high``.

    Raises ZkitError for fewer than 99 draws. A single transition can be significant after correction only if there are
    more than 40 draws for each transition.
    """
    n = len(draws)
    if n < 99:
        raise ZkitError(f"a band of {n} random subspaces is too coarse; draw at least 99")
    edges = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=draws.dtype)
    low, high = draws.quantile(edges, dim=0)
    above, below = (draws >= ratio).sum(0), (draws <= ratio).sum(0)
    p = (2 * (1 + torch.minimum(above, below)) / (1 + n)).clamp(max=1.0)
    return Band(low, high, 100 * (below + n - above) / (2 * n), p, discoveries(p), n)


@dataclass(frozen=True, eq=False)
class Asymmetry:
    """R_zh(l) - R_en(l) over the same problems, by transition."""

    difference: list[Interval]
    """The difference at each transition, with its 95% bootstrap interval over problems."""
    p: Float[Tensor, " n_transitions"]
    """Two-sided, by exchanging the two languages of each problem."""
    q: Float[Tensor, " n_transitions"]
    """p after Benjamini and Hochberg, over transitions."""


def asymmetry(zh: Sizes, en: Sizes, draws: int = 4999, seed: int = 0) -> Asymmetry:
    """Test whether layers treat the languages differently: a paired test over problems, at each transition.

    Raises ZkitError for different numbers of problems, and for fewer than two.
    """
    n = len(zh.inside)
    if n != len(en.inside) or n < 2:
        raise ZkitError(f"a paired test needs at least two problems in both languages; got {n} and {len(en.inside)}")
    inside, outside = (torch.cat(pair).double().numpy() for pair in ((zh.inside, en.inside), (zh.outside, en.outside)))
    differences, ps = [], []
    for l in range(inside.shape[1]):
        a, b = inside[:, l], outside[:, l]

        def statistic(x: np.ndarray, y: np.ndarray, axis: int, a: np.ndarray = a, b: np.ndarray = b) -> np.ndarray:
            return a[x].sum(axis) / b[x].sum(axis) - a[y].sum(axis) / b[y].sum(axis)

        test = permutation_test(
            (np.arange(n), n + np.arange(n)), statistic, permutation_type="samples", vectorized=True,
            n_resamples=draws, rng=np.random.default_rng(seed),
        )  # fmt: skip
        ps.append(float(test.pvalue))
        first, second = (a[n:].tolist(), b[n:].tolist()), (a[:n].tolist(), b[:n].tolist())
        differences.append(bootstrap_ratio_difference(first, second, seed=seed))
    p = torch.tensor(ps)
    return Asymmetry(differences, p, discoveries(p))


def discoveries(p: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """P values corrected by Benjamini and Hochberg: of those below 0.05, at most 1 in 20 is expected to be false."""
    return torch.from_numpy(false_discovery_control(p.double().numpy())).to(p.dtype)
