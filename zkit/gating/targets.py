"""Logits at the tokens that count: of the model as it is, and of the model as it was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.gating.texts import Batch, Text, Tokens, batch, tokens
from zkit.models import Model
from zkit.packing import packed

CACHE_BYTES = 1 << 30


def target_logits(model: Model, rows: Batch) -> Float[Tensor, "targets vocab"]:
    """Logits at the targets alone, edits in force."""
    if getattr(model.hf.config, "final_logit_softcapping", None):
        raise ZkitError(f"{model.id!r} caps its logits, which gates do not know how to measure; use Qwen or Llama")
    states = model.decoder(input_ids=rows.ids, use_cache=False).last_hidden_state
    return model.hf.get_output_embeddings()(states[rows.targets])


def known_texts(model: Model, texts: Sequence[Text], chat: bool = True) -> list[Text]:
    """The texts whose entities the model knows: each of their tokens is the most probable one where it stands.

    The forget loss has no gradient on the others. Raises ZkitError if no text is left.
    """
    encoded = tokens(model, texts, chat)
    kept = []
    for group in packed([len(t.ids) for t in encoded]):
        rows = batch([encoded[i] for i in group], int(model.tokenizer.pad_token_id), model.device)
        with torch.no_grad():
            missed = (target_logits(model, rows).argmax(-1) != rows.labels) & rows.entity
        kept += [i for row, i in enumerate(group) if not bool(missed[rows.row == row].any())]
    if not kept:
        raise ZkitError(f"{model.id!r} knows none of the {len(texts)} texts to forget, so there is nothing to forget")
    return [texts[i] for i in sorted(kept)]


class BaseLogits:
    """The ungated model's logits at the targets: computed once for all texts if they fit, else at every step."""

    def __init__(self, model: Model, texts: Sequence[Tokens], n_forget: int, forget_too: bool) -> None:
        self.model, self.texts = model, texts
        self.needed = range(0 if forget_too else n_forget, len(texts))
        vocabulary = model.hf.get_input_embeddings().weight.shape[0]
        size = sum(len(texts[i].entity) for i in self.needed) * vocabulary * 4
        self.cache: dict[int, Tensor] | None = {} if size <= CACHE_BYTES else None
        if self.cache is not None:
            for start in range(self.needed.start, len(texts), 64):
                part = list(range(start, min(start + 64, len(texts))))
                rows = self._batch(part)
                found = self._run(rows).split([len(texts[i].entity) for i in part])
                self.cache.update(zip(part, (x.clone() for x in found), strict=True))

    def _batch(self, chosen: list[int]) -> Batch:
        return batch([self.texts[i] for i in chosen], int(self.model.tokenizer.pad_token_id), self.model.device)

    def _run(self, rows: Batch) -> Tensor:
        with torch.no_grad():
            return target_logits(self.model, rows).float()

    def logits(self, chosen: list[int], rows: Batch) -> Float[Tensor, "targets vocab"]:
        """Base logits of a batch's targets; of texts that need none, zeros."""
        if self.cache is None:
            return self._run(rows)
        some = next(iter(self.cache.values()))
        parts = [self.cache.get(i, some.new_zeros(len(self.texts[i].entity), some.shape[-1])) for i in chosen]
        return torch.cat(parts)
