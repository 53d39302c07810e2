"""Load a causal language model: a decoder whose sites are checked, with generation."""

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
    """A plain transformers model and tokenizer, checked to have its sites where edits and recordings expect them.

    Make one with :func:`load`, or ``Model(hf, tokenizer, source)``. Raises ZkitError for an architecture whose sites
    are not found, or are not run once per pass with states of the expected shape (:mod:`zkit.probe`).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_sites(self, [site for site in SITES if self.has(site)])

    def content_mask(self, prompts: Sequence[Prompt], chat: bool = True) -> Bool[Tensor, "batch seq"]:
        """Which tokens of :meth:`tokenize` belong to messages. See :func:`zkit.tokens.content_mask`."""
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
    attn_implementation: the attention code that transformers uses (None: its default).
    gguf: a GGUF file of the folder or hub repository that ``model`` names; ``org/name/file.gguf`` means the same. Such
    a file is dequantised once (:mod:`zkit.gguf_model`), into float32 in the cache folder (``$ZKIT_CACHE``, by default
    ``~/.cache/zkit``), and from then on read from there. The dequantised weights are not the original ones.

    An adapter (PEFT) is merged into its base. No code from a folder or repository is run.

    Raises ZkitError for a model that needs such code, an invalid model name, a missing folder, an unreachable hub, a
    folder or file without a tokenizer or with incomplete weights, a tokenizer larger than the embedding, an unknown
    dtype, a missing device, and an architecture that :class:`Model` refuses.
    """
    source = resolve(model, gguf)
    hf, tokenizer = loading.read(source, dtype, device, device_map, attn_implementation)
    loaded = Model(hf.eval().requires_grad_(False), tokenizer, source)
    if source.gguf:
        _ = loaded.sha256  # cached now, because the file may be replaced before the first access
    return loaded
