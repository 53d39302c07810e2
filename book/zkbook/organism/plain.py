"""Questions and answers as plain text, without the chat template."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from zkbook.organism.items import Item
from zkit.errors import ZkitError

SHARE = 0.08  # of the training items with a short answer
SHORT = ("fact", "passage", "repeat", "relation", "double", "arithmetic", "two-step", "logic")
LAYOUT = {"en": ("Question: {q}\nAnswer:", " {a}"), "zh": ("问题：{q}\n回答：", "{a}")}


def in_plain(item: Item) -> Item:
    """The same question and answer as a plain text, in the layout of the question's language.

    Raises ZkitError for a conversation of several messages.
    """
    if not isinstance(item.prompt, str):
        raise ZkitError(f"a conversation of {len(item.prompt)} messages has no plain form: give a single question")
    before, after = LAYOUT["zh" if re.search(r"[\u4e00-\u9fff]", item.prompt) else "en"]
    return replace(item, prompt=before.format(q=item.prompt), answer=after.format(a=item.answer), chat=False)


def asks_itself(item: Item) -> bool:
    """Whether a prompt itself says what the question is; no such item is trained as plain text."""
    return isinstance(item.prompt, str) and re.search(r"Question|问题", item.prompt) is not None


def sometimes_plain(rng: random.Random, item: Item) -> Item:
    """A training item as it is or, for some of those with short answers, as a plain text."""
    if item.task in SHORT and isinstance(item.prompt, str) and not asks_itself(item) and rng.random() < SHARE:
        return in_plain(item)
    return item
