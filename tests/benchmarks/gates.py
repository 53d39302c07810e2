"""Gates: the cost of a training step, of folded generation, and the whole path on the true Qwen3-0.6B shape."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import zkit
from tests.benchmarks.side_by_side import ratio
from tests.benchmarks.true_shape import make
from zkbook.organism.unlearning import forget_texts, retain_texts
from zkit import gating
from zkit.edits import edit
from zkit.gating.apply import factor_edits
from zkit.gating.texts import batch, target_logits
from zkit.gating.training import Run
from zkit.packing import packed


def training_step(model: zkit.Model) -> dict[str, Any]:
    """A step of training against one forward and backward pass of the same texts to one gate in the first layer."""
    run = Run(model, forget_texts(), retain_texts(), gating.recipe("chat_energy_optB"))
    forget, retain = run.plan.at(0)
    chosen = [run.texts[i] for i in forget + [run.n_forget + i for i in retain]]
    groups = packed([len(t.ids) for t in chosen])
    rows = [batch([chosen[i] for i in g], int(model.tokenizer.pad_token_id), model.device) for g in groups]
    dummy = torch.ones(1, model.width("mlp_act"), requires_grad=True)

    def one_dummy_gate() -> None:
        for part in rows:
            with torch.enable_grad(), edit(model, factor_edits(dummy)):
                torch.nn.functional.cross_entropy(target_logits(model, part), part.labels).backward()

    measured = ratio(lambda: run._step(0), one_dummy_gate)
    return measured | {"target": 1.6, "at_most": True, "texts": len(chosen)}


def folded_generation(model: zkit.Model) -> dict[str, Any]:
    """Generation by a model with gates folded in, against the model as it is, both without an end of turn."""
    gates = gating.Gates(gating.initial_logits(model.n_layers, model.width("mlp_act")), {"scale": "mean"})
    folded = gating.fold(model, gates).hf
    ids = model.tokenize(["What is the capital of France?"] * 8)
    options = {"max_new_tokens": 48, "min_new_tokens": 48, "do_sample": False}
    measured = ratio(lambda: folded.generate(**ids, **options), lambda: model.hf.generate(**ids, **options))
    return measured | {"target": 1.05, "at_most": True}


def true_shape(limit_gib: float = 10.0) -> dict[str, Any]:
    """Peak memory over the limit of: 86,016 gates from a card's folder, applied, folded, saved, reloaded by plain
    transformers, and one training step, on a random Qwen3-0.6B."""
    work = Path(tempfile.mkdtemp(prefix="zkit-gates-"))
    try:
        make(work / "model")
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.gates", str(work)], check=True, capture_output=True, text=True
        )
        gates, difference, peak = done.stdout.split()[-3:]
        return {
            "ratio": float(peak) / 2**30 / limit_gib,
            "target": 1.0,
            "at_most": True,
            "peak_gib": float(peak) / 2**30,
            "gates": int(gates),
            "largest_logit_difference": float(difference),
            "seconds": time.perf_counter() - start,
        }
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _true_shape(work: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = zkit.load(work / "model", dtype="bfloat16")
    logits = gating.initial_logits(model.n_layers, model.width("mlp_act"))
    (work / "card").mkdir()
    keys = {f"model.module.model.layers.{i}.mlp.lambda_logits": row.clone() for i, row in enumerate(logits)}
    torch.save(keys, work / "card" / "lambda_logits.pt")
    gates = gating.load(work / "card")
    batch = model.tokenize(["What is the capital of France?", "12 + 7 ="])
    with gating.gate(model, gates, threshold=gates.thresholds[0]), torch.no_grad():
        hooked = model.hf(**batch).logits[:, -1].float()
    gating.fold(model, gates, threshold=gates.thresholds[0]).hf.save_pretrained(work / "folded")
    run = Run(model, forget_texts()[:16], retain_texts(32), gating.recipe("chat_energy_optB", epochs=1.0))
    run.advance(progress=False)
    del run, model
    plain = AutoModelForCausalLM.from_pretrained(work / "folded", dtype=torch.bfloat16)
    with torch.no_grad():
        difference = float((plain(**batch).logits[:, -1].float() - hooked).abs().max())
    print(gates.logits.numel(), difference, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    _true_shape(Path(sys.argv[1]))
