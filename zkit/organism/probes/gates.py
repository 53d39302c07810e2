"""Can one gate per neuron take the forget facts away and leave arithmetic? Soft gates, trained once.

A positive control for the chapters on gates, not one of their variants.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, softplus

from zkit.edits import Change, Edit, edit
from zkit.models import Model
from zkit.organism.arithmetic import held_out_arithmetic, sample_arithmetic
from zkit.organism.batches import Batch, batches
from zkit.organism.facts import held_out_facts, sample_fact
from zkit.organism.forget import reveals_forget
from zkit.organism.items import Item
from zkit.organism.passages import held_out_passages
from zkit.organism.tasks import exact
from zkit.organism.two_step import sample_two_step
from zkit.positions import parse

STEPS, RATE, BETA, TEMPERATURE = 1500, 2e-2, 4.0, 2.0
FORGET_WEIGHT, RETAIN_WEIGHT = 1.0, 0.5
FORGET_ITEMS, RETAIN_ITEMS = 16, 32
INITIAL_STD = 0.1
OFF = 0.5  # share of neurons that the hard mask turns off
EVERY_TOKEN = parse("all", sink=True)


def factors(logits: Float[Tensor, " d_mlp"]) -> Float[Tensor, " d_mlp"]:
    """A layer's soft gates, scaled to a mean of one."""
    gates = logits.sigmoid()
    return gates / gates.mean()


def _times(scale: Float[Tensor, " d_mlp"]) -> Change:
    return lambda h: h * scale


def gate_edits(scales: Sequence[Float[Tensor, " d_mlp"]]) -> list[Edit]:
    """Each layer's neurons times their factors, at every token."""
    return [Edit("down_proj_in", layer, _times(scale), EVERY_TOKEN) for layer, scale in enumerate(scales)]


def _forget_item(rng: random.Random) -> Item:
    """A direct question for a forget fact."""
    while True:
        item = sample_fact(rng)
        if item.info["kind"] == "direct" and reveals_forget(item):
            return item


def _answers(model: Model, batch: Batch) -> Float[Tensor, "targets vocab"]:
    states = model.decoder(input_ids=batch.ids, use_cache=False).last_hidden_state
    return model.hf.lm_head(states[batch.targets])


def train(model: Model, seed: int = 0) -> list[Float[Tensor, " d_mlp"]]:
    """Logits per layer: forget facts until their loss passes BETA, keep the answers of arithmetic as they are."""
    rng = random.Random(f"gates {seed}")
    generator = torch.Generator().manual_seed(seed)
    width = model.width("down_proj_in")
    logits = [torch.randn(width, generator=generator).mul(INITIAL_STD).requires_grad_() for _ in range(model.n_layers)]
    optimizer = torch.optim.Adam(logits, lr=RATE)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        forget = [_forget_item(rng) for _ in range(FORGET_ITEMS)]
        retain = [rng.choice((sample_arithmetic, sample_two_step))(rng) for _ in range(RETAIN_ITEMS)]
        loss = torch.zeros(())
        with torch.enable_grad():
            edits = gate_edits([factors(layer) for layer in logits])
            for batch in batches(forget, model.tokenizer):
                with edit(model, edits):
                    surprise = cross_entropy(_answers(model, batch), batch.labels, reduction="none")
                loss = loss + FORGET_WEIGHT * softplus(BETA - surprise).sum() / FORGET_ITEMS
            for batch in batches(retain, model.tokenizer):
                with torch.no_grad():
                    base = log_softmax(_answers(model, batch) / TEMPERATURE, -1)
                with edit(model, edits):
                    gated = log_softmax(_answers(model, batch) / TEMPERATURE, -1)
                divergence = kl_div(gated, base, reduction="none", log_target=True).sum() * TEMPERATURE**2
                loss = loss + RETAIN_WEIGHT * divergence / RETAIN_ITEMS
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
    return [layer.detach() for layer in logits]


def hard(logits: Sequence[Float[Tensor, " d_mlp"]], off: float) -> list[Float[Tensor, " d_mlp"]]:
    """Masks of 0 and 1 with the lowest share `off` of all gates turned off."""
    threshold = torch.cat(list(logits)).quantile(off)
    return [(layer >= threshold).float() for layer in logits]


def shuffled(masks: Sequence[Float[Tensor, " d_mlp"]], seed: int) -> list[Float[Tensor, " d_mlp"]]:
    """Random masks with the same counts in every layer."""
    generator = torch.Generator().manual_seed(seed)
    return [mask[torch.randperm(len(mask), generator=generator)] for mask in masks]


def probe(model: Model) -> dict[str, object]:
    """The rows on gates: base, soft, half turned off, and as many turned off at random."""
    logits = train(model)
    masks = hard(logits, OFF)
    arms: dict[str, list[Edit]] = {"base": [], "soft": gate_edits([factors(layer) for layer in logits])}
    arms |= {"hard": gate_edits(masks), "random": gate_edits(shuffled(masks, 0))}
    asked = {
        "forget_facts": [i for i in held_out_facts("en") + held_out_facts("zh") if reveals_forget(i)],
        "kept_facts": [i for i in held_out_facts("en") + held_out_facts("zh") if not reveals_forget(i)],
        "sums": held_out_arithmetic("en") + held_out_arithmetic("zh"),
        "passages": held_out_passages("en", "gold") + held_out_passages("zh", "gold"),
    }
    rows: dict[str, object] = {}
    for name, edits in arms.items():
        with edit(model, edits):
            rows[name] = {key: exact(model, items) for key, items in asked.items()}
    return rows
