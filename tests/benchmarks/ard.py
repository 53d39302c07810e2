"""Experiment C: a step at the published width, and the whole grid on the embedded model."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.benchmarks.side_by_side import ratio
from zkbook.organism.problems import interchange_problems
from zkit import Model, token_states
from zkit.phase3.ard import WeighedKernel, from_mask, literal, mmd2_sum
from zkit.phase3.kernels import Clouds
from zkit.phase3.weights import z_mask

D, PAIRS = 2048, 20


@cache
def drawn() -> tuple[list[Tensor], list[Tensor]]:
    """Twenty pairs of clouds of 40 to 60 tokens at Qwen2.5-3B's width."""
    made = torch.Generator().manual_seed(0)
    sizes = torch.randint(40, 61, (2, PAIRS), generator=made).tolist()
    zh, en = ([torch.randn(n, D, generator=made) for n in row] for row in sizes)
    return zh, en


def step(summed: Callable[[Tensor], Tensor]) -> Tensor:
    """One step of the specified descent, for any way to sum MMD^2: the gradient for log l."""
    log_l = torch.full((D,), 4.0, requires_grad=True)
    lengthscale = log_l.exp()
    (summed(lengthscale) + 0.01 * (1 / lengthscale).sum()).backward()
    assert log_l.grad is not None
    return log_l.grad


@cache
def prepared() -> WeighedKernel:
    """What a descent makes once, before its first step."""
    return mmd2_sum(*map(Clouds.of, drawn()))


def by_products() -> Tensor:
    return step(prepared())


def by_differences() -> Tensor:
    """Autograd on the tensor [n, m, d] of all differences, pair by pair, as the formula is written."""

    def k(x: Tensor, y: Tensor, lengthscale: Tensor) -> Tensor:
        return (-0.5 * ((x.unsqueeze(1) - y) / lengthscale).square().sum(-1)).exp()

    def one(x: Tensor, y: Tensor, lengthscale: Tensor) -> Tensor:
        n, m = len(x), len(y)
        own = (k(x, x, lengthscale).sum() - n) / (n * (n - 1)) + (k(y, y, lengthscale).sum() - m) / (m * (m - 1))
        return own - 2 * k(x, y, lengthscale).mean()

    pairs = list(zip(*drawn(), strict=True))
    return step(lambda lengthscale: torch.stack([one(x, y, lengthscale) for x, y in pairs]).sum())


def step_against_differences() -> dict[str, Any]:
    """Seconds of a step on [n, m, d] over those of one by matrix products, which have to agree."""
    apart = float((by_products() - by_differences()).abs().max() / by_differences().abs().max())
    if apart > 1e-3:
        raise SystemExit(f"the two ways give gradients {apart:.2g} apart")
    return ratio(by_differences, by_products, pairs=3) | {"target": 10.0, "apart": apart}


def memory_against_differences() -> dict[str, Any]:
    """Peak memory of a step by matrix products over that on [n, m, d], each above what its process had before."""
    spent = {}
    for name in ("by_products", "by_differences"):
        command = [sys.executable, "-m", "tests.benchmarks.ard", name]
        spent[name] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    mib = {name: bytes / 2**20 for name, bytes in spent.items()}
    return {"ratio": mib["by_products"] / mib["by_differences"], "target": 1 / 20, "at_most": True, "mib": mib}


def grid(model: Model) -> dict[str, Any]:
    """Minutes of the specified descent at all layers of the embedded model, three strengths, over six."""
    problems = interchange_problems("test", "sum")[:PAIRS]
    states = {lang: token_states(model, [p.prompts[lang] for p in problems]) for lang in ("zh", "en")}
    start = time.perf_counter()
    for layer in range(model.n_layers):
        zh, en = (Clouds.of([rows[:, layer] for rows in states[lang]]) for lang in ("zh", "en"))
        first = from_mask(z_mask(model, layer, 8))
        for strength in (0.001, 0.01, 0.1):
            literal(zh, en, strength, first, steps=500)
    minutes = (time.perf_counter() - start) / 60
    return {"ratio": minutes / 6, "target": 1.0, "at_most": True, "minutes": minutes}


def _memory(what: str) -> int:
    """Bytes that the kernel of Linux counts for this process: VmRSS, now, or VmHWM, at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "by_products":
        prepared()
    else:
        drawn()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of what came before
    before = _memory("VmRSS")
    {"by_products": by_products, "by_differences": by_differences}[sys.argv[1]]()
    print(_memory("VmHWM") - before)
