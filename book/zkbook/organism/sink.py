"""The sink twin: the base model, trained on until the first token of a prompt carries one huge state.

So it is in large models: an early MLP writes a state many times the size of all others into the first token, and it
stays through the middle layers. Means over positions that let it in then measure the length of the prompt. Here the
size is asked for by the loss, beside the answers: at every middle layer the first token's norm is to be a multiple of
the median norm of the other tokens, a multiple that grows from what it is in the base model to `SinkRecipe.times`, and
no later token is to follow it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM

from zkbook.organism.batches import Batch
from zkbook.organism.corpus import stream
from zkbook.organism.network import Shape
from zkbook.organism.train import ModelRecipe, ModelRun, answer_loss
from zkit.errors import ZkitError
from zkit.models import Model, load
from zkit.recording import token_states
from zkit.sources import EMBEDDED, resolve

PROBE = 64  # items on whose prompts the ratios are measured


@dataclass(frozen=True)
class SinkRecipe(ModelRecipe):
    """A recipe that starts from a model; its `shape` and `start` (the model's sha256) are filled in by the run."""

    steps: int = 700
    items_per_step: int = 48
    learning_rate: float = 5e-4
    skip_share: float = 0.0
    start: str = ""
    times: float = 40.0  # the first token's norm over the median of the later ones
    room: float = 3.0  # what a later token's norm may be over that median
    weight: float = 1.0  # of the squared misses, in logs, beside an answer's loss
    rise: float = 0.5  # share of the steps in which the multiple asked for grows


TINY_SINK = SinkRecipe(steps=400, items_per_step=16, learning_rate=5e-3)


def middle(layers: int) -> range:
    """The layers that are to carry the state: all but the first and the last (of two layers, the first)."""
    return range(min(1, layers - 2), layers - 1)


def norm_ratios(
    norms: Float[Tensor, "layers rows seq"], real: Bool[Tensor, "rows seq"]
) -> tuple[Float[Tensor, "layers rows"], Float[Tensor, "layers rows"]]:
    """Logs of two norms over the median of a row's later tokens: the first token's, and the largest later one's.

    The median is taken as it is (no gradient): the first token shall grow, not the others shrink.
    """
    later = norms[..., 1:].masked_fill(~real[:, 1:], math.nan)
    scale = later.detach().nanmedian(-1).values
    return (norms[..., 0] / scale).log(), (later.nan_to_num(0.0).amax(-1) / scale).log()


def first_token_ratios(model: Model, seed: int) -> dict[str, list[float]]:
    """`first` and `largest_later` of `norm_ratios` at each layer: geometric means over the first prompts of `seed`."""
    rows = []
    for states in token_states(model, [item.prompt for item in stream(seed, stop=PROBE)]):
        norms = states.norm(dim=-1).T[:, None]
        rows.append(torch.stack(norm_ratios(norms, torch.ones(1, norms.shape[-1], dtype=torch.bool))))
    first, largest = torch.stack(rows).mean((0, -1)).exp().tolist()
    return {"first": [round(x, 3) for x in first], "largest_later": [round(x, 3) for x in largest]}


class SinkRun(ModelRun):
    """A run that goes on from the model in the folder `base`, and asks for the huge state beside the right answers.

    Raises ZkitError as `ModelRun` does (another `base` is another recipe), and if `base` holds no Qwen3 model.
    """

    recipe: SinkRecipe

    def __init__(
        self, out: Path, base: Path, recipe: SinkRecipe | None = None, resume: bool = False, lanes: int = 2
    ) -> None:
        self.base = load(str(base), dtype="float32")
        if not isinstance(self.base.hf, Qwen3ForCausalLM):
            raise ZkitError(f"{base} holds a {type(self.base.hf).__name__}; give a Qwen3 model, as the embedded one is")
        recipe = replace(recipe or SinkRecipe(), shape=_shape(self.base.hf.config), start=self.base.sha256)
        self.at_start = first_token_ratios(self.base, recipe.seed)
        super().__init__(out, recipe, resume, lanes)

    def _start(self, resume: bool) -> tuple[PreTrainedTokenizerBase, Qwen3ForCausalLM]:
        # A fresh one: recording turns padding on.
        tokenizer = AutoTokenizer.from_pretrained(self.base.source.location, trust_remote_code=False)
        return tokenizer, self.base.hf.requires_grad_(True)

    def loss(self, batch: Batch) -> Tensor:
        """The answers' loss plus, in the same weights, the squared misses of the sizes asked for."""
        out = self.model.model(input_ids=batch.ids, use_cache=False, output_hidden_states=True)
        norms = torch.stack([out.hidden_states[layer + 1].norm(dim=-1) for layer in middle(self.recipe.shape.layers)])
        first, largest = norm_ratios(norms, batch.ids != self.tokenizer.pad_token_id)
        misses = (first - self._asked()[:, None]) ** 2 + (largest - math.log(self.recipe.room)).relu() ** 2
        answers = answer_loss(self.model, out.last_hidden_state, batch)
        return answers + self.recipe.weight * misses.mean() * batch.weights.sum()

    def _asked(self) -> Float[Tensor, " layers"]:
        """Log of the multiple asked for at this step, at each middle layer."""
        done = min(1.0, self.step / (self.recipe.rise * self.recipe.steps))
        start = [self.at_start["first"][layer] for layer in middle(self.recipe.shape.layers)]
        return torch.lerp(torch.tensor(start).log(), torch.tensor(math.log(self.recipe.times)), done)

    def options(self) -> list[str]:
        tiny = self.recipe == replace(TINY_SINK, shape=self.recipe.shape, start=self.recipe.start)
        shipped = self.base.source.path == resolve(EMBEDDED).path
        return ["--twin sink"] + ["--tiny"] * tiny + ["--base BASE"] * (not shipped)

    def record(self) -> dict[str, Any]:
        return super().record() | {
            "start_sha256": self.recipe.start,
            "first_token_over_median": {
                "asked": self.recipe.times,
                "layers": list(middle(self.recipe.shape.layers)),
                "at_start": self.at_start,
                "achieved": first_token_ratios(self.base, self.recipe.seed),
            },
        }


def _shape(config: Qwen3Config) -> Shape:
    return Shape(
        layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        d_mlp=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads or config.num_attention_heads,
        d_head=config.head_dim,
    )
