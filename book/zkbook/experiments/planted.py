"""Pairs of clouds in which it is known what tells the language and what tells the problem: the truth to be found."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.phase3.kernels import Clouds


@dataclass(frozen=True, eq=False)
class Planted:
    """Row i of both languages is problem i. tells: the coordinates that tell the language; holds: the problem."""

    zh: Clouds
    en: Clouds
    tells: Bool[Tensor, " d"]
    holds: Bool[Tensor, " d"]


def planted(
    n: int = 20,
    tokens: int = 40,
    d: int = 64,
    q: int = 16,
    *,
    shift: float = 0.0,
    spread: float = 1.0,
    content: float = 0.0,
    shared: int | None = None,
    correlation: float = 0.0,
    rotate: bool = False,
    seed: int = 0,
) -> Planted:
    """n problems in two languages, Gaussian tokens with standard deviation 1 in d dimensions.

    In the first q coordinates the Chinese tokens are shifted (in standard deviations) and spread (a factor); in the
    next ``shared`` (None: all others) the tokens of a problem share a mean of standard deviation ``content``, the same
    in both languages; in what is left there is nothing.
    ``correlation`` is that of neighbouring tokens (an AR(1) process). ``rotate`` turns all by a random rotation, so
    that nothing lies along a coordinate any more. Raises ZkitError unless 0 < q < d, 0 <= shared <= d - q, n >= 1,
    tokens >= 2 and -1 < correlation < 1.
    """
    if not (0 < q < d and 0 <= (shared or 0) <= d - q and n >= 1 and tokens >= 2 and -1 < correlation < 1):
        raise ZkitError(
            "planted clouds need 0 < q < d, shared <= d - q, a problem, two tokens and a correlation inside -1..1, "
            f"got q = {q}, shared = {shared}, d = {d}, n = {n}, tokens = {tokens}, correlation = {correlation}"
        )
    made = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(d, d, generator=made))[0] if rotate else torch.eye(d)
    tells = torch.arange(d) < q
    holds = ~tells & (torch.arange(d) < (d if shared is None else q + shared))
    found: dict[str, list[Tensor]] = {"zh": [], "en": []}
    for _ in range(n):
        about = content * torch.randn(d, generator=made) * holds
        for language, clouds in found.items():
            states = _walk(tokens, d, correlation, made)
            if language == "zh":
                states = torch.where(tells, spread * states + shift, states)
            clouds.append((states + about) @ turn)
    return Planted(Clouds.of(found["zh"]), Clouds.of(found["en"]), tells, holds)


def _walk(tokens: int, d: int, correlation: float, made: torch.Generator) -> Float[Tensor, "tokens d"]:
    steps = torch.randn(tokens, d, generator=made)
    fresh = (1 - correlation**2) ** 0.5
    for t in range(1, tokens):
        steps[t] = correlation * steps[t - 1] + fresh * steps[t]
    return steps
