"""The type of prompts, and checks of prompts and counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral

from zkit.errors import ZkitError

Prompt = str | Sequence[Mapping[str, str]]
"""One user message, or a conversation of ``{"role": ..., "content": ...}`` messages.

The model answers a conversation, or continues its last message if that is the assistant's.
"""


def check_prompts(prompts: Sequence[Prompt]) -> Sequence[Prompt]:
    """Return ``prompts`` if it is a non-empty list of prompts; raise ZkitError otherwise."""
    if isinstance(prompts, str):
        raise ZkitError(f"prompts must be a list, got the string {prompts[:40]!r}; write [{prompts[:20]!r}]")
    if not hasattr(prompts, "__len__"):
        raise ZkitError(f"prompts must be a list, got {type(prompts).__name__}; write list(...) around an iterator")
    if len(prompts) == 0:
        raise ZkitError("the list of prompts is empty; give at least one prompt")
    for i, prompt in enumerate(prompts):
        if not isinstance(prompt, str) and not _is_conversation(prompt):
            raise ZkitError(
                f"prompt {i} is {str(prompt)[:40]!r}; a prompt is a string, or a list of messages with texts as "
                "role and content"
            )
    return prompts


def check_answers(prompts: Sequence[Prompt], answers: Sequence[str]) -> None:
    """Raise ZkitError unless there is one answer for each prompt, and none of them is empty."""
    if len(prompts) != len(answers):
        raise ZkitError(f"{len(prompts)} prompts but {len(answers)} continuations; give one for each prompt")
    empty = next((i for i, answer in enumerate(answers) if not answer), None)
    if empty is not None:
        raise ZkitError(f"continuation {empty} has no tokens; give every prompt some text")


def _is_conversation(prompt: object) -> bool:
    return (
        isinstance(prompt, Sequence)
        and len(prompt) > 0
        and all(isinstance(message, Mapping) and _has_texts(message) for message in prompt)
    )


def _has_texts(message: Mapping[str, object]) -> bool:
    return all(isinstance(message.get(name), str) for name in ("role", "content"))


def check_count(name: str, count: int, most: int | None = None) -> int:
    """Return ``count`` if it is a whole number from 1 to ``most``; raise ZkitError, naming it ``name``, otherwise."""
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1 or (most is not None and count > most):
        raise ZkitError(
            f"{name} is {count!r}; it must be a whole number, {'at least 1' if most is None else f'from 1 to {most}'}"
        )
    return int(count)
