"""On the real model: filled batches and kept beginnings give what prompts give one by one and whole."""

import torch

import zkit
from zkbook import organism
from zkit.edits import patch
from zkit.generation import complete, next_log_probs
from zkit.packing import as_one
from zkit.positions import last
from zkit.subspaces import random_subspace

NEAR = 1e-3
"""Two best logits closer than this may change places between batches."""


def test_lists_together_give_the_texts_of_lists_one_by_one(field_model):
    keys = ("facts", "sums", "sums_plain", "word_problems", "statements")
    lists = {key: organism.held_out_tasks("en")[key].items[:2] for key in keys}

    def ask(items):
        chat = [item.chat for item in items]
        return complete(field_model, [item.prompt for item in items], max_new_tokens=12, chat=chat)

    together = as_one(lists, ask)
    for key, items in lists.items():
        for item, one, other in zip(items, ask(items), together[key], strict=True):
            assert one.text == other.text or near_tie(field_model, item, one.text), (one, other)


def near_tie(model, item, text):
    [rows] = next_log_probs(model, [item.prompt], [text], chat=item.chat)
    best = rows.topk(2).values
    return bool((best[:, 0] - best[:, 1] < NEAR).any())


def test_kept_beginnings_give_what_whole_prompts_give(field_model):
    prompts = [item.prompt for item in organism.held_out_arithmetic("en", "+", form="word problem")[:4]]
    states = zkit.record(field_model, prompts[2:], "last")
    space = random_subspace(20, field_model.d_model, torch.Generator().manual_seed(0))
    arms = [
        [patch("resid_post", layer, states[:, layer], part, last(1))] for layer in (4, 12, 20) for part in (None, space)
    ]
    kept, whole = (next_log_probs(field_model, prompts[:2], None, arms, prefix=prefix) for prefix in (True, False))
    for one, other in zip(kept, whole, strict=True):
        assert torch.allclose(torch.cat(one), torch.cat(other), atol=1e-3)
    assert not torch.allclose(kept[-2][0], kept[0][0], atol=0.1)  # the patches do something
