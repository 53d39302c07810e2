"""Chapters, through plain papermill, and `zkit replicate` on a random model of the shape of the published one."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, Qwen2Config, Qwen3Config

from zkbook.replication import rows as replicated
from zkit.sources import resolve

CORES = len(os.sched_getaffinity(0))
ROOT = Path(__file__).resolve().parents[2]
QWEN3_06B = dict(
    vocab_size=151_936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16,
    num_key_value_heads=8, head_dim=128, max_position_embeddings=40_960, rope_theta=1_000_000.0,
    rms_norm_eps=1e-6, tie_word_embeddings=True,
)  # fmt: skip
QWEN25_3B = dict(
    vocab_size=151_936, hidden_size=2048, intermediate_size=11_008, num_hidden_layers=36, num_attention_heads=16,
    num_key_value_heads=2, max_position_embeddings=32_768, rope_theta=1_000_000.0, rms_norm_eps=1e-6,
    tie_word_embeddings=True,
)  # fmt: skip


def make(folder: Path, kind: type[PretrainedConfig] = Qwen3Config, shape: dict[str, Any] = QWEN3_06B) -> Path:
    """Write a random bfloat16 checkpoint of the shape, with the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(resolve("embedded").location)
    config = kind(**shape, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id)
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def chapter_00(limit_gib: float = 8.0) -> dict[str, Any]:
    """Peak memory of papermill and its kernel over the limit; the page must say that the model is untrained."""
    small = {"n_problems": 4, "n_prompts": 2, "doses": [0.0, 0.4], "max_new_tokens": 16}
    return _chapter("00_embedded_model", small, limit_gib, "This model is untrained")


def chapter_04(limit_gib: float = 8.0) -> dict[str, Any]:
    """Peak memory of papermill and its kernel over the limit, on as few questions as the chapter can do with.

    The layer is given: to choose one repeats the same passes at each, which takes minutes and no more memory.
    """
    small = {"layer": 14, "n_topics": 2, "n_prompts": 1, "n_random": 1, "doses": [-0.2, 0.2], "max_new_tokens": 8}
    return _chapter("04_steering", small, limit_gib)


def chapter_09(limit_gib: float = 16.0) -> dict[str, Any]:
    """Peak memory of papermill and its kernel over the limit, with two problems and ten new tokens."""
    small = {"n_problems": 2, "n_prompts": 2, "n_random": 1, "steps": 1, "max_new_tokens": 10}
    return _chapter("09_phase3a_patching", small, limit_gib, kind=Qwen2Config, shape=QWEN25_3B)


def replication(limit_gib: float = 8.0) -> dict[str, Any]:
    """Peak memory of `zkit replicate` over the limit; every row must call the weights untrained."""
    work = Path(tempfile.mkdtemp(prefix="zkit-true-shape-"))
    try:
        model, book = make(work / "random"), work / "book"
        (book / "notebooks").mkdir(parents=True)
        (book / "book").mkdir()
        (book / "_toc.yml").touch()
        shutil.copy(ROOT / "book" / "published.yml", book / "book")
        start = time.perf_counter()
        with _Peak() as peak:
            peak.watch([sys.executable, "-m", "zkit", "replicate", "--model", str(model), "--root", str(book)])
        seconds = time.perf_counter() - start
        [path] = book.glob("runs/*/replication.json")
        verdicts = Counter(cells["verdict"].split("; not measured")[0] for cells in replicated(path))
        if set(verdicts) != {"not reproduced: untrained weights"}:
            raise SystemExit(f"random weights were compared as if they were trained: {dict(verdicts)}")
        measured = {"ratio": peak.bytes / 2**30 / limit_gib, "target": 1.0, "at_most": True}
        return measured | {"peak_gib": peak.bytes / 2**30, "seconds": seconds, "rows": dict(verdicts)}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _chapter(
    name: str,
    small: dict[str, Any],
    limit_gib: float,
    says: str = "",
    kind: type[PretrainedConfig] = Qwen3Config,
    shape: dict[str, Any] = QWEN3_06B,
) -> dict[str, Any]:
    """Run a chapter with small parameters; its page must say what ``says`` is."""
    work = Path(tempfile.mkdtemp(prefix="zkit-true-shape-"))
    try:
        model, executed = make(work / "random", kind, shape), work / "executed.ipynb"
        small = small | {"profile": "smoke"}
        given = small | {"model": str(model), "dtype": "bfloat16", "out": str(work / "out")}
        start = time.perf_counter()
        with _Peak() as peak:
            peak.watch(
                [sys.executable, "-m", "papermill", str(ROOT / f"notebooks/{name}.ipynb"), str(executed)]
                + [part for key, value in given.items() for part in ("-y", json.dumps({key: value}))]
            )
        outputs = [
            output
            for cell in json.loads(executed.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", [])
        ]
        if says not in json.dumps(outputs):
            raise SystemExit(f"the page of {name} does not say: {says}")
        result = {
            "ratio": peak.bytes / 2**30 / limit_gib,
            "target": 1.0,
            "at_most": True,
            "peak_gib": peak.bytes / 2**30,
            "seconds": time.perf_counter() - start,
            "sizes": small,
        }
        return result | ({"page_says": says} if says else {})
    finally:
        shutil.rmtree(work, ignore_errors=True)


class _Peak:
    """The largest sum of resident memory of a command and its children, sampled twenty times a second."""

    bytes = 0

    def __enter__(self) -> _Peak:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def watch(self, command: list[str]) -> None:
        process = psutil.Popen(command, cwd=tempfile.gettempdir(), env=os.environ | {"OMP_NUM_THREADS": str(CORES)})
        sampler = threading.Thread(target=self._sample, args=(process,), daemon=True)
        sampler.start()
        if process.wait() != 0:
            raise SystemExit(f"{' '.join(command[:6])} ... failed with status {process.returncode}")
        sampler.join()

    def _sample(self, process: psutil.Popen) -> None:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            total = 0
            for one in [process, *process.children(recursive=True)]:
                try:
                    total += one.memory_info().rss
                except psutil.Error:  # it ended between the listing and the reading
                    continue
            self.bytes = max(self.bytes, total)
            time.sleep(0.05)
