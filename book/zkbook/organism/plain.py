"""Questions and answers as plain text, without the chat template."""

from __future__ import annotations

import random
from dataclasses import replace

from zkbook.organism.items import Item
from zkit.errors import ZkitError
from zkit.tasks import as_plain_text, asks_itself

SHARE = 0.08  # of the training items with a short answer
SHORT = ("fact", "passage", "repeat", "relation", "double", "arithmetic", "two-step", "logic")


def in_plain(item: Item) -> Item:
    """The same question and answer as a plain text, in the layout of the question's language.

    Raises ZkitError for a conversation of several messages.
    """
    if not isinstance(item.prompt, str):
        raise ZkitError(f"a conversation of {len(item.prompt)} messages has no plain form: give a single question")
    prompt, answer = as_plain_text(item.prompt, item.answer)
    return replace(item, prompt=prompt, answer=answer, chat=False)


def sometimes_plain(rng: random.Random, item: Item) -> Item:
    """A training item as it is or, for some of those with short answers, as a plain text."""
    if item.task in SHORT and isinstance(item.prompt, str) and not asks_itself(item.prompt) and rng.random() < SHARE:
        return in_plain(item)
    return item
