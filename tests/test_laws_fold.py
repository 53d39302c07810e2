"""Law 2: steering every token by a hook = the same vector folded into the bias of ``down_proj``."""

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import TOLERANCE, few

import zkit
from zkit.steering import SteeringVector, fold

FOLDABLE = ["qwen3", "qwen2", "llama", "mistral", "gemma"]
BF16 = 0.06
"""Largest difference of bfloat16 logits: 8 bits of mantissa on logits of up to 4 and states of up to 10."""


def vector(model, layers, seed=0, norm=2.0):
    return SteeringVector({l: reference.random_vector(model, seed + l, norm) for l in layers})


def both(model, prompts, v, alpha):
    """Logits at real tokens: by hook, and folded."""
    batch = model.tokenize(prompts)
    real = batch["attention_mask"].bool()
    with zkit.steer(model, v, alpha, first_token=True):
        hooked = model.hf(**batch).logits[real]
    return hooked, fold(model, v, alpha).hf(**batch).logits[real]


prompts = st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4)


@few
@given(
    prompts, st.sampled_from(FOLDABLE), st.floats(-3, 3, allow_subnormal=False), st.sets(st.integers(0, 3), min_size=1)
)
def test_hook_is_fold(texts, family, alpha, layers):
    model = tiny.shared(family)
    assert torch.allclose(*both(model, texts, vector(model, layers), alpha), atol=TOLERANCE, rtol=0)


def test_fold_in_bfloat16():
    model = tiny.model("qwen3", dtype=torch.bfloat16)
    hooked, folded = both(model, ["Hi", "Explain what a mutex is."], vector(model, [1, 2]), 1.5)
    assert hooked.dtype == folded.dtype == torch.bfloat16
    assert (hooked - folded).abs().max() < BF16
    plain = model.hf(**model.tokenize(["Hi", "Explain what a mutex is."])).logits
    assert (
        folded - plain[model.tokenize(["Hi", "Explain what a mutex is."])["attention_mask"].bool()]
    ).abs().max() > 10 * BF16


def test_a_bias_that_is_there_already_is_kept():
    model = tiny.model("llama", mlp_bias=True)
    for layer in model.layers:
        layer.mlp.down_proj.bias.normal_(generator=torch.Generator().manual_seed(0))
    assert torch.allclose(
        *both(model, ["Hi", "Why are there tides"], vector(model, [0, 2]), 1.0), atol=TOLERANCE, rtol=0
    )


def test_the_fold_generates_what_the_hook_generates():
    model = tiny.shared()
    v, texts = vector(model, [1], norm=4.0), ["Hi", "Why are there tides"]
    with zkit.steer(model, v, 2.0, first_token=True):
        hooked = model.generate(texts, max_new_tokens=8)
    assert fold(model, v, 2.0).generate(texts, max_new_tokens=8) == hooked != model.generate(texts, max_new_tokens=8)


def test_fold_leaves_the_model_and_needs_the_sink():
    model = tiny.model()
    before, v = reference.snapshot(model), vector(model, [1])
    folded = fold(model, v, 1.0)
    with zkit.steer(folded, v, -1.0, first_token=True):
        undone = folded.hf(**model.tokenize(["Hi"])).logits
    reference.assert_untouched(model, before)
    plain = model.hf(**model.tokenize(["Hi"])).logits
    assert torch.allclose(undone, plain, atol=TOLERANCE)
    with zkit.steer(model, v, 1.0):  # without the first token it is another model
        default = model.hf(**model.tokenize(["Hi"])).logits
    assert not torch.allclose(default, folded.hf(**model.tokenize(["Hi"])).logits, atol=1e-2)
    assert torch.equal(fold(model, v, 0).hf(**model.tokenize(["Hi"])).logits, plain)


def test_a_fold_made_inside_a_block_is_refused():
    """A copy would keep the hooks of the block for ever."""
    model = tiny.model()
    with zkit.steer(model, vector(model, [1])), pytest.raises(zkit.ZkitError, match="block"):
        fold(model, vector(model, [2]))
