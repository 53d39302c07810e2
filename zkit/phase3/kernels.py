"""The ARD-RBF kernel and the maximum mean discrepancy between clouds of tokens.

Sources: the Phase 3 specification, C.1 and C.2; Gretton et al. 2012, "A Kernel Two-Sample Test" (estimator, witness,
permutation). Inputs are scaled by 1/l and compared by matrix products, without a tensor [n, m, d].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.stats import permutation_p


def kernel(
    x: Float[Tensor, "*batch n d"], y: Float[Tensor, "*batch m d"], lengthscale: Float[Tensor, " d"] | float = 1.0
) -> Float[Tensor, "*batch n m"]:
    """k_l(x, y) = exp(-1/2 sum_j (x_j - y_j)^2 / l_j^2). Centre the tokens: rounding errors grow with their norm."""
    first, second = x / lengthscale, y / lengthscale
    squared = first.square().sum(-1).unsqueeze(-1) + second.square().sum(-1).unsqueeze(-2)
    return (-0.5 * (squared - 2 * first @ second.mT).clamp_min(0)).exp()


def mmd2(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], lengthscale: Float[Tensor, " d"] | float) -> Tensor:
    """Unbiased MMD^2 between two clouds; it is below 0 about half of the time if their distributions are equal.

    The mean of k(x_i, x_i') over i != i', plus that of k(y_j, y_j'), minus twice the mean of k(x_i, y_j). A single
    ``lengthscale`` is used for every dimension. Differentiable in all arguments. Raises ZkitError for clouds of
    different widths, of fewer than two tokens or with NaN, and for a lengthscale that is not positive.
    """
    return mmd2_of_pairs(Clouds.of([x]), Clouds.of([y]), lengthscale)[0]


@dataclass(frozen=True, eq=False)
class Clouds:
    """Clouds of tokens of different sizes in one padded batch; padding is left out of every mean.

    states: [n_clouds, largest number of tokens, d]. real: which tokens are not padding.
    """

    states: Float[Tensor, "n_clouds t d"]
    real: Bool[Tensor, "n_clouds t"]

    @classmethod
    def of(cls, clouds: Sequence[Float[Tensor, "tokens d"]]) -> Self:
        """Clouds from one tensor [tokens, d] each. Raises ZkitError for other shapes, fewer than two tokens and NaN."""
        if not clouds or any(c.dim() != 2 or c.shape[1] != clouds[0].shape[1] for c in clouds):
            raise ZkitError(f"clouds are tensors [tokens, d] of one d, got {[tuple(c.shape) for c in clouds][:5]}")
        for i, cloud in enumerate(clouds):
            if len(cloud) < 2:
                raise ZkitError(
                    f"cloud {i} has {len(cloud)} token: the unbiased estimate needs two; use longer prompts, or count "
                    "more of their tokens"
                )
            if not bool(cloud.isfinite().all()):
                raise ZkitError(
                    f"cloud {i} holds NaN or infinity; load the model in float32, or look at what it was recorded from"
                )
        real = torch.zeros(len(clouds), max(map(len, clouds)), dtype=torch.bool, device=clouds[0].device)
        for row, cloud in zip(real, clouds, strict=True):
            row[: len(cloud)] = True
        return cls(torch.nn.utils.rnn.pad_sequence(list(clouds), batch_first=True), real)

    def __len__(self) -> int:
        return len(self.real)

    @property
    def sizes(self) -> Float[Tensor, " n_clouds"]:
        return self.real.sum(1).to(self.states.dtype)

    def split(self) -> list[Float[Tensor, "tokens d"]]:
        """The clouds one by one, without padding."""
        return [states[real] for states, real in zip(self.states, self.real, strict=True)]

    def tokens(self) -> Float[Tensor, "all_tokens d"]:
        """The tokens of all clouds, one cloud after the other."""
        return self.states[self.real]

    def scaled(self, lengthscale: Float[Tensor, " d"], middle: Float[Tensor, " d"]) -> Self:
        """The same clouds with ``middle`` subtracted, in units of the lengthscales."""
        return type(self)((self.states - middle) / lengthscale, self.real)


def mmd2_of_pairs(x: Clouds, y: Clouds, lengthscale: Float[Tensor, " d"] | float) -> Float[Tensor, " n_pairs"]:
    """MMD^2 (:func:`mmd2`) between the i-th cloud of ``x`` and the i-th of ``y``, for all i.

    Raises ZkitError for different numbers or widths of clouds, and for a lengthscale that is not positive.
    """
    if len(x) != len(y) or x.states.shape[-1] != y.states.shape[-1]:
        raise ZkitError(
            f"pairs of clouds need as many of each, of one width: {tuple(x.states.shape)}, {tuple(y.states.shape)}"
        )
    x, y = scaled(x, y, lengthscale)
    return within(x) + within(y) - 2 * across(x, y)


def scaled(x: Clouds, y: Clouds, lengthscale: Float[Tensor, " d"] | float) -> tuple[Clouds, Clouds]:
    """Both in units of the lengthscales, with the mean of all their tokens subtracted."""
    scale, n = positive(lengthscale, x.states), x.sizes.sum() + y.sizes.sum()
    sums = [(c.states.detach() * c.real.unsqueeze(2)).sum((0, 1)) for c in (x, y)]
    return x.scaled(scale, (sums[0] + sums[1]) / n), y.scaled(scale, (sums[0] + sums[1]) / n)


def within(x: Clouds) -> Float[Tensor, " n_clouds"]:
    """Mean of k over pairs of different tokens, within each of these :func:`scaled` clouds."""
    apart = ~torch.eye(x.real.shape[1], dtype=torch.bool, device=x.real.device)
    both = x.real.unsqueeze(2) & x.real.unsqueeze(1) & apart
    return (kernel(x.states, x.states) * both).sum((1, 2)) / (x.sizes * (x.sizes - 1))


def across(x: Clouds, y: Clouds) -> Float[Tensor, " n_pairs"]:
    """Mean of k over a token of the i-th cloud of ``x`` and one of the i-th of ``y``, both :func:`scaled`."""
    both = x.real.unsqueeze(2) & y.real.unsqueeze(1)
    return (kernel(x.states, y.states) * both).sum((1, 2)) / (x.sizes * y.sizes)


def positive(lengthscale: Float[Tensor, " d"] | float, like: Tensor) -> Float[Tensor, " d"]:
    """A lengthscale for each dimension. ZkitError unless there is one positive number for each, or one for all."""
    scale = torch.as_tensor(lengthscale, dtype=like.dtype, device=like.device)
    if scale.dim() > 1 or scale.numel() not in (1, like.shape[-1]) or not bool((scale > 0).all()):
        raise ZkitError(
            f"a lengthscale is positive, one for each of {like.shape[-1]} dimensions or one for all, got "
            f"{tuple(scale.shape)} from {float(scale.detach().min()):.3g}. Optimise its logarithm"
        )
    return scale.expand(like.shape[-1])


def median_distance(tokens: Float[Tensor, "n d"], most: int = 2000, seed: int = 0) -> float:
    """The median distance between two tokens, of at most ``most`` drawn ones: the usual choice of one lengthscale.

    With l_j = median for all j a typical pair has k = exp(-1/2); with l_j = 1 and d = 2048 it has k = 0 and no
    gradient. Raises ZkitError for fewer than two tokens, if more than half of the pairs coincide, and for NaN.
    """
    if not bool(tokens.isfinite().all()):
        raise ZkitError(
            "tokens hold NaN or infinity; load the model in float32, or look at what they were recorded from"
        )
    drawn = torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))[:most]
    found = float(torch.pdist(tokens[drawn.to(tokens.device)].double()).median()) if len(drawn) > 1 else 0.0
    if not found > 0:
        raise ZkitError(
            f"the median distance between {len(drawn)} tokens is {found}: most of them are one and the same, and no "
            "bandwidth can be taken from them"
        )
    return found


def witness(
    points: Float[Tensor, "p d"],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    lengthscale: Float[Tensor, " d"] | float,
) -> Float[Tensor, " p"]:
    """f(t) = mean_i k(t, x_i) - mean_j k(t, y_j): positive where x is denser than y (Gretton et al. 2012)."""
    scale, middle = positive(lengthscale, points), points.mean(0)
    points, x, y = ((c - middle) / scale for c in (points, x, y))
    return kernel(points, x).mean(1) - kernel(points, y).mean(1)


def block_means(clouds: Clouds, lengthscale: Float[Tensor, " d"] | float) -> Float[Tensor, "n_clouds n_clouds"]:
    """Mean of k over the tokens of two clouds, for all pairs of clouds; on the diagonal over pairs of different tokens.

    A test that permutes whole clouds needs only these means, so they are computed once.
    """
    clouds, _ = scaled(clouds, clouds, lengthscale)
    found = torch.zeros(len(clouds), len(clouds), dtype=clouds.states.dtype, device=clouds.states.device)
    for i, (states, real) in enumerate(zip(clouds.states, clouds.real, strict=True)):
        k = kernel(states[real].expand(len(clouds), -1, -1), clouds.states) * clouds.real.unsqueeze(1)
        sums, own = k.sum((1, 2)), clouds.sizes[i]
        found[i] = sums / (own * clouds.sizes)
        found[i, i] = (sums[i] - own) / (own * (own - 1))  # k(x, x) = 1
    return found


@dataclass(frozen=True, eq=False)
class Blocks:
    """Means of k over the tokens of any two clouds, for N pairs of a Chinese and an English cloud.

    zh, en: within a language, on the diagonal over pairs of different tokens. across: zh in rows, en in columns.
    """

    zh: Float[Tensor, "N N"]
    en: Float[Tensor, "N N"]
    across: Float[Tensor, "N N"]

    @classmethod
    def of(cls, zh: Clouds, en: Clouds, lengthscale: Float[Tensor, " d"] | float) -> Self:
        both = Clouds.of([*zh.split(), *en.split()])
        n, means = len(zh), block_means(both, lengthscale)
        return cls(means[:n, :n], means[n:, n:], means[:n, n:])

    def between(self) -> Float[Tensor, "N N"]:
        """MMD^2 between the i-th Chinese and the j-th English cloud."""
        return self.zh.diag().unsqueeze(1) + self.en.diag() - 2 * self.across


@dataclass(frozen=True)
class Test:
    """A statistic, and p, the share of permutations with a statistic as extreme; n counts pairs of prompts."""

    value: float
    p: float
    n: int


def language_test(blocks: Blocks, draws: int = 999, seed: int = 0) -> Test:
    """Test whether the languages differ: MMD^2 between their prompts, with the mean of k over the prompts' tokens.

    The null exchanges the two prompts of a pair and not single tokens, because the tokens of one prompt are not
    independent. With A_ij = k(zh_i, zh_j) + k(en_i, en_j) - k(zh_i, en_j) - k(en_i, zh_j) and signs s, one per pair,
    the statistic is the mean of s_i A_ij s_j over i != j. Raises ZkitError for fewer than two pairs.
    """
    n = _several(blocks)
    a = blocks.zh + blocks.en - blocks.across - blocks.across.T
    a = a - a.diag().diag()
    signs = 2.0 * torch.randint(2, (draws, n), generator=torch.Generator().manual_seed(seed)).to(a) - 1
    found, null = float(a.sum()), ((signs @ a) * signs).sum(1)
    return Test(found / (n * (n - 1)), permutation_p(found, null.tolist()), n)


def pairing_test(blocks: Blocks, draws: int = 999, seed: int = 0) -> Test:
    """Test whether a problem is nearer to its own translation: mean MMD^2 of the pairs minus that of all other pairs.

    The null permutes the prompts of one language. Raises ZkitError for fewer than two pairs.
    """
    n, between = _several(blocks), blocks.between()
    made = torch.Generator().manual_seed(seed)
    orders = torch.rand(draws, n, generator=made).argsort(1).to(between.device)
    own, null = float(between.diag().mean()), between[torch.arange(n), orders].mean(1)
    others = float((between.sum() - between.diag().sum()) / (n * (n - 1)))
    return Test(own - others, permutation_p(-own, (-null).tolist()), n)


def further(between: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    """[i, j]: 1 if problem j is further from i than i's own translation, else 0; 1/2 for ties.

    ``between`` holds distances, one language in rows and the other in columns; the result is the mean over both
    directions. Its diagonal has no meaning. The mean over i != j is the share of other problems that are further;
    chance is 0.5. Raises ZkitError for a single problem.
    """
    if len(between) < 2:
        raise ZkitError("a single problem has no others to be nearer than; take at least two")
    own = between.diag().unsqueeze(1)
    lines = torch.stack((between, between.T))
    return ((lines > own).double() + (lines == own).double() / 2).mean(0)


def nearer_than(between: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """For each problem the mean of :func:`further` over the others. Raises ZkitError for a single problem."""
    found = further(between)
    return (found.sum(1) - found.diag()) / (len(found) - 1)


def _several(blocks: Blocks) -> int:
    n = len(blocks.zh)
    if n < 2:
        raise ZkitError(f"a permutation of whole prompts needs at least two pairs, got {n}")
    return n
