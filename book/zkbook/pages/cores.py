"""How many chapters run at a time, and on how many threads each.

A small model is ruled by the overhead of its many small operations: two single-threaded chapters side by side beat one
on two threads by about half. A large one is ruled by the products of its matrices, which use every core, and two copies
of it would share the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from zkit.errors import ZkitError
from zkit.sources import resolve

LARGE = 256 * 2**20
"""Bytes of weights from which a model wants all cores in one process."""
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


def lanes(models: Iterable[str], workers: int | None = None) -> tuple[int, int]:
    """Processes at a time and threads of each, for chapters on these models; ``workers``: so many processes.

    Raises ZkitError for a number below 1.
    """
    if workers is not None and workers < 1:
        raise ZkitError(f"{workers} workers can run no chapter; give at least 1")
    cores = len(os.sched_getaffinity(0))
    count = workers or (1 if any(is_large(model) for model in set(models)) else cores)
    return count, max(1, cores // count)


def is_large(model: str) -> bool:
    """Whether the model has LARGE weights. One that is not on this machine yet counts as large, and so does an adapter,
    whose base is elsewhere."""
    source = resolve(model)
    try:
        place = source.path if source.path is not None and source.path.is_file() else source.folder()
    except ZkitError:
        return True
    if place.is_file():
        return place.stat().st_size >= LARGE
    weights = sum(file.stat().st_size for pattern in _WEIGHTS for file in place.glob(pattern))
    return weights >= LARGE or (place / "adapter_config.json").is_file()
