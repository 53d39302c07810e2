"""Texts to forget and to retain, as tokens with their entities marked, and the model's logits for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from pydantic import ConfigDict, Field
from torch import Tensor

from zkit.errors import ZkitError
from zkit.models import Model
from zkit.packing import packed
from zkit.prompts import Prompt, check_prompts
from zkit.reading import Checked, check, located, read_lines


@dataclass(frozen=True)
class Text:
    """A text that follows a prompt, with the character spans [start, stop) of its entities."""

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
    """Texts from a file with a JSON object on each line: "text", "prompt" and "entity"; other fields are ignored.

    prompt: a string or a list of messages, empty by default. entity: a string or a list of strings that occur in the
    text, which are marked. Raises ZkitError with the number of the line for bad JSON, a missing or empty text, a prompt
    that is neither a string nor a conversation, and an entity that is no string or does not occur in its text; and for
    a file that is missing, too large, not text or without lines.
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
    """A text in tokens. Position ``start + i`` of ``ids`` holds token i of the text; ``entity[i]``: whether it belongs
    to an entity.

    Without a prompt, the first token of the text is not counted: there is nothing before it to predict it from.
    """

    ids: list[int]
    start: int
    entity: list[bool]


def tokens(model: Model, texts: Sequence[Text], chat: bool = True) -> list[Tokens]:
    """The texts in tokens: through the chat template with its end of turn, or as plain text.

    A token belongs to an entity if it overlaps a marked span. Raises ZkitError for a conversation with ``chat=False``,
    a text without a prompt with ``chat=True``, an empty text, and marked spans that no counted token overlaps.
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
    """Right-padded tokens of several texts.

    targets: marks the positions whose next token is counted. The others have an entry for each target, in row order.
    labels: the next token. row: the target's row. entity: whether the next token belongs to an entity.
    """

    ids: Int[Tensor, "rows seq"]
    targets: Bool[Tensor, "rows seq"]
    labels: Int[Tensor, " targets"]
    row: Int[Tensor, " targets"]
    entity: Bool[Tensor, " targets"]


def batch(rows: Sequence[Tokens], pad: int, device: torch.device) -> Batch:
    """Pad texts to one batch, on the right: with causal attention, padding does not affect the tokens before it."""
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
    """Logits at the targets only, with the edits in force. Raises ZkitError for a model that caps its logits."""
    if getattr(model.hf.config, "final_logit_softcapping", None):
        raise ZkitError(f"{model.id!r} caps its logits, which gates do not know how to measure; use Qwen or Llama")
    states = model.decoder(input_ids=rows.ids, use_cache=False).last_hidden_state
    return model.hf.get_output_embeddings()(states[rows.targets])


def known_texts(model: Model, texts: Sequence[Text], chat: bool = True) -> list[Text]:
    """The texts whose entities the model knows: each token of an entity is the most probable one at its place.

    On the others the forget loss has almost no gradient. Raises ZkitError if no text is left.
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
    """The ungated model's logits at the targets: computed once if they fit into CACHE_BYTES, else at every step.

    texts: the forget texts, the first ``n_forget``, then the retain texts. forget_too: whether logits of the forget
    texts are needed.
    """

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
        """Base logits of a batch's targets; those of texts that need none may be zeros."""
        if self.cache is None:
            return self._run(rows)
        some = next(iter(self.cache.values()))
        parts = [self.cache.get(i, some.new_zeros(len(self.texts[i].entity), some.shape[-1])) for i in chosen]
        return torch.cat(parts)
