"""Rows of different lengths in few padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

OVERHEAD = 150  # what a batch costs whatever its size, in tokens


def cheapest_cuts(lengths: Sequence[int]) -> list[int]:
    """Where to cut sorted lengths into batches, ends included: least padded tokens plus `OVERHEAD` a batch."""
    best, before = [0.0], [0]
    for end in range(1, len(lengths) + 1):
        costs = [best[start] + OVERHEAD + (end - start) * lengths[end - 1] for start in range(end)]
        before.append(min(range(end), key=costs.__getitem__))
        best.append(costs[before[-1]])
    cuts = [len(lengths)]
    while cuts[-1]:
        cuts.append(before[cuts[-1]])
    return cuts[::-1]


def packed(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of rows grouped into batches of similar length that cost least."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    cuts = cheapest_cuts([lengths[i] for i in order])
    return [order[a:b] for a, b in pairwise(cuts)]
