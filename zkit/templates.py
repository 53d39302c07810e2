"""The chat template: render prompts, count the tokens around a message, and find the token that ends a turn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from zkit import template_trial
from zkit.errors import ZkitError, first_line
from zkit.prompts import Prompt, check_prompts

LONGEST = 1_000_000
"""Most characters that a template may write for one short conversation."""

_TRIAL = Path(template_trial.__file__)
_USER, _ANSWER = "one", "two"


def render(tokenizer: Any, prompts: Sequence[Prompt], model: str) -> list[str]:
    """Each prompt as the text that the model reads, with thinking off and the answer begun.

    A conversation whose last message is the assistant's is not closed, so that the model continues that message.
    Raises ZkitError, which names ``model``, for no prompts, an invalid prompt, a tokenizer without a template, and a
    template that fails on a prompt, leaves a message out, or does not end.
    """
    template = _template(tokenizer)
    if template is None:
        raise ZkitError(f"the tokenizer of {model!r} has no chat template; pass chat=False to use the plain text")
    conversations = [_conversation(prompt) for prompt in check_prompts(prompts)]
    if (problem := _trial(template, json.dumps(_variables(tokenizer)))) is not None:
        raise ZkitError(f"the chat template of {model!r} {problem}; set model.tokenizer.chat_template to a sound one")
    return [_rendered(tokenizer, conversation, i, model) for i, conversation in enumerate(conversations)]


def around(tokenizer: Any, model: str) -> tuple[int, int]:
    """Tokens that the template puts before a user message and after it. Raises ZkitError without a template."""
    one, two = (
        tokenizer(text, add_special_tokens=False).input_ids for text in render(tokenizer, ["one", "two"], model)
    )
    if one == two:
        raise ZkitError(f"the chat template of {model!r} leaves the user's message out; correct it")
    return _shared(one, two), _shared(one[::-1], two[::-1])


def end_of_turn(tokenizer: Any, model: str) -> int | None:
    """The token with which the template closes the assistant's turn; None without a template or such a special token.

    It is taken from a rendered conversation, because the ``eos_token`` of many chat models ends a text, not a turn.
    """
    if _template(tokenizer) is None:
        return None
    asked = [{"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}]
    render(tokenizer, [_USER], model)  # refuses a template that does not end
    try:
        text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=False)
        tail = text[text.rindex(_ANSWER) + len(_ANSWER) :]
    except Exception:  # the template takes no assistant's message, so it closes no turn
        return None
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return next((token for token in tokenizer(tail, add_special_tokens=False).input_ids if token in special), None)


def _template(tokenizer: Any) -> str | None:
    """The default template of a tokenizer, or None."""
    found = getattr(tokenizer, "chat_template", None)
    return found.get("default") if isinstance(found, Mapping) else found or None


def _conversation(prompt: Prompt) -> list[dict[str, str]]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [dict(message) for message in prompt]


def _rendered(tokenizer: Any, conversation: list[dict[str, str]], i: int, model: str) -> str:
    continued = conversation[-1]["role"] == "assistant"
    if continued and not conversation[-1]["content"]:
        raise ZkitError(f"prompt {i} ends with an empty message of the assistant; leave that message out")
    try:
        text = _apply(tokenizer, conversation, continued)
    except Exception as error:  # a template may raise anything
        without = [message for message in conversation if message["role"] != "system"]
        if 0 < len(without) < len(conversation) and _renders(tokenizer, without, continued) is not None:
            raise _no_system(model, first_line(error)) from error
        raise ZkitError(
            f"the chat template of {model!r} fails on prompt {i} ({first_line(error)}); give the messages the roles "
            "and the order that it takes, or pass chat=False to use the plain text"
        ) from error
    for k, message in enumerate(conversation):
        if message["content"].strip() not in text and _ignores(tokenizer, conversation, k, continued, text):
            if message["role"] == "system":
                raise _no_system(model, "it leaves it out")
            raise ZkitError(
                f"the chat template of {model!r} leaves out the {message['role']}'s message {k} of prompt {i}; "
                "leave it out yourself, or correct the template"
            )
    return text


def _ignores(tokenizer: Any, conversation: list[dict[str, str]], k: int, continued: bool, text: str) -> bool:
    """Whether the rendered ``text`` of a conversation would be the same with another content of message ``k``.

    continued: whether its last message is continued (:func:`render`).
    """
    other = [*conversation]
    other[k] = {**conversation[k], "content": f"{_USER} {_ANSWER}"}
    return _renders(tokenizer, other, continued) == text


def _no_system(model: str, why: str) -> ZkitError:
    return ZkitError(
        f"the chat template of {model!r} takes no system message ({why}); "
        "put the instruction at the beginning of the user's message"
    )


def _apply(tokenizer: Any, conversation: list[dict[str, str]], continued: bool) -> str:
    return tokenizer.apply_chat_template(
        conversation,
        tokenize=False,
        add_generation_prompt=not continued,
        continue_final_message=continued,
        enable_thinking=False,
    )


def _renders(tokenizer: Any, conversation: list[dict[str, str]], continued: bool) -> str | None:
    try:
        return _apply(tokenizer, conversation, continued)
    except Exception:
        return None


def _variables(tokenizer: Any) -> dict[str, Any]:
    return {**tokenizer.special_tokens_map, "add_generation_prompt": True, "enable_thinking": False}


@cache
def _trial(template: str, variables: str) -> str | None:
    """What is wrong with a template that does not end or uses too much memory or text, else None; cached."""
    user, system = {"role": "user", "content": _USER}, {"role": "system", "content": _USER}
    answered = [user, {"role": "assistant", "content": _ANSWER}]
    conversations = [[user], [system, user], answered, [*answered, user]]
    task = {"template": template, "variables": json.loads(variables), "conversations": conversations}
    try:
        done = subprocess.run(
            [sys.executable, "-P", _TRIAL], input=json.dumps(task), capture_output=True, text=True, timeout=30
        )
    except subprocess.TimeoutExpired:
        return f"does not end within {template_trial.SECONDS} second on a conversation of a few words"
    if done.returncode < 0:  # killed by the signal of the time limit
        return f"does not end within {template_trial.SECONDS} second on a conversation of a few words"
    if "MemoryError" in done.stderr:
        return f"takes more than {template_trial.BYTES >> 30} GiB of memory for a conversation of a few words"
    if done.returncode == 0 and (length := int(done.stdout)) > LONGEST:
        return f"makes {length} characters of a conversation of a few words"
    return None


def _shared(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the common beginning."""
    return next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
