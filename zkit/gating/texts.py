"""Texts to forget and to retain, as tokens with their entities marked, and what the model says at them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from pydantic import ConfigDict, Field
from torch import Tensor

from zkit.errors import ZkitError
from zkit.prompts import Prompt, check_prompts
from zkit.reading import Checked, check, located, read_lines

if TYPE_CHECKING:
    from zkit.models import Model
from jaxtyping import Float

from zkit.models import Model
from zkit.packing import packed


@dataclass(frozen=True)
class Text:
    """A text after a prompt, with the character spans [start, stop) of its entities."""

    prompt: Prompt
    text: str
    entities: tuple[tuple[int, int], ...] = ()


def mark(prompt: Prompt, text: str, *entities: str) -> Text:
    """A text with every occurrence of the entities marked. Raises ZkitError for an entity that does not occur."""
    spans = []
    for entity in entities:
        if not entity or entity not in text:
            raise ZkitError(f"the entity {entity!r} does not occur in {text!r}; write it as it stands in the text")
        start = text.find(entity)
        while start >= 0:
            spans.append((start, start + len(entity)))
            start = text.find(entity, start + len(entity))
    return Text(prompt, text, tuple(sorted(set(spans))))


class _Line(Checked):
    model_config = ConfigDict(extra="ignore")
    text: str = Field(min_length=1)
    prompt: str | list[dict[str, str]] = ""
    entity: str | list[str] = Field(default_factory=list)


_LINE = (
    'a line is an object with a "text" that is not empty; "prompt" is a string or a list of messages; "entity" is a '
    "string or a list of strings"
)


def read_jsonl(path: str | Path) -> list[Text]:
    """Texts from a file as described above; other fields of a line are not read.

    Raises ZkitError with the number of the line for bad JSON, a missing or empty text, a prompt that is neither a
    string nor a conversation, and an entity that is no string or does not occur in its text; for a file without lines,
    and as :func:`zkit.reading.read_text` does.
    """
    path = located(path, "file of texts", "give a JSONL file")
    found = []
    for where, value in read_lines(path):
        row = check(_Line, value, where, _LINE)
        try:
            if row.prompt != "":
                check_prompts([row.prompt])
            found.append(mark(row.prompt, row.text, *([row.entity] if isinstance(row.entity, str) else row.entity)))
        except ZkitError as error:
            raise ZkitError(f"{where}: {error}") from error
    if not found:
        raise ZkitError(f"{path} has no texts; write one JSON object on each line")
    return found


@dataclass(frozen=True)
class Tokens:
    """A text in tokens. Position ``start + i`` of ``ids`` holds token i of the text; ``entity`` marks which are known.

    Tokens of the text that nothing comes before are not counted: there is nothing to predict them from.
    """

    ids: list[int]
    start: int
    entity: list[bool]


def tokens(model: Model, texts: Sequence[Text], chat: bool = True) -> list[Tokens]:
    """The texts in tokens: through the chat template with its end of turn, or as plain text.

    A token is an entity's if it overlaps a marked span. Raises ZkitError for a conversation without the chat template,
    a text without a prompt through it, an empty text, and marked spans that no counted token overlaps.
    """
    found = []
    for text in texts:
        if chat and not text.prompt:
            raise ZkitError(
                f"with the chat template every text needs a prompt; {text.text!r} has none (or: chat=False)"
            )
        if chat:
            before = model.render([text.prompt])[0]
        elif isinstance(text.prompt, str):
            before = text.prompt
        else:
            raise ZkitError("a conversation needs the chat template; use chat=True, or plain prompts")
        lead = list(model.tokenizer(before, add_special_tokens=not chat).input_ids)
        split = model.tokenizer(text.text, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(split.input_ids)
        entity = [any(a < stop and b > start for start, stop in text.entities) for a, b in split.offset_mapping]
        if chat:
            ids, entity = [*ids, model.end_of_turn], [*entity, False]
        if not lead:
            lead, ids, entity = ids[:1], ids[1:], entity[1:]
        if not ids or (text.entities and not any(entity)):
            what = "no token of the entities in" if ids else "no token of"
            raise ZkitError(f"{what} {text.text!r} can be predicted; put a prompt before it")
        found.append(Tokens(lead + ids, len(lead), entity))
    return found


@dataclass(frozen=True)
class Batch:
    """Right-padded tokens; ``targets`` marks the positions whose next token counts, the rest is in row order.

    ``labels`` are those next tokens, ``row`` the row each belongs to, ``entity`` whether it is an entity's.
    """

    ids: Int[Tensor, "rows seq"]
    targets: Bool[Tensor, "rows seq"]
    labels: Int[Tensor, " targets"]
    row: Int[Tensor, " targets"]
    entity: Bool[Tensor, " targets"]


def batch(rows: Sequence[Tokens], pad: int, device: torch.device) -> Batch:
    """Pad texts to one batch; causal attention keeps the pads from touching anything before them."""
    ids = torch.full((len(rows), max(len(row.ids) for row in rows)), pad)
    targets = torch.zeros(ids.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row.ids)] = torch.tensor(row.ids)
        targets[i, row.start - 1 : len(row.ids) - 1] = True
    counts = torch.tensor([len(row.entity) for row in rows])
    return Batch(
        ids.to(device),
        targets.to(device),
        torch.tensor([token for row in rows for token in row.ids[row.start :]]).to(device),
        torch.arange(len(rows)).repeat_interleave(counts).to(device),
        torch.tensor([mark for row in rows for mark in row.entity]).to(device),
    )


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
