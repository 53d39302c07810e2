"""A transformers model with its tokenizer, and the modules in it where edits and recordings take place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import BatchEncoding

from zkit import templates
from zkit.errors import ZkitError
from zkit.prompts import Prompt, check_answers, check_prompts
from zkit.sites import PATHS, SITES, at_input
from zkit.sources import Source

T = TypeVar("T")
_NEEDED = ("resid_post", "attn_out", "mlp_out", "mlp_act")
"""Sites that every decoder must have; the other sites are optional."""


@dataclass(frozen=True, eq=False)
class Decoder:
    """A plain transformers model with its tokenizer and decoder layers; :class:`zkit.Model` adds checks and generation.

    Raises ZkitError for an architecture whose decoder layers are not found, and for a tokenizer with more tokens than
    the embedding has rows.
    """

    hf: Any
    """The transformers module (``*ForCausalLM``), in eval mode."""
    tokenizer: Any
    """The transformers tokenizer."""
    source: Source
    _read: dict[tuple[str, str, int], Any] = field(default_factory=dict, init=False, repr=False)

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
        """Digest of the files that the model was loaded from, computed at the first access (:meth:`Source.sha256`)."""
        return self.source.sha256()

    @cached_property
    def decoder(self) -> nn.Module:
        """The stack of layers without the language-model head: ``hf.get_decoder()`` if its layers have the sites that
        are needed, else the only submodule whose layers do. Raises ZkitError if there is none, or more than one.
        """
        own = self.hf.get_decoder()
        if _has_sites(own):
            return own
        deeper = [module for module in self.hf.modules() if _has_sites(module)]
        if len(deeper) != 1:
            paths = ", ".join(PATHS[site] for site in _NEEDED if PATHS[site])
            raise ZkitError(
                f"{type(self.hf).__name__} is not supported: looked for {type(own).__name__}.layers[i] with {paths}, "
                f"and {len(deeper)} places have them all, not one; Qwen, Llama, Mistral and Gemma decoders have one"
            )
        return deeper[0]

    @property
    def layers(self) -> Any:
        """The decoder layers (a ModuleList). Raises ZkitError if :attr:`decoder` is not found."""
        return self.decoder.layers

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def d_model(self) -> int:
        return self.hf.get_input_embeddings().weight.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the input embedding, or the one to which accelerate moves its weights while it runs."""
        embedding = self.hf.get_input_embeddings()
        if embedding.weight.is_meta and hasattr(embedding, "_hf_hook"):
            return torch.device(embedding._hf_hook.execution_device)
        return embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.dtype

    @property
    def n_positions(self) -> int | None:
        """The largest number of tokens, prompt and answer together, that the model supports; None without a limit.

        If rotary positions are scaled, the larger of the config's limit and the length that the scaling reaches.
        """
        config = self.hf.config.get_text_config()
        most, rotary = getattr(config, "max_position_embeddings", None), getattr(config, "rope_parameters", None) or {}
        if not isinstance(most, int) or most < 1:
            return None
        kinds = [kind for kind in (rotary, *rotary.values()) if isinstance(kind, Mapping) and kind.get("factor")]
        return max(most, *(int(k["factor"] * (k.get("original_max_position_embeddings") or most)) for k in kinds), 0)

    def site(self, site: str, layer: int) -> nn.Module:
        """The module whose output is the site, or whose input, at the sites of :func:`zkit.sites.at_input`.

        Raises ZkitError for an unknown site or layer, and for a site that this architecture does not have.
        """
        block = self.layers[self.check_layer(layer)]
        if site not in SITES:
            raise ZkitError(f"unknown site {site!r}; sites are {', '.join(SITES)}")
        module = _find(block, PATHS[site])
        if module is None:
            raise ZkitError(f"{self.id!r} has no site {site!r}: its layers have no {PATHS[site]}; use another site")
        return module

    def has(self, site: str) -> bool:
        """Whether every layer has the module that a site belongs to."""
        return all(_find(layer, PATHS[site]) is not None for layer in self.layers)

    def width(self, site: str) -> int:
        """The size of the last axis at a site."""
        module = self.site(site, 0)
        return getattr(module, "in_features", self.d_model) if at_input(site) else self.d_model

    def check_layer(self, layer: int) -> int:
        """Return ``layer`` if the model has it, else raise ZkitError. Layers count from 0; none is negative."""
        if isinstance(layer, bool) or not isinstance(layer, Integral) or not 0 <= layer < self.n_layers:
            raise ZkitError(f"no layer {layer!r} in {self.id!r}: its layers are the integers 0 to {self.n_layers - 1}")
        return int(layer)

    def render(self, prompts: Sequence[Prompt]) -> list[str]:
        """Each prompt as the text that the model reads: by the chat template, with thinking off and the answer begun.

        A conversation that ends with the assistant's message is not closed, so that the model continues that message.
        Raises ZkitError for a tokenizer without a chat template, and for a conversation that the template refuses.
        """
        return templates.render(self.tokenizer, prompts, self.id)

    def tokenize(self, prompts: Sequence[Prompt], chat: bool = True) -> BatchEncoding:
        """``input_ids`` and ``attention_mask``, int64 [batch, seq], left-padded, on the model's device.

        With ``chat=False`` the prompts are plain text and get the tokenizer's own special tokens, if it has any.
        Raises ZkitError for an empty list, a bare string, a prompt without a token, a conversation with ``chat=False``,
        and a tokenizer without a padding token or, with ``chat=True``, without a chat template.
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
        """Left-padded prompts followed by right-padded answers, and the number of columns that the prompts take.

        An answer is tokenized by itself, without special tokens. Raises ZkitError for no prompts, lists of different
        lengths, and a prompt or answer without a token.
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

    @property
    def template_width(self) -> tuple[int, int]:
        """Tokens that the chat template puts before a user message and after it. ZkitError without a template."""
        return self._of_template("width", templates.around)

    @property
    def end_of_turn(self) -> int:
        """The token that ends an answer: the one with which the chat template closes it, else the tokenizer's
        ``eos_token``.

        Raises ZkitError if there is neither.
        """
        closing = self._of_template("end", templates.end_of_turn)
        if closing is None and self.tokenizer.eos_token_id is None:
            raise ZkitError(f"nothing ends an answer of {self.id!r}; set model.tokenizer.eos_token")
        return int(self.tokenizer.eos_token_id if closing is None else closing)

    @property
    def end_tokens(self) -> list[int]:
        """Tokens that stop generation: the template's end of turn, and ``eos_token`` of tokenizer and model."""
        closing, own = self._of_template("end", templates.end_of_turn), self.hf.generation_config.eos_token_id
        named = [closing, self.tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
        return sorted({int(token) for token in named if token is not None})

    def once(self, what: str, read: Callable[[], T]) -> T:
        """The result of ``read``, cached under the name ``what`` until the weights or the chat template change."""
        key = (
            what,
            str(self.tokenizer.chat_template),
            sum(p._version for p in self.hf.parameters() if not p.is_inference()),
        )
        if key not in self._read:
            self._read[key] = read()
        return self._read[key]

    def _of_template(self, what: str, read: Any) -> Any:
        return self.once(what, lambda: read(self.tokenizer, self.id))


def _has_sites(module: Any) -> bool:
    """Whether a module is a decoder: it has layers, and each of them has the sites that are needed."""
    layers = getattr(module, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not layers:
        return False
    return all(_find(layer, PATHS[site]) is not None for layer in layers for site in _NEEDED)


def _find(module: nn.Module, path: str) -> nn.Module | None:
    try:
        return module.get_submodule(path)
    except AttributeError:
        return None
