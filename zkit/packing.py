"""Group rows of different lengths into few padded batches; run a function on many lists at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

from zkit.errors import ZkitError

OVERHEAD = 60
"""Fixed cost of a pass, in tokens: about the same at 2 million parameters and at 500 million."""
TRAINING = 150
"""Fixed cost of a pass with gradients, in tokens."""

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")


def cheapest_cuts(
    lengths: Sequence[int],
    overhead: float = OVERHEAD,
    rows: int | None = None,
    weights: Sequence[float] | None = None,
    room: float | None = None,
) -> list[int]:
    """Where to cut sorted lengths into batches, 0 and the end included, for the least total cost.

    lengths: of the rows, ascending. overhead: cost of a batch in tokens, added to its number of padded tokens.
    rows: most rows of a batch (None: any). weights: bytes of each row. room: most bytes of a batch, which are its
    number of rows times the largest of their weights. A row that is too large by itself is a batch of its own.
    """
    most = len(lengths) if rows is None else rows
    best, before = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        cheapest, cut, heaviest = float("inf"), end - 1, 0.0
        for start in range(end - 1, max(-1, end - 1 - most), -1):
            if weights is not None and room is not None:
                heaviest = max(heaviest, weights[start])
                if start < end - 1 and (end - start) * heaviest > room:
                    break
            cost = best[start] + overhead + (end - start) * lengths[end - 1]
            if cost <= cheapest:
                cheapest, cut = cost, start
        best.append(cheapest)
        before.append(cut)
    cuts = [len(lengths)]
    while cuts[-1]:
        cuts.append(before[cuts[-1]])
    return cuts[::-1]


def packed(
    lengths: Sequence[int],
    overhead: float = OVERHEAD,
    rows: int | None = None,
    weights: Sequence[float] | None = None,
    room: float | None = None,
) -> list[list[int]]:
    """Indices of rows grouped into the batches that cost least, each of rows of similar length.

    lengths: of the rows, in any order. overhead, rows, weights, room: see :func:`cheapest_cuts`.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    heavy = None if weights is None else [weights[i] for i in order]
    cuts = cheapest_cuts([lengths[i] for i in order], overhead, rows, heavy, room)
    return [order[a:b] for a, b in pairwise(cuts)]


def as_one(lists: Mapping[K, Sequence[T]], run: Callable[[list[T]], Sequence[R]]) -> dict[K, list[R]]:
    """Call ``run`` once on the members of all lists, and return its results list by list.

    Run one by one, many short lists make many small batches; together they fill a few:
    ``as_one(questions_by_task, lambda questions: complete(model, questions))``.
    Raises ZkitError if ``run`` does not return one result for each member.
    """
    flat = [member for members in lists.values() for member in members]
    found = list(run(flat)) if flat else []
    if len(found) != len(flat):
        raise ZkitError(f"{len(flat)} members but {len(found)} results; run must return one for each, in order")
    results = iter(found)
    return {key: [next(results) for _ in members] for key, members in lists.items()}
