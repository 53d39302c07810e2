"""Shapes of decoder-only transformers, and how many distinct parameters they have."""

from __future__ import annotations

from typing import Any


def from_config(config: dict[str, Any], name: str = "embedded") -> dict[str, Any]:
    """The shape in a transformers ``config.json``, in the words of the book's published.yml."""
    heads = config["num_attention_heads"]
    return {
        "id": name,
        "architecture": config["model_type"].capitalize(),
        "layers": config["num_hidden_layers"],
        "d_model": config["hidden_size"],
        "d_ffn": config["intermediate_size"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "d_head": config.get("head_dim") or config["hidden_size"] // heads,
        "vocabulary": config["vocab_size"],
        "tied": config["tie_word_embeddings"],
    }


def parameters(shape: dict[str, Any]) -> int:
    """Distinct parameters of a Qwen2 or Qwen3 model: a tied embedding is counted once.

    Qwen3 normalises queries and keys per head; Qwen2 has biases on queries, keys and values instead.
    """
    width, queries, keys = shape["d_model"], shape["heads"] * shape["d_head"], shape["kv_heads"] * shape["d_head"]
    attention = 2 * width * queries + 2 * width * keys
    attention += 2 * shape["d_head"] if shape["architecture"] == "Qwen3" else queries + 2 * keys
    layer = attention + 3 * width * shape["d_ffn"] + 2 * width
    embedding = shape["vocabulary"] * width
    return shape["layers"] * layer + width + embedding * (1 if shape["tied"] else 2)
