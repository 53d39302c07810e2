"""Speed of model access and steering on the embedded model, each as a ratio measured side by side."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import torch

import zkit
from tests.benchmarks.side_by_side import ratio
from zkit.generation import complete

QUESTIONS = ["What is a mutex?", "How does bread rise?", "Why are there tides?", "What is photosynthesis?"]


def one_pass_for_all_layers(model: zkit.Model) -> dict[str, Any]:
    """Means of all layers: one pass that stops after the last layer, against one full forward per layer."""
    prompts = QUESTIONS * 4
    batch = model.tokenize(prompts)

    def one_forward_per_layer() -> None:
        for layer in range(model.n_layers):
            kept: list[torch.Tensor] = []
            handle = model.layers[layer].register_forward_hook(lambda _, args, out, kept=kept: kept.append(out.mean(1)))
            with torch.no_grad():
                model.hf(**batch)
            handle.remove()

    measured = ratio(one_forward_per_layer, lambda: zkit.record(model, prompts))
    return measured | {"target": 0.8 * model.n_layers, "layers": model.n_layers}


def streaming_memory() -> dict[str, Any]:
    """Peak memory of a process that streams the mean over 4,096 prompts, over that of one that streams 256.

    The same two runs with ``record``, which keeps every prompt's states, stand beside it.
    """
    peaks = {(how, n): _peak_memory(how, n) for how in ("mean_state", "record") for n in (256, 4096)}
    return {
        "ratio": peaks["mean_state", 4096] / peaks["mean_state", 256],
        "target": 1.05,
        "at_most": True,
        "record_ratio": peaks["record", 4096] / peaks["record", 256],
        "mib": {f"{how} {n}": round(peak / 2**20) for (how, n), peak in peaks.items()},
    }


def _peak_memory(how: str, n: int) -> int:
    code = (
        "import resource, torch, zkit; torch.set_num_threads(1); model = zkit.load(); "
        f"zkit.{how}(model, ['How does bread rise, and why does it need salt?'] * {n}); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
    )
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def eight_arms_in_one_batch(model: zkit.Model) -> dict[str, Any]:
    """Eight strengths in one batch against eight batches."""
    v = zkit.steering.actadd(model, "terse", layer=model.n_layers // 2)
    arms = [zkit.steering.edits(model, v, alpha) for alpha in (-2, -1, -0.5, 0, 0.5, 1, 1.5, 2)]
    prompts = QUESTIONS[:2]
    measured = ratio(
        lambda: [complete(model, prompts, [arm], max_new_tokens=48) for arm in arms],
        lambda: complete(model, prompts, arms, max_new_tokens=48),
    )
    return measured | {"target": 3.0}


def one_edit_against_none(model: zkit.Model, batch: int, pairs: int = 61, target: float = 0.95) -> dict[str, Any]:
    """Tokens per second with one steering edit over those without, at equal numbers of tokens."""
    v = zkit.steering.actadd(model, "terse", layer=model.n_layers // 2) * 1e-6  # changes the cost, not the tokens
    prompts = [QUESTIONS[i % len(QUESTIONS)] for i in range(batch)]

    def steered() -> None:
        with zkit.steer(model, v):
            complete(model, prompts, max_new_tokens=64)

    measured = ratio(lambda: complete(model, prompts, max_new_tokens=64), steered, pairs=pairs)
    return measured | {"target": target}
