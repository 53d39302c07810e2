"""Which tokens of a prompt are massive, and which belong to its messages and not to the chat template.

Massive tokens: Sun et al. 2024, "Massive Activations in Large Language Models". Their criterion is on single
activations: above 100, and at least 1,000 times the median magnitude of the hidden state. The criterion here is on
tokens, because the norm of a state decides its share in a mean: a token is massive if the norm of its state is more
than `MASSIVE` times the median norm in its prompt. This criterion is wider. Among d Gaussian coordinates the median
magnitude is 1 / (1.48 sqrt(d)) of the norm, so a single activation of 1,000 medians has a norm of 1,000 / (1.48
sqrt(d)) usual norms: 23 at d = 896. Measured at that width (Qwen2.5-Coder-0.5B), the tokens that meet the criterion of
Sun et al. have at least 14 usual norms.
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
"""A token is massive if its norm is above this multiple of the median norm in its prompt.

Multiples were measured at the output of every layer. In Qwen2.5-Coder-0.5B, usual tokens are below 2.0 in the layers in
which massive ones are above 5.0 (5 to 16; the first token at 70 or more); from layer 19 on there is no gap between the
two. No token of the embedded model reaches 2.7; in its sink twin usual tokens are below 2.7, the first one above 32.
"""


def massive(norms: Float[Tensor, "batch seq"], real: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
    """The massive tokens of each row: norm above `MASSIVE` times the median norm of the row's real tokens.

    A state that is not finite does not count as massive. It is an error, which pools without massive tokens would hide.
    """
    median = torch.where(real, norms, torch.nan).nanmedian(dim=-1, keepdim=True).values
    return real & (norms > MASSIVE * median) & norms.isfinite()


Span = tuple[int, int]


def content_mask(model: Decoder, prompts: Sequence[Prompt], chat: bool = True) -> Bool[Tensor, "batch seq"]:
    """The tokens of the messages' contents, left-padded as :meth:`zkit.Model.tokenize` pads the same prompts.

    With ``chat=False`` there is no template, and every real token is content. Raises ZkitError for no prompts, a prompt
    without a token, a chat template that changes or drops a message or depends on its content, and a tokenizer that
    does not give the characters of each token.
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
    """``n`` placeholders for the contents of messages, with which the template around them is rendered."""
    return [f"\ue000{i}\ue001" for i in range(n)]


def spans(rendered: str, template: str, contents: Sequence[str], name: str) -> list[Span]:
    """The characters [start, stop) of each message's content in a rendered text, in the order of the text.

    ``template`` is the same conversation rendered with the placeholders of :func:`marked` as contents. The text around
    the placeholders must be the same, character by character, as the text around the contents. So a word of the
    template that also occurs in a message is never mistaken for the message. White space that a template strips from a
    message belongs to no message.
    Raises ZkitError, naming the prompt ``name``, for a template that changes, repeats or drops a message.
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

    A token that crosses the edge of a message belongs to it if its part outside is only white space, and its part
    inside is not: some tokenizers put the space before a word into the word's token.
    """
    return [any(_belongs(text, *token, *message) for message in messages) for token in offsets]


def _belongs(text: str, start: int, stop: int, low: int, high: int) -> bool:
    """Whether the token at characters [start, stop) of ``text`` belongs to the message at [low, high)."""
    own = text[max(start, low) : min(stop, high)]
    if max(start, low) >= min(stop, high):
        return False
    outside = text[start : max(start, low)] + text[min(stop, high) : stop]
    return not outside or bool(own.strip() and not outside.strip())
