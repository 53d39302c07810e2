"""Train gates: the texts of each step, the checkpoint of an interrupted run, and the run itself."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from zkit import writing
from zkit.edits import edit
from zkit.errors import ZkitError
from zkit.gating import hard_concrete, objective
from zkit.gating.apply import factor_edits, rescaled
from zkit.gating.gates import Gates, initial_logits
from zkit.gating.recipes import Recipe, recipe
from zkit.gating.texts import BaseLogits, Batch, Text, Tokens, batch, target_logits, tokens
from zkit.models import Model
from zkit.packing import TRAINING, packed
from zkit.reading import check, plain
from zkit.tensor_files import check_shapes, read_state


@dataclass(frozen=True)
class Order:
    """Indices of forget and retain texts by step, in random order; no text is repeated before all others were used."""

    n_forget: int
    n_retain: int
    forget_per_step: int
    retain_per_step: int
    seed: int

    def steps(self, epochs: float) -> int:
        """Number of steps in so many passes over the forget texts."""
        return max(1, math.ceil(epochs * self.n_forget / self.forget_per_step))

    def at(self, step: int) -> tuple[list[int], list[int]]:
        """The forget and the retain texts of a step."""
        return (
            self._run("forget", self.n_forget, step * self.forget_per_step, self.forget_per_step),
            self._run("retain", self.n_retain, step * self.retain_per_step, self.retain_per_step),
        )

    def _run(self, what: str, n: int, start: int, length: int) -> list[int]:
        found: list[int] = []
        while len(found) < length:
            turn, first = divmod(start + len(found), n)
            order = random.Random(f"{what} {self.seed} {turn}").sample(range(n), n)
            found += order[first : first + length - len(found)]
        return found


CHECKPOINT = "checkpoint.pt"
_MOMENTS = {"step": (), "exp_avg": None, "exp_avg_sq": None}  # Adam's state -> shape (None: that of the logits)


_Rows = Annotated[list[dict[str, float]], Field(fail_fast=True)]


@dataclass
class Step:
    """The log of one step. loss: the weighted sum of forget (F), retain (R) and nke (N), plus the penalty on the
    expected share of neurons off. entity_loss: nats per token. off: that expected share (0 without a penalty). mean,
    std: of lambda = sigmoid(logit)."""

    step: int
    loss: float
    forget: float
    retain: float
    nke: float
    entity_loss: float
    off: float
    mean: float
    std: float


@dataclass
class Progress:
    """The state of a run. identity: recipe, digests of model and texts. moments: Adam's, {} before the first step."""

    identity: dict[str, Any]
    logits: Float[Tensor, "n_layers d_mlp"]
    moments: dict[str, Tensor]
    log: list[Step]

    def save(self, folder: Path) -> None:
        """Write ``checkpoint.pt`` into ``folder``, whole or not at all. Raises ZkitError if it cannot be written."""
        whole = io.BytesIO()
        torch.save({**vars(self), "log": [vars(row) for row in self.log]}, whole)
        writing.write(folder / CHECKPOINT, whole.getvalue())

    @classmethod
    def load(cls, folder: Path, identity: Mapping[str, Any], shape: tuple[int, int], steps: int) -> Progress:
        """Inverse of :meth:`save`, for a run of this ``identity``, logits of this ``shape`` and so many ``steps``.

        Raises ZkitError for a damaged or foreign checkpoint, and one of another run, naming the difference.
        """
        path = folder / CHECKPOINT
        state = read_state(path)
        names = [field.name for field in fields(cls)]
        if not isinstance(state, dict) or sorted(map(str, state)) != sorted(names):
            raise ZkitError(f"{path} is no checkpoint of a training run ({', '.join(names)}); start afresh elsewhere")
        remedy = "start afresh in another folder"
        found = check(dict[str, Any], state["identity"], f"{path}: identity", remedy)
        for key, value in identity.items():
            if found.get(key) != value:
                raise ZkitError(f"{path} belongs to another run: its {key} differs; {remedy}")
        moments = check(dict[str, Any], state["moments"], f"{path}: moments", remedy)
        shapes = {f"moments.{name}": shape if own is None else own for name, own in _MOMENTS.items() if moments}
        given = {"logits": state["logits"], **{f"moments.{name}": value for name, value in moments.items()}}
        check_shapes(given, {"logits": shape, **shapes}, str(path), remedy)
        log = _log(state["log"], f"{path}: log", remedy)
        if len(log) > steps or (moments["step"] if moments else 0) != len(log):
            raise ZkitError(
                f"{path} has a log of {len(log)} steps, which its optimizer or its run did not take; {remedy}"
            )
        return cls(found, state["logits"], moments, log)


def _log(rows: Any, where: str, remedy: str) -> list[Step]:
    check(_Rows, plain(rows, where), where, remedy)
    names = {field.name for field in fields(Step)}
    for i, row in enumerate(rows):
        if set(row) != names or row["step"] != i + 1:
            raise ZkitError(f"{where}.{i} should be step {i + 1} with {', '.join(sorted(names))}; {remedy}")
    return [Step(**row) for row in rows]


LOG, LOG_POINTS = "log.jsonl", 100


def train(
    model: Model,
    forget: Sequence[Text],
    retain: Sequence[Text],
    variant: str = "chat_energy",
    *,
    out: str | Path | None = None,
    resume: bool = False,
    save_every: int = 50,
    progress: bool = True,
    **changes: Any,
) -> Gates:
    """Gates trained by a published variant (:func:`zkit.gating.recipe`).

    forget, retain: the texts. changes: options of the recipe that differ from the variant's (see :class:`Recipe`).
    out: a folder for ``checkpoint.pt`` and ``log.jsonl`` (None: none is written). resume: whether to continue the run
    in ``out``; the result is that of an uninterrupted run. save_every: steps between checkpoints. progress: whether to
    show a bar.
    The gates' note holds the recipe, the digests of model and texts, and the log as means over intervals of steps.
    Raises ZkitError for no texts, forget texts without a marked entity, unknown variants and options, a checkpoint of
    another run, a new run in a folder that holds one, a folder that cannot be written to (before anything is computed),
    and a loss that is not finite (the log is kept).
    """
    run = Run(model, forget, retain, recipe(variant, **changes), None if out is None else Path(out), resume)
    run.advance(save_every=save_every, progress=progress)
    return run.gates()


class Run:
    """A training run; call ``advance`` and then ``gates``.

    forget, retain, out, resume: see :func:`train`. Raises ZkitError for no texts, forget texts without a marked entity,
    a folder that cannot be written to, and a checkpoint that is missing with ``resume``, there without it, or of
    another run.
    """

    def __init__(
        self,
        model: Model,
        forget: Sequence[Text],
        retain: Sequence[Text],
        recipe: Recipe,
        out: Path | None = None,
        resume: bool = False,
    ) -> None:
        if not forget or not retain:
            raise ZkitError(f"{'forget' if not forget else 'retain'} has no texts; gates learn from both")
        unmarked = next((t for t in forget if not t.entities), None)
        if unmarked is not None:
            raise ZkitError(f"no entity is marked in the forget text {unmarked.text!r}; mark what is to be forgotten")
        if out is not None:
            writing.check_place(out / CHECKPOINT)
        self.model, self.recipe, self.out = model, recipe, out
        self.texts = tokens(model, forget, recipe.chat) + tokens(model, retain, recipe.chat)
        self.n_forget = len(forget)
        self.plan = Order(
            len(forget),
            len(retain),
            recipe.forget_per_step,
            recipe.forget_per_step * recipe.retain_per_forget,
            recipe.seed,
        )
        self.steps = self.plan.steps(recipe.epochs)
        width = model.width("mlp_act")
        start = initial_logits(model.n_layers, width, recipe.init_std, recipe.seed)
        self.logits = (start + recipe.init_mean).to(model.device).requires_grad_()
        self.optimizer = torch.optim.Adam([self.logits], lr=recipe.learning_rate)
        self.log: list[Step] = []
        self.identity = {"recipe": recipe.as_dict(), "model_sha256": model.sha256, "texts_sha256": self._digest()}
        if out is not None:
            self._open(out, resume)
        self.base = BaseLogits(model, self.texts, self.n_forget, recipe.w > 0)

    def _digest(self) -> str:
        texts = [self.n_forget, *((t.ids, t.start, t.entity) for t in self.texts)]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    def _open(self, out: Path, resume: bool) -> None:
        path = out / CHECKPOINT
        if path.exists() != resume:
            raise ZkitError(
                f"{out} already holds a run; give resume=True to go on, or another folder"
                if path.exists()
                else f"nothing to resume: {path} does not exist; leave resume out to start afresh"
            )
        if resume:
            shape = (self.logits.shape[0], self.logits.shape[1])
            before = Progress.load(out, self.identity, shape, self.steps)
            with torch.no_grad():
                self.logits.copy_(before.logits)
            moments = {0: before.moments} if before.moments else {}
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
            self.log = before.log

    def save(self) -> None:
        """Write checkpoint and log into ``out``, if given, each whole or not at all."""
        if self.out is None:
            return
        moments = self.optimizer.state_dict()["state"].get(0, {})
        Progress(self.identity, self.logits.detach().cpu(), moments, self.log).save(self.out)
        self._write_log()

    def _write_log(self) -> None:
        if self.out is not None:
            writing.write(self.out / LOG, "".join(json.dumps(vars(row)) + "\n" for row in self.log))

    def advance(self, until: int | None = None, save_every: int = 50, progress: bool = True) -> None:
        """Train up to step ``until`` (default: the last). Raises ZkitError for a loss that is not finite."""
        last = self.steps if until is None else min(until, self.steps)
        with tqdm(total=last, initial=len(self.log), desc=self.recipe.variant, disable=not progress) as bar:
            while len(self.log) < last:
                self.log.append(self._step(len(self.log)))
                bar.update()
                bar.set_postfix(loss=f"{self.log[-1].loss:.3f}", entity=f"{self.log[-1].entity_loss:.2f}")
                if not math.isfinite(self.log[-1].loss):
                    self._write_log()  # the last checkpoint remains
                    raise ZkitError(
                        f"the loss of step {len(self.log)} is not finite; load the model in float32 or bfloat16, "
                        "or lower learning_rate"
                    )
                if len(self.log) % save_every == 0 or len(self.log) == last:
                    self.save()

    def _step(self, step: int) -> Step:
        forget, retain = self.plan.at(step)
        chosen = forget + [self.n_forget + i for i in retain]
        counts = _Counts([self.texts[i] for i in forget], [self.texts[self.n_forget + i] for i in retain], self.recipe)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2
        self.optimizer.zero_grad()
        total = torch.zeros(4)
        for rows in packed([len(self.texts[i].ids) for i in chosen], TRAINING):
            total += self._backward([chosen[i] for i in rows], counts, step)
        of = self.recipe
        off = hard_concrete.expected_off(self.logits) if of.sparsity else self.logits.new_zeros(())
        price = of.sparsity * (off - of.off_target).clamp(min=0)
        if of.sparsity:
            price.backward()
        self.optimizer.step()
        f, r, n, ce = total.tolist()
        values = self.logits.detach().sigmoid()
        loss = of.lambda_f * f + of.lambda_r * r + of.w * n + float(price.detach())
        return Step(step + 1, loss, f, r, n, ce, float(off.detach()), float(values.mean()), float(values.std()))

    def factors(self, step: int) -> Float[Tensor, "n_layers d_mlp"]:
        """The factors of the neurons at a step of training."""
        if self.recipe.gate == "hard_concrete":
            return hard_concrete.sample(self.logits, torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + step))
        return rescaled(self.logits.sigmoid(), self.recipe.scale, self.recipe.scope)

    def _backward(self, chosen: list[int], counts: _Counts, step: int) -> Float[Tensor, " 4"]:
        """Add the gradient of one padded batch; returns its contributions to F, R, N and the entities' loss."""
        of, model = self.recipe, self.model
        rows = batch([self.texts[i] for i in chosen], int(model.tokenizer.pad_token_id), model.device)
        base = self.base.logits(chosen, rows)
        to_forget = (torch.tensor(chosen, device=model.device) < self.n_forget)[rows.row]
        entity, other = to_forget & rows.entity, to_forget & ~rows.entity
        with torch.enable_grad(), edit(model, factor_edits(self.factors(step))):
            gated = target_logits(model, rows)
            f = objective.forget(gated[entity], rows.labels[entity], rows.row[entity], of.beta, of.reduction)
            kept = [objective.retain(base[~to_forget], gated[~to_forget], rows.row[~to_forget], of.temperature,
                                     of.t_squared, of.reduction)]  # fmt: skip
            kept.append(
                objective.mean_by(objective.divergence(base[other], gated[other]), rows.row[other], of.reduction)
                if of.w > 0
                else f.new_zeros(())
            )
            ce = objective.entity_loss(gated[entity].detach(), rows.labels[entity])
            terms = torch.stack([f, *kept, objective.mean_by(ce, rows.row[entity], of.reduction)])
            shares = counts.shares(rows, entity, ~to_forget, other).to(terms)
            weights = terms.new_tensor([of.lambda_f, of.lambda_r, of.w, 0.0])
            (terms * shares * weights).sum().backward()
        return (terms * shares).detach().cpu()

    def gates(self) -> Gates:
        """The current gates, with a note on how they were made."""
        note = {
            "variant": self.recipe.variant,
            "scale": self.recipe.scale,
            "gate": self.recipe.gate,
            "chat": self.recipe.chat,
            "seed": self.recipe.seed,
            "steps": len(self.log),
            "model": self.model.id,
            **self.identity,
            "curve": thin([vars(row) for row in self.log]),
        }
        return Gates(self.logits.detach().cpu(), note)


class _Counts:
    """Numbers of tokens (or texts) of each kind in a step: weights with which batches add up to the step's means."""

    def __init__(self, forget: Sequence[Tokens], retain: Sequence[Tokens], of: Recipe) -> None:
        self.by_token = of.reduction == "token"
        sets = ([t.entity for t in forget], [[True] * len(t.entity) for t in retain],
                [[not e for e in t.entity] for t in forget])  # fmt: skip
        self.totals = [sum(map(sum, marks)) if self.by_token else sum(map(any, marks)) for marks in sets]

    def shares(self, rows: Batch, *kinds: Tensor) -> Float[Tensor, 4]:
        found = [
            (int(kind.sum()) if self.by_token else len(rows.row[kind].unique())) / max(total, 1)
            for kind, total in zip(kinds, self.totals, strict=True)
        ]
        return torch.tensor([*found, found[0]])


def thin(log: Sequence[dict[str, float]], points: int = LOG_POINTS) -> list[dict[str, float]]:
    """The log as at most ``points`` means over equal intervals of steps; ``step`` is the last step of each."""
    size = max(1, -(-len(log) // points))
    stretches = [log[i : i + size] for i in range(0, len(log), size)]
    means = [{key: round(sum(row[key] for row in part) / len(part), 6) for key in part[0]} for part in stretches]
    return [{**mean, "step": part[-1]["step"]} for mean, part in zip(means, stretches, strict=True)]
