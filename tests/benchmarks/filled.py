"""Filled batches and kept beginnings, against the same questions list by list and the same prompts whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig

import zkit
from tests.benchmarks.access import one_edit_against_none
from tests.benchmarks.side_by_side import ratio
from zkbook import organism
from zkit import positions
from zkit.edits import patch
from zkit.generation import complete, next_log_probs
from zkit.packing import as_one
from zkit.subspaces import random_subspace

N_LISTS = 4
"""Questions of each task."""
NEW = 24
"""Tokens of the longest answer."""


def on_the_field() -> dict[str, Callable[[], dict[str, Any]]]:
    """The measurements on the real model that ZKIT_FIELD_MODEL names; without it they say so."""
    path = os.environ.get("ZKIT_FIELD_MODEL")

    def measure(how: Callable[..., dict[str, Any]], *given: Any) -> Callable[[], dict[str, Any]]:
        def run() -> dict[str, Any]:
            if not path:
                return {"skipped": "ZKIT_FIELD_MODEL names no model"}
            threads = torch.get_num_threads()
            torch.set_num_threads(len(os.sched_getaffinity(0)))
            try:
                return how(zkit.load(path), *given)
            finally:
                torch.set_num_threads(threads)

        return run

    return {
        "real model: 44 task lists of 4 questions, one by one against filled batches": measure(task_lists, 0),
        "real model: last-token patches, beginnings kept against whole prompts": measure(last_token_patches, 20, 8, 0),
        "real model: tokens per second, one edit against none, batch 1": measure(one_edit_against_none, 1, 11, 0.97),
        "real model: tokens per second, one edit against none, batch 8": measure(one_edit_against_none, 8, 7, 0.97),
    }


def task_lists(model: zkit.Model, pairs: int = 7) -> dict[str, Any]:
    """44 lists of 4 questions: one call for each list against one call for all. The texts must be the same.

    One by one is what one does without zkit: a padded batch to transformers' ``generate``. How much of the ratio is the
    filling of batches alone, and not the beginnings read once and rows that leave when they end, stands beside it: the
    same calls of ``complete``, one for each list.
    """
    lists = {
        (lang, key): task.items[:N_LISTS]
        for lang in ("en", "zh")
        for key, task in organism.held_out_tasks(lang).items()
    }

    def ask(items: list[Any]) -> list[str]:
        chat = [item.chat for item in items]
        return [a.text for a in complete(model, [i.prompt for i in items], max_new_tokens=NEW, chat=chat)]

    def generate(items: list[Any]) -> list[str]:
        [chat] = {item.chat for item in items}
        batch = model.tokenize([item.prompt for item in items], chat)
        new = model.hf.generate(**batch, generation_config=greedy)[:, batch["input_ids"].shape[1] :]
        return model.tokenizer.batch_decode(new, skip_special_tokens=True)

    ends = list(model.end_tokens)
    greedy = GenerationConfig(
        max_new_tokens=NEW,
        do_sample=False,
        repetition_penalty=1.0,
        eos_token_id=ends,
        pad_token_id=model.tokenizer.pad_token_id,
    )
    texts: dict[str, Any] = {}
    runs = {
        "filled": lambda: texts.update(filled=as_one(lists, ask)),
        "generate": lambda: texts.update(generate={key: generate(items) for key, items in lists.items()}),
        "complete": lambda: texts.update(complete={key: ask(items) for key, items in lists.items()}),
    }
    measured = _ratio(runs["generate"], runs["filled"], pairs)
    alone = _ratio(runs["complete"], runs["filled"], pairs)

    def same(how: str) -> int:
        return sum(a == b for key in lists for a, b in zip(texts[how][key], texts["filled"][key], strict=True))

    return measured | {
        "target": 5.0 if pairs == 0 else 1.5,
        "over_complete_list_by_list": alone["ratio"],
        "texts": N_LISTS * len(lists),
        "same_as_generate": same("generate"),
        "same_as_complete": same("complete"),
    }


def last_token_patches(model: zkit.Model, n_pairs: int = 20, n_subspaces: int = 8, pairs: int = 3) -> dict[str, Any]:
    """Patches of the last prompt token, every layer and subspace: the prompt's beginning kept against whole prompts.

    What is asked are the log-probabilities of ten tokens after the prompt.
    """
    items = organism.held_out_arithmetic("en", "+", form="word problem")
    asked, sources = [i.prompt for i in items[:n_pairs]], [i.prompt for i in items[n_pairs : 2 * n_pairs]]
    states = zkit.record(model, sources, "last")  # [n_pairs, n_layers, d_model]
    draws = torch.Generator().manual_seed(0)
    subspaces = [random_subspace(20, model.d_model, draws) for _ in range(n_subspaces)]
    arms = [
        [patch("resid_post", layer, states[:, layer], subspace, positions.last(1))]
        for layer in range(model.n_layers)
        for subspace in subspaces
    ]
    digits = [model.tokenizer(str(d), add_special_tokens=False).input_ids[-1] for d in range(10)]
    kept: dict[bool, torch.Tensor] = {}

    def run(prefix: bool) -> None:
        found = next_log_probs(model, asked, None, arms, among=digits, prefix=prefix)
        kept[prefix] = torch.stack([torch.cat(rows) for rows in found])

    measured = _ratio(lambda: run(False), lambda: run(True), pairs)
    apart = float((kept[True] - kept[False]).abs().max())
    if apart > 1e-3:
        raise SystemExit(f"kept beginnings give other log-probabilities: {apart:.2g} apart")
    return measured | {
        "target": 10.0 if pairs == 0 else 5.0,
        "arms": len(arms),
        "rows": len(arms) * n_pairs,
        "largest_difference": apart,
    }


def _ratio(slow: Callable[[], Any], fast: Callable[[], Any], pairs: int) -> dict[str, Any]:
    """Side by side; once each, without a rehearsal, where ``pairs`` is 0: for runs of minutes."""
    if pairs:
        return ratio(slow, fast, pairs)
    spent = []
    for run in (fast, slow):
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        spent.append((time.perf_counter() - wall, time.process_time() - cpu))
    (wall, cpu), (slow_wall, slow_cpu) = spent
    return {"ratio": slow_wall / wall, "cpu_ratio": slow_cpu / cpu, "pairs": 1, "seconds": wall}
