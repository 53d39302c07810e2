"""Load a causal language model: a decoder that was looked through, and that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from zkit import loading
from zkit.decoder import Decoder
from zkit.generation import complete
from zkit.probe import check_sites
from zkit.prompts import Prompt
from zkit.sites import SITES
from zkit.sources import resolve
from zkit.tokens import content_mask


@dataclass(frozen=True, eq=False)
class Model(Decoder):
    """A plain transformers model and tokenizer whose sites are where edits and recordings look for them.

    Make one with :func:`load`, or ``Model(hf, tokenizer, source)``. Raises ZkitError for an architecture whose sites
    are not found, or not run as edits and recordings need them (:mod:`zkit.probe`).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sites(self, [site for site in SITES if self.has(site)])

    def content_mask(self, prompts: Sequence[Prompt], chat: bool = True) -> Bool[Tensor, "batch seq"]:
        """Which tokens of :meth:`tokenize` belong to the messages. See :func:`zkit.tokens.content_mask`."""
        return content_mask(self, prompts, chat)

    def generate(self, prompts: Sequence[Prompt], max_new_tokens: int = 96, chat: bool = True) -> list[str]:
        """Greedy answers, one per prompt. See :func:`zkit.generation.complete` for token counts and many arms."""
        return [answer.text for answer in complete(self, prompts, max_new_tokens=max_new_tokens, chat=chat)]


def load(
    model: str | Path = "embedded",
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    device_map: str | Mapping[str, Any] | None = None,
    attn_implementation: str | None = None,
    gguf: str | None = None,
) -> Model:
    """Load the embedded model, a Hugging Face id, a folder, or a GGUF file.

    dtype: ``"float32"``, ``"bfloat16"``, ``"float16"`` or None for the dtype the weights are stored in.
    device: where to put the whole model; device_map: accelerate's placement, instead of ``device``.
    gguf: a GGUF file of the folder or hub repository that ``model`` names; ``org/name/file.gguf`` says the same. Such a
    file is dequantised once (:mod:`zkit.gguf_model`), into float32 in the cache folder (``$ZKIT_CACHE``, by default
    ``~/.cache/zkit``), and read from there from then on. Its dequantised weights are not those it was quantised from.

    An adapter (PEFT) is merged into its base. No code that a folder or repository brings along is run.

    Raises ZkitError for what needs such code, for what is no name of a model, a missing folder, an
    unreachable hub, a folder or file without a tokenizer or with incomplete weights, a tokenizer larger than the
    embedding, an unknown dtype, a device that is not there, and an architecture whose sites are not found or not run
    as edits and recordings need them (:mod:`zkit.probe`).
    """
    source = resolve(model, gguf)
    hf, tokenizer = loading.read(source, dtype, device, device_map, attn_implementation)
    loaded = Model(hf.eval().requires_grad_(False), tokenizer, source)
    if source.gguf:
        _ = loaded.sha256  # known already; the file may be another one when it is first asked for
    return loaded
