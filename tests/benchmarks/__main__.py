"""`make bench`: ratios measured side by side in one run, printed and written to runs/bench.json."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import zkit
from tests.benchmarks import access, ard, filled, gates, mask, parity, patching, steering, true_shape


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", help="run the measurements whose name contains this")
    parser.add_argument("--out", type=Path, default=Path("runs/bench.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = zkit.load()
    measurements: dict[str, Callable[[], dict[str, Any]]] = {
        "all-layer means, one pass against one forward per layer": lambda: access.one_pass_for_all_layers(model),
        "streaming mean, peak memory at 16 times the prompts": access.streaming_memory,
        "8 arms in one batch against one by one": lambda: access.eight_arms_in_one_batch(model),
        "tokens per second, one edit against none, batch 1": lambda: access.one_edit_against_none(model, 1),
        "tokens per second, one edit against none, batch 8": lambda: access.one_edit_against_none(model, 8),
        "44 task lists of 4 questions, one by one against filled batches": lambda: filled.task_lists(model),
        "last-token patches, beginnings kept against whole prompts": lambda: filled.last_token_patches(model),
        **filled.on_the_field(),
        "scorecard of four styles over all layers, every prompt once against one pass per layer and vector": (
            lambda: steering.scorecard(model)
        ),
        "parity with steering-vectors, largest difference over its tolerance": lambda: parity.steering_vectors(model),
        "parity with repeng, largest difference over its tolerance": lambda: parity.repeng(model),
        "a step of gate training against one pass to a dummy gate": lambda: gates.training_step(model),
        "generation with gates folded in against none": lambda: gates.folded_generation(model),
        "Z of one layer at Qwen2.5-3B's shape, thin against a full SVD per head": mask.against_full_svd,
        "Z of all 36 layers at Qwen2.5-3B's shape, seconds against 10": mask.all_layers,
        "the table of chapter 09, one call against the published loop, prompt by prompt": lambda: patching.table(model),
        "a step of experiment C at d = 2048, matrix products against all differences": ard.step_against_differences,
        "the same step, peak memory": ard.memory_against_differences,
        "experiment C as specified, all layers of the embedded model, minutes against 6": lambda: ard.grid(model),
        "gates on a random Qwen3-0.6B shape, memory against 10 GiB": gates.true_shape,
        "chapter 00 on a random Qwen3-0.6B shape, memory against 8 GiB": true_shape.chapter_00,
        "chapter 04 on a random Qwen3-0.6B shape, memory against 8 GiB": true_shape.chapter_04,
        "zkit replicate on a random Qwen3-0.6B shape, memory against 8 GiB": true_shape.replication,
        "chapter 09 on a random Qwen2.5-3B shape, memory against 16 GiB": true_shape.chapter_09,
    }
    found = {}
    for name, measure in measurements.items():
        if args.only and args.only not in name:
            continue
        result = found[name] = measure()
        if "skipped" in result:
            print(f"{name}: skipped ({result['skipped']})", flush=True)
            continue
        sign = "at most" if result.get("at_most") else "at least"
        extra = ", ".join(f"{k} {_short(v)}" for k, v in result.items() if k not in ("ratio", "target", "at_most"))
        print(f"{name}: {result['ratio']:.2f} (wanted: {sign} {result['target']:.2f}; {extra})", flush=True)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    machine = {"machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__}
    args.out.write_text(json.dumps(machine | {"results": found}, indent=2) + "\n", encoding="utf-8")
    print(f"written: {args.out}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
