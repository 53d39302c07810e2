"""Slow, plain re-implementations that share no code with the library: what the laws are checked against.

Everything here runs one row at a time over the whole sequence, without padding and without a cache, and knows positions
only as explicit integers.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from hypothesis import HealthCheck, settings
from torch import Tensor

from zkit import positions
from zkit.models import Model
from zkit.positions import Positions

TOLERANCE = 1e-4
"""Largest difference of float32 logits between two ways of computing the same thing."""
NEAR = 1e-3
"""Two best logits closer than this may change places between such ways."""

few = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


@dataclass(frozen=True)
class Selector:
    """A selector in words of its own: the library's object, and its positions by counting."""

    name: str
    chosen: Positions
    kind: str
    a: int = 0
    b: int = 0
    first_token: bool = False

    def places(self, prompt: int, total: int) -> set[int]:
        """The positions chosen in a row of ``prompt`` prompt tokens and ``total`` tokens in all."""
        picked = set()
        for i in range(total):
            if i == 0 and not self.first_token:
                continue
            in_prompt = i < prompt
            if (
                self.kind == "all"
                or (self.kind == "prompt" and in_prompt)
                or (self.kind == "generated" and not in_prompt)
                or (self.kind == "last" and in_prompt and prompt - i <= self.a)
                or (self.kind == "span" and self.a <= i and not i >= self.b)
                or (self.kind == "inner" and in_prompt and i >= self.a and prompt - i > self.b)
            ):
                picked.add(i)
        return picked


def selector(kind: str, a: int = 0, b: int = 0, first_token: bool = False) -> Selector:
    if kind == "last":
        chosen = positions.last(a, first_token) if a != 1 else positions.parse("last", first_token)
    elif kind == "span":
        chosen = positions.span(a, b, first_token)
    elif kind == "inner":
        chosen = positions.inner(a, b, first_token)
    else:
        chosen = positions.parse(kind, first_token)
    return Selector(
        f"{kind}{a or ''}{f'-{b}' if b else ''}{'+first_token' if first_token else ''}", chosen, kind, a, b, first_token
    )


def selectors(longest: int) -> list[Selector]:
    """Every selector, with and without the first token; spans inside, across the end of and beyond the prompt."""
    shapes = [("all", 0, 0), ("prompt", 0, 0), ("generated", 0, 0), ("last", 1, 0), ("last", 3, 0)]
    shapes += [("last", longest + 5, 0), ("span", 0, 3), ("span", 2, longest + 3), ("span", longest, longest + 3)]
    shapes += [("inner", 0, 4)]
    return [selector(*shape, first_token=first_token) for shape in shapes for first_token in (False, True)]


@dataclass(frozen=True)
class Addition:
    """Add ``delta`` at the output of decoder layer ``layer`` at the selector's positions."""

    layer: int
    delta: Tensor
    where: Selector


def logits(model: Model, ids: Sequence[int], prompt: int, additions: Iterable[Addition] = ()) -> Tensor:
    """Logits [len(ids), vocab] of one unpadded row whose first ``prompt`` tokens are the prompt."""

    def adder(addition: Addition):
        def hook(module, args, out):
            out = out.clone()
            for i in addition.where.places(prompt, len(ids)):
                out[0, i] = out[0, i] + addition.delta
            return out

        return hook

    with ExitStack() as stack, torch.no_grad():
        for addition in additions:
            block = model.hf.model.layers[addition.layer]
            stack.callback(block.register_forward_hook(adder(addition)).remove)
        return model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]


def greedy(model: Model, prompt: Sequence[int], n: int, additions: Sequence[Addition] = ()) -> list[int]:
    """``n`` greedy tokens, the whole sequence computed again for each."""
    ids = list(prompt)
    for _ in range(n):
        ids.append(int(logits(model, ids, len(prompt), additions)[-1].argmax()))
    return ids[len(prompt) :]


def rows(model: Model, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of each prompt by itself, rendered by hand."""
    texts = [f"<|im_start|>user\n{p}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n" for p in prompts]
    return [model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]


def hook_tables(model: Model) -> dict[tuple[str, str], list[int]]:
    """The keys of every hook table of every module."""
    return {
        (name, attribute): list(table)
        for name, module in model.hf.named_modules()
        for attribute, table in vars(module).items()
        if "hook" in attribute and isinstance(table, dict)
    }


def snapshot(model: Model) -> tuple[dict, dict[str, Tensor], list[str]]:
    state = {name: tensor.clone() for name, tensor in model.hf.state_dict().items()}
    return copy.deepcopy(hook_tables(model)), state, sorted(vars(model.hf))


def assert_untouched(model: Model, before: tuple[dict, dict[str, Tensor], list[str]]) -> None:
    tables, state, attributes = before
    assert hook_tables(model) == tables
    now = model.hf.state_dict()
    assert now.keys() == state.keys()
    assert all(torch.equal(now[name], state[name]) for name in state)
    assert sorted(vars(model.hf)) == attributes


def random_vector(model: Model, seed: int, norm: float = 3.0) -> Tensor:
    v = torch.randn(model.d_model, generator=torch.Generator().manual_seed(seed))
    return v * (norm / v.norm())
