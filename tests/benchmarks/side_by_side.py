"""Time two ways of doing the same thing in turn, so that a machine's mood cancels in the ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any


def ratio(slow: Callable[[], Any], fast: Callable[[], Any], pairs: int = 7) -> dict[str, float]:
    """Seconds of ``slow`` over seconds of ``fast``: the median, smallest and largest over interleaved pairs.

    One pair runs first and is not counted; every other pair runs in the opposite order.
    """
    slow(), fast()
    ratios, times = [], []
    for i in range(pairs):
        order = [("slow", slow), ("fast", fast)]
        spent = {name: _seconds(run) for name, run in (order if i % 2 else reversed(order))}
        ratios.append(spent["slow"] / spent["fast"])
        times.append(spent["fast"])
    return {
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "pairs": pairs,
        "seconds": statistics.median(times),
    }


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
