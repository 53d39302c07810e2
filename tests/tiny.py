"""Tiny random models of each supported family, with a byte-level tokenizer that needs no files."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from zkit.models import Model
from zkit.sources import Source

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"]

END, PAD = 256, 257

_SHAPE = dict(
    vocab_size=272, hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=512, bos_token_id=None, eos_token_id=END,
    pad_token_id=PAD, initializer_range=0.15, tie_word_embeddings=False,
)  # fmt: skip

CONFIGS = {
    "qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig, "mistral": MistralConfig,
    "gemma": GemmaConfig, "gemma2": Gemma2Config, "gemma3": Gemma3TextConfig,
}  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte: 256 bytes, then the special tokens of the Qwen chat format."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fast = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=fast, eos_token="<|im_end|>", pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:2] + SPECIAL[3:],
    )  # fmt: skip
    assert (len(wrapped), wrapped.eos_token_id, wrapped.pad_token_id) == (261, END, PAD)
    wrapped.chat_template = TEMPLATE
    return wrapped


def config(family: str = "qwen3", **changes):
    return CONFIGS[family](**{**_SHAPE, **changes})


def model(family: str = "qwen3", *, attn: str = "sdpa", dtype=torch.float32, seed: int = 0, **changes) -> Model:
    torch.manual_seed(seed)
    cfg = config(family, **changes)
    attn = "eager" if family == "gemma2" else attn  # the only attention Gemma 2 has
    hf = AutoModelForCausalLM.from_config(cfg, attn_implementation=attn, dtype=dtype)
    hf = hf.eval().requires_grad_(False)
    hf.get_input_embeddings().weight.mul_(2 if family.startswith("gemma") else 8)  # else it says one token for ever
    return Model(hf, tokenizer(), Source(f"tiny-{family}", None))


@cache
def shared(family: str = "qwen3", *, attn: str = "sdpa", seed: int = 0, window: int | None = None) -> Model:
    """A model that tests read and never change. ``window``: sliding attention over so many tokens, where it exists."""
    return model(family, attn=attn, seed=seed, **({} if window is None else {"sliding_window": window}))


SLIDING = {"mistral": 16, "gemma2": 16, "gemma3": 16}
"""Families with sliding attention, with a window that is shorter than the prompts of the tests."""
