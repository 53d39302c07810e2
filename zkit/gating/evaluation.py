"""The effects of gates: answers to tasks, drift on texts to be retained, and how fast facts are learned again."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from zkit.answers import bare
from zkit.edits import check_unedited, edit
from zkit.errors import ZkitError
from zkit.gating.apply import factor_edits, neuron_factors
from zkit.gating.controls import lowest, random_masks
from zkit.gating.gates import Gates
from zkit.gating.objective import divergence, entity_loss
from zkit.gating.texts import Text, batch, target_logits, tokens
from zkit.generation import complete, log_probs
from zkit.models import Model
from zkit.packing import TRAINING, packed
from zkit.stats import Interval, bootstrap_mean, wilson
from zkit.tasks import Task, from_memory, only, right

Factors = Float[Tensor, "n_layers d_mlp"]
R = TypeVar("R")


def replies(model: Model, task: Task, arms: Sequence[Factors], max_new_tokens: int = 24) -> list[list[str]]:
    """Greedy answers to a task's questions under each arm's factors; arms share batches."""
    return replies_to_all(model, [task], arms, max_new_tokens)[0]


def replies_to_all(
    model: Model, tasks: Sequence[Task], arms: Sequence[Factors], max_new_tokens: int = 24
) -> list[list[list[str]]]:
    """The :func:`replies` to each task; the questions of all tasks share batches."""
    prompts, chat = [q.prompt for task in tasks for q in task.questions], _formats(tasks)
    edited = [factor_edits(arm) for arm in arms]
    done = complete(model, prompts, edited, max_new_tokens=max_new_tokens, chat=chat)
    return _by_task(tasks, [[bare(answer.text) for answer in arm] for arm in done])


def known(model: Model, task: Task) -> Task:
    """The task with only the questions that the unedited model answers rightly. Raises ZkitError if none is left."""
    hits = right(task, replies(model, task, [unchanged(model)])[0])
    if not hits.any():
        raise ZkitError(f"{model.id!r} answers no question of {task.name!r} rightly, so there is nothing to forget")
    return only(task, hits)


def unchanged(model: Model) -> Factors:
    """Factors of 1, which leave the model unchanged."""
    return torch.ones(model.n_layers, model.width("mlp_act"))


def answer_losses(model: Model, tasks: Sequence[Task], arms: Sequence[Factors]) -> list[list[list[float]]]:
    """For each task and arm the mean loss (nats per token) of each question's first accepted answer."""
    asked, accepted = zip(*((q.prompt, q.answers[0]) for task in tasks for q in task.questions), strict=True)
    found = log_probs(model, asked, accepted, [factor_edits(arm) for arm in arms], chat=_formats(tasks))
    return _by_task(tasks, [[-float(row.mean()) for row in rows] for rows in found])


def _formats(tasks: Sequence[Task]) -> list[bool]:
    return [task.chat for task in tasks for _ in task.questions]


def _by_task(tasks: Sequence[Task], by_arm: Sequence[Sequence[R]]) -> list[list[list[R]]]:
    """Values for all questions under each arm, [arm][question], divided by task: [task][arm][question]."""
    ends = list(accumulate((len(task.questions) for task in tasks), initial=0))
    return [[list(found[a:b]) for found in by_arm] for a, b in pairwise(ends)]


def score(
    model: Model, tasks: Sequence[Task], arms: Mapping[str, Factors], losses: bool = True, max_new_tokens: int = 24
) -> pd.DataFrame:
    """A table of every arm on every task: a row for each measure, with its 95% interval over the questions.

    arms: the factors of the neurons, by name. losses: whether to measure the loss. max_new_tokens: of an answer.
    Measures: ``right``, the share of accepted answers (Wilson); ``loss``, nats per token of the first accepted answer
    (bootstrap); for tasks with answers from memory, ``memory``, their share, ``neither``, the share of other answers,
    and ``memory ratio``, the number of answers from memory over that of answers from memory and accepted answers.
    """
    rows = []
    answers = replies_to_all(model, tasks, list(arms.values()), max_new_tokens)
    lost = answer_losses(model, tasks, list(arms.values())) if losses else None
    for i, task in enumerate(tasks):
        for j, (name, texts) in enumerate(zip(arms, answers[i], strict=True)):
            n, good = len(texts), int(right(task, texts).sum())
            found = {"right": wilson(good, n)}
            if any(q.memory for q in task.questions):
                old = int((from_memory(task, texts) & ~right(task, texts)).sum())
                found |= {"memory": wilson(old, n), "neither": wilson(n - good - old, n)}
                if good + old:
                    found["memory ratio"] = wilson(old, good + old)
            if lost is not None:
                found["loss"] = bootstrap_mean(lost[i][j])
            rows += [{"task": task.name, "arm": name, "measure": what, **asdict(x)} for what, x in found.items()]
    return pd.DataFrame(rows)


def evaluate(
    model: Model,
    gates: Gates,
    tasks: Sequence[Task],
    thresholds: Sequence[float] = (),
    *,
    scale: str | None = None,
    n_random: int = 0,
    controls: Mapping[str, Float[Tensor, "n_layers d_mlp"]] | None = None,
    losses: bool = True,
    max_new_tokens: int = 24,
    seed: int = 0,
) -> pd.DataFrame:
    """A tidy table of the model without gates, with soft gates, and with hard gates at each threshold and controls.

    Columns: task, arm, off (the share of neurons that the arm turns off), measure, value, low, high, n; measures are
    those of :func:`score`.
    scale: of the soft gates (None: the one they were trained with).
    n_random: number of random masks for each threshold, with as many neurons off in every layer as the hard gates.
    controls: scores of all neurons, by name. Each adds a mask that turns off the lowest scores, in the same numbers.
    losses, max_new_tokens: see :func:`score`. seed: of the random masks.
    Raises ZkitError for no tasks, gates that do not fit the model, and thresholds outside (0, 1).
    """
    if not tasks:
        raise ZkitError("there are no tasks to evaluate on; give at least one")
    gates.check(model)
    whole = {"base": unchanged(model), "soft": neuron_factors(gates, scale)}
    tables = [score(model, tasks, whole, losses, max_new_tokens).assign(off=0.0)]
    for threshold in thresholds:
        off = gates.off(threshold)
        arms = {"hard": (~off).float()}
        arms |= {name: lowest(scores, off) for name, scores in (controls or {}).items()}
        arms |= {f"random {i}": mask for i, mask in enumerate(random_masks(off, n_random, seed))}
        tables.append(score(model, tasks, arms, losses, max_new_tokens).assign(off=float(off.double().mean())))
    columns = ["task", "arm", "off", "measure", "value", "low", "high", "n"]
    return pd.concat(tables, ignore_index=True)[columns]


def area_between(off: Sequence[float], forgotten: Sequence[float], damage: Sequence[float]) -> float:
    """Mean of ``forgotten`` - ``damage`` (the drops of recall and of reasoning) over the share of neurons off.

    It is the area between the two curves, by trapezoids, over the range of the shares: 1 for gates that forget
    everything and damage nothing at every share, and 0 if both drops are always equal. Raises ZkitError for fewer than
    two different shares.
    """
    if len(set(off)) < 2:
        raise ZkitError("an area needs at least two different shares of neurons off")
    order = np.argsort(off)
    gap = np.asarray(forgotten, float)[order] - np.asarray(damage, float)[order]
    x = np.asarray(off, float)[order]
    return float(np.trapezoid(gap, x) / (x[-1] - x[0]))


def drift(
    model: Model, texts: Sequence[Text], factors: Float[Tensor, "n_layers d_mlp"], chat: bool = True
) -> tuple[Interval, Interval]:
    """KL(base || gated) and the rise of the loss, nats per token: means over texts with bootstrap intervals.

    The rise of the loss is the logarithm of the ratio of perplexities. Raises ZkitError for no texts.
    """
    moved, rise = drift_by_text(model, texts, factors, chat)
    return bootstrap_mean(moved), bootstrap_mean(rise)


def drift_by_text(
    model: Model, texts: Sequence[Text], factors: Float[Tensor, "n_layers d_mlp"], chat: bool = True
) -> tuple[list[float], list[float]]:
    """The two values of :func:`drift` for every text, in the order of ``texts``. Raises ZkitError for no texts."""
    if not texts:
        raise ZkitError("drift is measured on texts; the list is empty")
    encoded = tokens(model, texts, chat)
    moved, rise = [0.0] * len(texts), [0.0] * len(texts)
    for group in packed([len(t.ids) for t in encoded]):
        rows = batch([encoded[i] for i in group], int(model.tokenizer.pad_token_id), model.device)
        with torch.no_grad():
            base = target_logits(model, rows)
            with edit(model, factor_edits(factors)):
                gated = target_logits(model, rows)
        kl, change = divergence(base, gated), entity_loss(gated, rows.labels) - entity_loss(base, rows.labels)
        for row, i in enumerate(group):
            moved[i], rise[i] = float(kl[rows.row == row].mean()), float(change[rows.row == row].mean())
    return moved, rise


def relearn(
    model: Model,
    texts: Sequence[Text],
    tasks: Sequence[Task],
    budget: Sequence[int] = (0, 5, 10, 20, 40, 80),
    *,
    learning_rate: float = 1e-4,
    texts_per_step: int = 16,
    chat: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    """Train a copy of all weights on ``texts`` and score ``tasks`` after each number of steps in ``budget``.

    Give a model with its gates folded in; it is not changed. Columns: step, and those of :func:`score`.
    learning_rate: of AdamW. texts_per_step: drawn without replacement in each step. chat: whether texts go through the
    chat template. seed: of the draws, which depend on nothing else, so that models are compared on the same texts.
    The copy is float32. Raises ZkitError for no texts, a budget that is empty or negative, and inside a block that
    edits the model.
    """
    if not texts or not budget or min(budget) < 0:
        raise ZkitError("relearning needs texts and a budget of steps that are 0 or more")
    check_unedited(model, "relearning")
    copied = replace(model, hf=copy.deepcopy(model.hf).float().requires_grad_(True))
    encoded = tokens(model, texts, chat)
    optimizer = torch.optim.AdamW(copied.hf.parameters(), lr=learning_rate, weight_decay=0.0)
    rng, rows = random.Random(f"relearn {seed}"), []
    for step in range(max(budget) + 1):
        if step in set(budget):
            rows.append(score(copied, tasks, {"relearned": unchanged(copied)}, losses=False).assign(step=step))
        if step < max(budget):
            drawn = rng.sample(range(len(encoded)), min(texts_per_step, len(encoded)))
            chosen = [encoded[i] for i in drawn]
            count = sum(len(t.entity) for t in chosen)
            optimizer.zero_grad()
            for group in packed([len(t.ids) for t in chosen], TRAINING):
                part = batch([chosen[i] for i in group], int(model.tokenizer.pad_token_id), model.device)
                with torch.enable_grad():
                    loss = cross_entropy(target_logits(copied, part).float(), part.labels, reduction="sum") / count
                    loss.backward()
            optimizer.step()
    return pd.concat(rows, ignore_index=True)
