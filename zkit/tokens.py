"""Which tokens of a prompt are massive, and which belong to its messages and not to the chat template.

Massive tokens: Sun et al. 2024, "Massive Activations in Large Language Models". Their criterion is on single
activations: above 100, and at least 1,000 times the median magnitude of the hidden state. Ours is on tokens: a state
whose norm is more than `MASSIVE` times the median over its prompt, because what rules a mean is the norm of a state. It
is the wider one. Among Gaussian coordinates of width d the median magnitude is 1 / (1.48 sqrt(d)) of the norm, so an
activation of 1,000 medians alone makes a norm of 1,000 / (1.48 sqrt(d)) usual ones: 23 at d = 896. Measured at that
width (Qwen2.5-Coder-0.5B), the tokens that meet their criterion stand at 14 usual norms and more.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.decoder import Decoder
from zkit.errors import ZkitError
from zkit.prompts import Prompt

MASSIVE = 3.0
"""Times its prompt's median norm, from which on a token is massive.

Measured at the output of every layer. In Qwen2.5-Coder-0.5B usual tokens stay below 2.0 where massive ones stand above
5.0 (layers 5 to 16; the first token at 70 or more); from layer 19 on the massive ones fade into the others. No token of
the embedded model reaches 2.7; in its sink twin usual tokens stay below 2.7 and the first one stands above 32.
"""


def massive(norms: Float[Tensor, "batch seq"], real: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
    """The massive tokens of each row: norm above `MASSIVE` times the median norm of the row's real tokens.

    A state that is not finite is not called massive: it is an error, and pools that leave massive tokens out would
    hide it.
    """
    median = torch.where(real, norms, torch.nan).nanmedian(dim=-1, keepdim=True).values
    return real & (norms > MASSIVE * median) & norms.isfinite()


Span = tuple[int, int]


def content_mask(model: Decoder, prompts: Sequence[Prompt], chat: bool = True) -> Bool[Tensor, "batch seq"]:
    """The tokens of the messages' contents, left-padded as :meth:`zkit.Model.tokenize` pads the same prompts.

    With ``chat=False`` nothing is template: every real token is content. Raises ZkitError as `tokenize` and
    :func:`spans` do, and for a tokenizer that does not tell which characters a token stands for.
    """
    real = model.tokenize(prompts, chat)["attention_mask"].bool()
    if not chat:
        return real
    if not getattr(model.tokenizer, "is_fast", False):
        raise ZkitError(
            f"the tokenizer of {model.id!r} does not say which characters a token stands for, so the messages' tokens "
            "cannot be told from the template's; pool over positions='all', or use chat=False"
        )
    found = torch.zeros_like(real)
    templates: dict[tuple[str, ...], str] = {}
    for i, (prompt, text) in enumerate(zip(prompts, model.render(prompts), strict=True)):
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        contents = [message["content"] for message in messages]
        marks = zip(messages, marked(len(messages)), strict=True)
        bare = [{**message, "content": mark} for message, mark in marks]
        key = tuple(map(str, bare))
        if key not in templates:
            [templates[key]] = model.render([bare])
        where = spans(text, templates[key], contents, f"prompt {i}")
        offsets = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        own = inside(text, offsets, where)
        found[i, found.shape[1] - len(own) :] = torch.tensor(own, device=found.device)
    return found


def marked(n: int) -> list[str]:
    """``n`` texts that stand for the contents of messages while the template around them is read."""
    return [f"\ue000{i}\ue001" for i in range(n)]


def spans(rendered: str, template: str, contents: Sequence[str], name: str) -> list[Span]:
    """Where each message's content stands in a rendered text: characters [start, stop), in the order of the text.

    ``template`` is the same conversation rendered with the texts of :func:`marked` for contents. What stands around
    them must stand around the contents, character by character, so that a word of the template that a message happens
    to repeat is never taken for it. White space that a template strips from a message belongs to nobody.
    Raises ZkitError, calling the prompt ``name``, where the template changes, repeats or drops a message.
    """
    found: list[Span] = []
    place = last = 0  # in the rendered text, in the template
    order = sorted(zip(marked(len(contents)), contents, strict=True), key=lambda pair: template.find(pair[0]))
    for mark, content in order:
        start = template.find(mark)
        around = template[last:start]
        text = next((t for t in (content, content.strip()) if rendered.startswith(around + t, place)), None)
        if template.count(mark) != 1 or text is None:
            raise ZkitError(
                f"the chat template does not leave the message {content[:40]!r} of {name} as it is, so its tokens "
                "cannot be told from the template's; pool over positions='all', or use chat=False"
            )
        place += len(around)
        found.append((place, place + len(text)))
        place, last = place + len(text), start + len(mark)
    if rendered[place:] != template[last:]:
        raise ZkitError(
            f"the chat template writes something else around the messages of {name} because of what they say, so "
            "their tokens cannot be told from the template's; pool over positions='all', or use chat=False"
        )
    return found


def inside(text: str, offsets: Sequence[Span], messages: Sequence[Span]) -> list[bool]:
    """For each token, given by its characters [start, stop) of ``text``, whether it belongs to a message.

    A token that reaches over the edge of a message belongs to it if only white space of it lies outside, and something
    else inside: some tokenizers put the space before a word into the word's token.
    """
    return [any(_belongs(text, *token, *message) for message in messages) for token in offsets]


def _belongs(text: str, start: int, stop: int, low: int, high: int) -> bool:
    own = text[max(start, low) : min(stop, high)]
    if max(start, low) >= min(stop, high):
        return False
    outside = text[start : max(start, low)] + text[min(stop, high) : stop]
    return not outside or bool(own.strip() and not outside.strip())
