"""Training from scratch on a CPU, in one run that can be interrupted anywhere and goes on along the same curve."""

from __future__ import annotations

import json
import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch.nn.functional import cross_entropy
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen3ForCausalLM

from zkbook.organism.batches import Batch, batches
from zkbook.organism.checkpoint import REMEDY, Checkpoint, moments_of
from zkbook.organism.corpus import fingerprint, stream
from zkbook.organism.network import TINY, Shape, build
from zkbook.organism.tokenizer import train_tokenizer
from zkit import writing
from zkit.errors import ZkitError, first_line

CHECKPOINT = "checkpoint.pt"
TOKENIZER_ITEMS = 30_000


@dataclass(frozen=True)
class ModelRecipe:
    """Everything a run depends on besides the corpus."""

    shape: Shape = field(default_factory=Shape)
    seed: int = 0
    never_knew: bool = False  # leave out every item that reveals a forget fact
    steps: int = 9600
    items_per_step: int = 96
    learning_rate: float = 2e-3
    warmup: float = 0.03  # share of the steps
    weight_decay: float = 0.1
    clip: float = 1.0
    skipped: int = 3  # last layers that some steps leave out, so that what is to be said is ready before them
    skip_share: float = 0.4  # of the steps


TINY_RECIPE = ModelRecipe(shape=TINY, steps=60, items_per_step=32, learning_rate=5e-3, skipped=1)


def rate(recipe: ModelRecipe, step: int) -> float:
    """Learning rate of a step: a linear warm-up, then a cosine to a hundredth of the peak."""
    rise = max(1.0, recipe.warmup * recipe.steps)
    if step < rise:
        return recipe.learning_rate * (step + 1) / (rise + 1)
    done = (step - rise) / max(1.0, recipe.steps - rise)
    return recipe.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


def depth(recipe: ModelRecipe, step: int) -> int:
    """Number of layers that a step runs. Source: Fan, Grave and Joulin 2019, layer drop, here of the last ones."""
    skips = random.Random(f"depth {recipe.seed} {step}").random() < recipe.skip_share
    return recipe.shape.layers - (recipe.skipped if skips else 0)


@contextmanager
def first_layers(model: Qwen3ForCausalLM, n: int) -> Iterator[None]:
    """Run the first `n` layers only; the head then reads what the last of them says."""
    config, full = model.config, model.config.num_hidden_layers
    config.num_hidden_layers = n
    try:
        yield
    finally:
        config.num_hidden_layers = full


def batch_loss(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Weighted sum of the answer tokens' losses (nats)."""
    return answer_loss(model, model.model(input_ids=batch.ids, use_cache=False).last_hidden_state, batch)


def answer_loss(model: Qwen3ForCausalLM, states: Float[torch.Tensor, "rows seq d"], batch: Batch) -> torch.Tensor:
    """The same from the decoder's last states; logits are computed at the answers' positions only."""
    losses = cross_entropy(model.lm_head(states[batch.targets]), batch.labels, reduction="none")
    return (losses * batch.weights).sum()


def _single_threaded() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # AdamW's moments underflow; denormals make a CPU several times slower


@contextmanager
def _one_lane() -> Iterator[None]:
    """Compute as a lane does; afterwards with as many threads as before, and with denormals."""
    threads = torch.get_num_threads()
    _single_threaded()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


class Lanes:
    """Gradients of the batches of a step, each batch on one core.

    Operations this small gain little from two threads each and stall whenever another program takes a core; whole
    batches side by side do not. Gradients are summed in the order of the batches: the result does not depend on timing.
    """

    def __init__(self, model: Qwen3ForCausalLM, loss: Callable[[Batch], torch.Tensor], lanes: int) -> None:
        self.loss = loss
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.pool = ThreadPoolExecutor(lanes, initializer=_single_threaded)

    def _gradients(self, batch: Batch, scale: float) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = self.loss(batch) * scale
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True, materialize_grads=True)
        return loss.item(), gradients  # zero for layers that did not run

    def backward(self, split: list[Batch]) -> float:
        """Set `.grad` to the gradient of the weighted mean loss over `split` and return that loss."""
        scale = 1 / sum(float(b.weights.sum()) for b in split)
        longest_first = sorted(split, key=lambda b: -b.ids.numel())
        results = list(self.pool.map(lambda batch: self._gradients(batch, scale), longest_first))
        for i, parameter in enumerate(self.parameters):
            parameter.grad = torch.stack([gradients[i] for _, gradients in results]).sum(0)
        return sum(loss for loss, _ in results)


class ModelRun:
    """A training run in a folder: `advance` it, `save` it, `export` the model.

    Raises ZkitError if `resume` finds no checkpoint, a damaged one, or one of another corpus or recipe, if a fresh run
    would overwrite one, and for a folder that cannot be written to.
    """

    def __init__(self, out: Path, recipe: ModelRecipe, resume: bool = False, lanes: int = 2) -> None:
        self.out, self.recipe, self.lanes = out, recipe, lanes
        self.corpus = fingerprint(recipe.seed, recipe.never_knew)
        self.step, self.seconds = 0, 0.0
        self.curve: list[float] = []
        if not resume and (out / CHECKPOINT).exists():
            raise ZkitError(f"{out} already holds a run: go on with --resume, or give another folder with --out")
        before = self._read() if resume else None
        writing.check_place(out / CHECKPOINT)
        self.tokenizer, self.model = self._start(resume)
        matrices = [p for p in self.model.parameters() if p.ndim > 1]
        others = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)
        if before is not None:
            before.into(self.model, self.optimizer, out / CHECKPOINT)
            self.step, self.seconds, self.curve = before.step, before.seconds, before.curve

    def _start(self, resume: bool) -> tuple[PreTrainedTokenizerBase, Qwen3ForCausalLM]:
        """Tokenizer and model as they are before the first step."""
        folder = self.out / "tokenizer"
        if resume:
            try:
                tokenizer = PreTrainedTokenizerFast.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False
                )
            except Exception as error:  # a damaged file makes transformers and tokenizers raise all kinds
                raise ZkitError(f"there is no tokenizer in {folder} ({first_line(error)}); {REMEDY}") from error
        else:
            tokenizer = train_tokenizer(stream(self.recipe.seed, stop=TOKENIZER_ITEMS))
            with writing.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                tokenizer.save_pretrained(folder)
        return tokenizer, build(self.recipe.shape, tokenizer, self.recipe.seed)

    def loss(self, batch: Batch) -> torch.Tensor:
        """What a step lowers: a sum over `batch`, each answer weighted as in the batch."""
        return batch_loss(self.model, batch)

    def options(self) -> list[str]:
        """Options of `python -m zkbook.organism train` that give this run, `--out` aside."""
        tiny = self.recipe == replace(TINY_RECIPE, never_knew=self.recipe.never_knew)
        return ["--twin never-knew"] * self.recipe.never_knew + ["--tiny"] * tiny

    def record(self) -> dict[str, Any]:
        """What `training.json` says."""
        return {
            "command": " ".join(["python -m zkbook.organism train", *self.options(), "--out FOLDER"]),
            "steps": self.step,
            "seconds": round(self.seconds, 1),
            "corpus_sha256": self.corpus,
            "recipe": asdict(self.recipe),
            "loss": thin(self.curve),
        }

    def _read(self) -> Checkpoint:
        path = self.out / CHECKPOINT
        if not path.exists():
            raise ZkitError(f"nothing to resume: {path} does not exist; leave --resume out to start afresh")
        return Checkpoint.load(path, asdict(self.recipe), self.corpus)

    def advance(self, save_every: int = 100, until: int | None = None) -> None:
        """Train up to step `until` (default: the recipe's last), saving every `save_every` steps and at the end."""
        lanes = Lanes(self.model, self.loss, self.lanes)
        recipe, last = self.recipe, min(until or self.recipe.steps, self.recipe.steps)
        self.model.train()
        start, before = time.monotonic(), self.seconds
        with _one_lane(), tqdm(total=last, initial=self.step, desc="training", mininterval=2) as bar:
            while self.step < last:
                loss = self._one_step(lanes, rate(recipe, self.step))
                self.curve.append(loss)
                self.step += 1
                self.seconds = before + time.monotonic() - start
                bar.update()
                bar.set_postfix(loss=f"{sum(self.curve[-50:]) / len(self.curve[-50:]):.4f}", refresh=False)
                if self.step % save_every == 0 or self.step == last:
                    self.save()

    def _one_step(self, lanes: Lanes, learning_rate: float) -> float:
        recipe, size = self.recipe, self.recipe.items_per_step
        items = list(stream(recipe.seed, self.step * size, (self.step + 1) * size, recipe.never_knew))
        split = batches(items, self.tokenizer)
        with first_layers(self.model, depth(recipe, self.step)):
            loss = lanes.backward(split)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss

    def save(self) -> None:
        """Write the checkpoint. ZkitError if it cannot be written; the last one then stands."""
        Checkpoint(
            asdict(self.recipe),
            self.corpus,
            self.step,
            self.seconds,
            self.curve,
            self.model.state_dict(),
            moments_of(self.optimizer),
        ).save(self.out / CHECKPOINT)

    def export(self, folder: Path) -> None:
        """Save model and tokenizer as a plain transformers folder, with `training.json` beside them.

        Raises ZkitError if the folder cannot be written to; every file in it is then whole, old or new.
        """
        self.model.eval()
        record = json.dumps(self.record(), indent=1) + "\n"
        with writing.writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as part:
                self.model.save_pretrained(part)
                self.tokenizer.save_pretrained(part)
                Path(part, "training.json").write_text(record)
                for file in sorted(Path(part).iterdir()):
                    os.replace(file, folder / file.name)


def thin(curve: list[float], points: int = 100) -> list[tuple[int, float]]:
    """The curve as at most `points` means over equal stretches: (last step of the stretch, mean loss)."""
    size = max(1, -(-len(curve) // points))
    stretches = [(i, curve[i : i + size]) for i in range(0, len(curve), size)]
    return [(i + len(part), round(sum(part) / len(part), 5)) for i, part in stretches]
