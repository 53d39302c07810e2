"""The shape of the embedded model: a Qwen3 small enough to train on two cores."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from transformers import PreTrainedTokenizerBase, Qwen3Config, Qwen3ForCausalLM


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; `d_head` is independent of `d_model / heads`, as in Qwen3."""

    layers: int = 10
    d_model: int = 128
    d_mlp: int = 320
    heads: int = 4
    kv_heads: int = 2
    d_head: int = 32

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


TINY = Shape(layers=2, d_model=32, d_mlp=64, heads=2, kv_heads=1, d_head=16)


def build(shape: Shape, tokenizer: PreTrainedTokenizerBase, seed: int) -> Qwen3ForCausalLM:
    """A freshly initialised model of `shape` for `tokenizer`, float32; the same for the same seed."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.d_head,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.05,
    )
    model = Qwen3ForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model
