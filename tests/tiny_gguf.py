"""A tiny random Qwen2 as a GGUF file, as a converter would write it: weights in float32, tokenizer, chat template."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import gguf
import tiny

_CONTROL, _NORMAL, _UNUSED = 3, 1, 5


def write(path: Path, *, architecture: str = "qwen2", leave_out: tuple[str, ...] = (), **more: Any) -> Path:
    """Write ``tiny.shared("qwen2")``. ``leave_out``: "tokenizer", "template", or names of tensors.

    ``more``: values of further keys, such as ``{"split.count": 3}``; arrays are tensors of their own.
    """
    model = tiny.shared("qwen2")
    config, names = model.hf.config, gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, model.n_layers)
    with closing(gguf.GGUFWriter(path, architecture)) as writer:
        writer.add_name("tiny")
        writer.add_block_count(config.num_hidden_layers)
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        if "tokenizer" not in leave_out:
            _add_tokenizer(writer, model.tokenizer, config.vocab_size)
        if "template" not in leave_out:
            writer.add_chat_template(tiny.TEMPLATE)
        for key, value in more.items():
            if isinstance(value, str):
                writer.add_string(key, value)
            elif isinstance(value, int):
                writer.add_uint32(key, value)
            else:
                writer.add_tensor(key, value)
        for name, tensor in model.hf.state_dict().items():
            stem, kind = name.rsplit(".", 1)
            if name not in leave_out:
                writer.add_tensor(f"{names.get_name(stem)}.{kind}", tensor.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    return path


def _add_tokenizer(writer: Any, tokenizer: Any, rows: int) -> None:
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_ids)
    kinds = [_CONTROL if i in special else _NORMAL for i in range(len(tokens))]
    merge = "\u0100 \u0100"  # the format wants one: two zero bytes, which no test writes
    spare = [merge.replace(" ", ""), *(f"[PAD{i}]" for i in range(len(tokens) + 1, rows))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens + spare)
    writer.add_token_types(kinds + [_NORMAL] + [_UNUSED] * (len(spare) - 1))
    writer.add_token_merges([merge])
    writer.add_eos_token_id(tiny.END)
    writer.add_pad_token_id(tiny.PAD)
