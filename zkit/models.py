"""Load a causal language model and find the places in it that edits and recordings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, BatchEncoding
from transformers.utils import logging as hf_logging

from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.prompts import Prompt, check_answers, check_prompts
from zkit.sources import Source, resolve
from zkit.tokens import content_mask

SITES = ("layer", "attn", "mlp", "down_proj_in")
"""Output of a decoder layer, of its attention, of its MLP; and the input of the MLP's ``down_proj``."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True, eq=False)
class Model:
    """A plain transformers model and tokenizer, with the decoder layers found. Make one with :func:`load`."""

    hf: Any
    """The transformers module (``*ForCausalLM``), in eval mode."""
    tokenizer: Any
    """The transformers tokenizer."""
    source: Source

    def __post_init__(self) -> None:
        _ = self.layers  # refuses an architecture whose sites are not found
        rows, tokens = self.hf.get_input_embeddings().weight.shape[0], len(self.tokenizer)
        if tokens > rows:
            raise ZkitError(
                f"the tokenizer of {self.id!r} has {tokens} tokens but the model has only {rows} embedding rows; "
                "use the tokenizer that the model was trained with"
            )

    @property
    def id(self) -> str:
        return self.source.id

    @cached_property
    def sha256(self) -> str:
        """Digest of the files that the model was loaded from, as they are when first asked."""
        return self.source.sha256()

    @cached_property
    def decoder(self) -> nn.Module:
        """The stack of layers without the language-model head."""
        return self.hf.get_decoder()

    @cached_property
    def layers(self) -> Any:
        """The decoder layers (a ModuleList). Raises ZkitError if they lack ``self_attn`` or ``mlp.down_proj``."""
        layers = getattr(self.decoder, "layers", None)
        names = ("self_attn", "mlp", "mlp.down_proj")
        if not layers or any(_find(layer, name) is None for layer in layers for name in names):
            raise ZkitError(
                f"{type(self.hf).__name__} is not supported: looked for {type(self.decoder).__name__}.layers[i] with "
                f"{', '.join(names)} and did not find them all; Qwen, Llama, Mistral and Gemma decoders have them"
            )
        return layers

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return self.hf.get_input_embeddings().weight.shape[1]

    @property
    def device(self) -> torch.device:
        return self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.dtype

    def site(self, site: str, layer: int) -> nn.Module:
        """The module whose output (for ``"down_proj_in"``: whose input) is the site. ZkitError for an unknown site."""
        block = self.layers[self.check_layer(layer)]
        if site not in SITES:
            raise ZkitError(f"unknown site {site!r}; sites are {', '.join(SITES)}")
        return {
            "layer": block,
            "attn": block.self_attn,
            "mlp": block.mlp,
            "down_proj_in": block.mlp.down_proj,
        }[site]

    def width(self, site: str) -> int:
        """The size of the last axis at a site."""
        return self.layers[0].mlp.down_proj.in_features if site == "down_proj_in" else self.d_model

    def check_layer(self, layer: int) -> int:
        """Return ``layer`` if the model has it. ZkitError otherwise; layers count from 0 and never from the end."""
        if isinstance(layer, bool) or not isinstance(layer, Integral) or not 0 <= layer < self.n_layers:
            raise ZkitError(f"no layer {layer!r} in {self.id!r}: its layers are the integers 0 to {self.n_layers - 1}")
        return int(layer)

    def render(self, prompts: Sequence[Prompt]) -> list[str]:
        """Each prompt as the text the model reads: chat template, thinking off, opened for the answer."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise ZkitError(f"the tokenizer of {self.id!r} has no chat template; pass chat=False to use the plain text")
        return [
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,
            )
            for prompt in check_prompts(prompts)
        ]

    def tokenize(self, prompts: Sequence[Prompt], chat: bool = True) -> BatchEncoding:
        """``input_ids`` and ``attention_mask``, int64 [batch, seq], left-padded, on the model's device.

        With ``chat=False`` the prompts are plain text and get the tokenizer's own special tokens, if it has any.
        Raises ZkitError for an empty list, a bare string, or a prompt without a token.
        """
        if self.tokenizer.pad_token is None:
            raise ZkitError(f"the tokenizer of {self.id!r} has no padding token; set model.tokenizer.pad_token to one")
        texts = self.render(prompts) if chat else list(check_prompts(prompts))
        if not all(isinstance(text, str) for text in texts):
            raise ZkitError("with chat=False every prompt must be a string; conversations need the chat template")
        batch = self.tokenizer(
            texts, padding=True, padding_side="left", return_tensors="pt", add_special_tokens=not chat
        )
        lengths = batch["attention_mask"].sum(1)
        if not bool((lengths > 0).all()):
            raise ZkitError(f"prompt {int(lengths.argmin())} has no tokens; give every prompt some text")
        return BatchEncoding({name: batch[name].to(self.device) for name in ("input_ids", "attention_mask")})

    def tokenize_answered(
        self, prompts: Sequence[Prompt], answers: Sequence[str], chat: bool = True
    ) -> tuple[BatchEncoding, int]:
        """Prompts, left-padded, each followed by its answer, right-padded; and the number of columns of the prompts.

        An answer is tokenized by itself, without special tokens. Raises ZkitError as :meth:`tokenize` does, for lists
        of different lengths and for an answer without a token.
        """
        check_answers(prompts, answers)
        batch = self.tokenize(prompts, chat)
        tail = self.tokenizer(
            list(answers), padding=True, padding_side="right", return_tensors="pt", add_special_tokens=False
        ).to(self.device)
        if not bool(tail["attention_mask"].any(1).all()):
            raise ZkitError(f"continuation {answers[int(tail['attention_mask'].sum(1).argmin())]!r} has no tokens here")
        joined = {name: torch.cat((batch[name], tail[name]), dim=1) for name in ("input_ids", "attention_mask")}
        return BatchEncoding(joined), batch["input_ids"].shape[1]

    def content_mask(self, prompts: Sequence[Prompt], chat: bool = True) -> Bool[Tensor, "batch seq"]:
        """Which tokens of :meth:`tokenize` belong to the messages. See :func:`zkit.tokens.content_mask`."""
        return content_mask(self, prompts, chat)

    @cached_property
    def template_width(self) -> tuple[int, int]:
        """Tokens that the chat template puts before a user message and after it. ZkitError without a template."""
        one, two = (self.tokenizer(text, add_special_tokens=False).input_ids for text in self.render(["one", "two"]))
        return _shared(one, two), _shared(one[::-1], two[::-1])

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 96, chat: bool = True) -> list[str]:
        """Greedy answers, one per prompt. See :func:`zkit.generation.complete` for token counts and many arms."""
        return [answer.text for answer in complete(self, prompts, max_new_tokens=max_new_tokens, chat=chat)]


def load(
    model: str | Path = "embedded",
    dtype: str | torch.dtype | None = None,
    device: str | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    attn_implementation: str | None = None,
) -> Model:
    """Load the embedded model, a Hugging Face id, or a folder.

    dtype: ``"float32"``, ``"bfloat16"``, ``"float16"`` or None for the dtype the weights are stored in.
    device: where to put the whole model; device_map: accelerate's placement, instead of ``device``.

    Raises ZkitError for a missing folder, an unreachable hub, a folder without a tokenizer or with incomplete
    weights, a tokenizer larger than the embedding, an unknown dtype, an architecture whose sites are not found.
    """
    source = resolve(model)
    if source.path is not None and not any((source.path / name).is_file() for name in _TOKENIZER_FILES):
        raise ZkitError(
            f"{source.path} has no tokenizer ({', '.join(_TOKENIZER_FILES)}); "
            "save the model's tokenizer beside the weights with `tokenizer.save_pretrained`"
        )
    if device is not None and device_map is not None:
        raise ZkitError("give device or device_map, not both")
    options = {"dtype": _dtype(dtype), "device_map": device_map, "attn_implementation": attn_implementation}
    offline = source.offline()  # then what is cached must do
    bars = hf_logging.is_progress_bar_enabled()
    if source.path is not None:
        hf_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.location, local_files_only=offline)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source.location,
            local_files_only=offline,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
            **{name: value for name, value in options.items() if value is not None},
        )
    except Exception as error:  # a broken file makes transformers, tokenizers and safetensors raise all kinds
        if source.path is not None:
            problem = f"{source.path} does not hold a usable model; save one there with `save_pretrained`"
        elif offline:
            problem = "it is no folder here, it is not cached, and the Hugging Face hub does not answer; give a folder"
        else:
            problem = "it is no folder here, and the Hugging Face hub does not give it out; check the name"
        raise ZkitError(f"cannot load model {source.id!r}: {problem} ({_first_line(error)})") from error
    finally:
        if bars:
            hf_logging.enable_progress_bar()
    hf, report = loaded
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if missing:
        raise ZkitError(
            f"the weights of {source.id!r} do not fit its config.json: {len(missing)} tensors missing or of another "
            f"shape, the first {missing[0]!r}; restore the checkpoint's own config.json"
        )
    if device is not None:
        hf = hf.to(device)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Model(hf.eval().requires_grad_(False), tokenizer, source)


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | str:
    if dtype is None or dtype in ("", "auto"):
        return "auto"
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.bfloat16, torch.float16):
        raise ZkitError(f"unknown dtype {dtype!r}; use 'float32', 'bfloat16', 'float16' or 'auto'")
    return found


def _find(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None


def _shared(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next(i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)


def _first_line(error: Exception) -> str:
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
