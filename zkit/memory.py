"""The limits of one batch: its number of rows, and its bytes of free memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from zkit.decoder import Decoder
from zkit.prompts import check_count

ROWS = 256
"""Default largest number of rows in a batch. Beyond some hundred rows, the time per row no longer falls."""
MOST_ROWS = 1 << 16
"""Largest ``batch_size`` that is accepted."""
SHARE = 0.25
"""Share of the free memory that one batch may use. The rest is left to other processes."""
ENOUGH = 2 * 2**30
"""Most bytes for one batch on a CPU, where larger batches are not faster."""
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Room:
    """The limits of one batch, ``rows`` and ``memory`` (bytes), and the bytes that parts of a row need."""

    rows: int
    memory: float
    token: float
    """Bytes of one column of a row: its keys and values in the cache, and its states while a layer computes."""
    logits: float
    """Bytes of one distribution over the vocabulary, and of what is computed from it."""

    def weight(self, columns: int, distributions: int = 1) -> float:
        """Bytes of a row with so many columns and distributions over the vocabulary."""
        return columns * self.token + distributions * self.logits


def room(model: Decoder, batch_size: int | None = None, memory: int | None = None) -> Room:
    """The limits for batches of ``model``: at most ``batch_size`` rows (None: ROWS) and ``memory`` bytes (None: SHARE
    of the free memory of the model's device, on a CPU at most ENOUGH). Raises ZkitError for a limit that is not a whole
    number of at least 1, and for more rows than MOST_ROWS.
    """
    if memory is not None:
        check_count("memory", memory)
    rows = ROWS if batch_size is None else check_count("batch_size", batch_size, MOST_ROWS)
    given = float(memory or SHARE * free(model.device))
    if memory is None and model.device.type == "cpu":
        given = min(given, ENOUGH)
    shape, size = model.hf.config.get_text_config(), model.dtype.itemsize
    heads = shape.num_attention_heads
    head = getattr(shape, "head_dim", None) or model.d_model // heads
    cached = 2 * model.n_layers * (getattr(shape, "num_key_value_heads", None) or heads) * head
    passing = 4 * (model.d_model + model.width("mlp_act"))  # residual stream and MLP, each a few times at once
    vocabulary = model.hf.get_input_embeddings().weight.shape[0]
    return Room(rows, given, (cached + passing) * size, vocabulary * 2 * size)


def free(device: torch.device) -> int:
    """Free bytes on a device; on the CPU, of the container's memory limit if there is one."""
    if device.type == "cuda":
        idle: Any = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + idle
    available = psutil.virtual_memory().available
    try:
        limit = int((_CGROUP / "memory.max").read_text())
        used = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no control groups, or no limit ("max")
        return available
    return min(available, max(0, limit - int(used["anon"])))
