"""The specification's table of chapter 09: batched arms against the loop that published it, one prompt at a time."""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from torch import Tensor

import zkit
from tests.benchmarks.side_by_side import ratio
from zkbook.organism.problems import interchange_problems
from zkit.batching import tokens
from zkit.edits import patch
from zkit.generation import complete
from zkit.phase3 import z_mask
from zkit.phase3.weights import chosen
from zkit.positions import parse
from zkit.recording import token_states
from zkit.subspaces import Subspace, random_subspace

PROBLEMS, DRAWS = 10, 5
NEW = 100  # tokens of every text, as specified; the embedded model would end an answer after two
Arm = tuple[int, Subspace | None, bool]
"""Layer, subspace (None: all of it), and whether its complement is patched."""


def table(model: zkit.Model) -> dict[str, Any]:
    """Seconds of the published loop over those of one call, for the whole table; both must write the same texts.

    The loop reads the text so far anew for every token, without a cache, and patches by a plain hook. Nothing ends a
    text before its NEW tokens.
    """
    asked = [p for kind in ("sum", "difference") for p in interchange_problems("test", kind)[: PROBLEMS // 2]]
    english = [p.prompts["en"] for p in asked]
    found = token_states(model, [p.prompts["zh"] for p in asked])
    means = torch.stack([states.mean(0) for states in found])  # [n_problems, n_layers, d]
    arms = _arms(model)
    everywhere = parse("all", first_token=True)
    edits = [
        [patch("resid_post", l, means[:, l], space.complement() if space and rest else space, everywhere)]
        for l, space, rest in arms
    ]
    told: dict[str, list[list[str]]] = {}

    def batched() -> None:
        answers = complete(model, english, [[], *edits], max_new_tokens=NEW)
        told["batched"] = [[answer.text for answer in arm] for arm in answers]

    def one_by_one() -> None:
        ids = tokens(model, english, True)
        told["loop"] = [
            [_written(model, list(row), arm, means[i]) for i, row in enumerate(ids)] for arm in (None, *arms)
        ]

    with mock.patch.object(zkit.Model, "end_tokens", []):
        measured = ratio(one_by_one, batched, pairs=1)
    for i, (ours, theirs) in enumerate(zip(told["batched"], told["loop"], strict=True)):
        if ours != theirs:
            first = next(pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1])
            raise SystemExit(f"arm {i} of the table: {first[0]!r} batched, {first[1]!r} one by one")
    return measured | {"target": 20.0, "texts": len(asked) * (1 + len(arms))}


def _arms(model: zkit.Model) -> list[Arm]:
    rule = chosen(model)
    found: list[Arm] = []
    for layer in rule.layers:
        found.append((layer, None, False))
        for k in rule.ks:
            found += [(layer, z_mask(model, layer, k), rest) for rest in (False, True)]
    for draw in range(DRAWS):
        noise = random_subspace(rule.ks[1], model.d_model, torch.Generator().manual_seed(draw))
        found += [(rule.layers[0], noise, rest) for rest in (False, True)]
    return found


@torch.no_grad()
def _written(model: zkit.Model, ids: list[int], arm: Arm | None, means: Tensor) -> str:
    start = len(ids)

    def hook(_: Any, __: Any, out: Any) -> Any:
        assert arm is not None
        h = out[0] if isinstance(out, tuple) else out
        layer, space, rest = arm
        change = means[layer] - h
        if space is not None:
            inside = change @ space.basis.T @ space.basis
            change = change - inside if rest else inside
        return (h + change, *out[1:]) if isinstance(out, tuple) else h + change

    handle = None if arm is None else model.layers[arm[0]].register_forward_hook(hook)
    try:
        while len(ids) < start + NEW:
            token = int(model.hf(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
            if token in model.end_tokens:
                break
            ids.append(token)
    finally:
        if handle is not None:
            handle.remove()
    return model.tokenizer.decode(ids[start:], skip_special_tokens=True)
