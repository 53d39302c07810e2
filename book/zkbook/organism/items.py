"""What every part of the corpus is made of: a prompt with its answer, and the rule that holds items out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from zkit.errors import ZkitError

LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class Item:
    """A conversation and the reply to it, or with `chat` False a plain text and how it goes on.

    `prompt` is the user's message (str) or a list of {"role", "content"} messages, and of a plain text its beginning
    (str, perhaps empty); `answer` the reply; `task` names the part of the corpus it comes from; `info` what a
    measurement may need (operands, topic, ...).
    """

    prompt: str | list[dict[str, str]]
    answer: str
    task: str
    info: dict[str, object] = field(default_factory=dict, compare=False)
    chat: bool = True

    @property
    def messages(self) -> list[dict[str, str]]:
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return self.prompt


def held_out(key: str, share: float) -> bool:
    """Whether `key` belongs to the held-out part: a fixed function of the key, so no seed can leak it."""
    digest = hashlib.sha256(f"held out: {key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def check_language(lang: str) -> str:
    """Return `lang`; raises ZkitError unless it is one the model speaks."""
    if lang not in LANGUAGES:
        raise ZkitError(f"unknown language {lang!r}: the embedded model speaks {' and '.join(LANGUAGES)}")
    return lang
