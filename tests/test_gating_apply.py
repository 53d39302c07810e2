"""Law 2 for gates: the hook = the fold, and the factors are what their names say."""

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import TOLERANCE, few
from transformers import AutoModelForCausalLM

import zkit
from zkit.gating import Gates, edits, fold, gate, initial_logits, neuron_factors
from zkit.gating.apply import rescaled

PROMPTS = ["Hi", "Explain what a mutex is."]
HALF = {torch.bfloat16: 0.06, torch.float16: 0.01}
"""Largest difference of half-precision logits: 8 and 11 bits of mantissa on logits of up to 4 and states of up to 10.
"""


def gates(seed=0, std=2.0, **note):
    return Gates(initial_logits(4, 48, std, seed), note)


def logits(hf, model, prompts=PROMPTS):
    """At real tokens."""
    batch = model.tokenize(prompts)
    with torch.no_grad():
        return hf(**batch).logits[batch["attention_mask"].bool()]


def both(model, prompts, own, **options):
    with gate(model, own, **options):
        hooked = logits(model.hf, model, prompts)
    return hooked, logits(fold(model, own, **options).hf, model, prompts)


factors = st.builds(
    lambda n, width, seed, std: initial_logits(n, width, std, seed).sigmoid(),
    st.integers(1, 5), st.integers(1, 40), st.integers(0, 99), st.floats(0, 4),
)  # fmt: skip


@few
@given(factors)
def test_rescaled_factors_have_mean_or_mean_square_one(x):
    for scale, power in (("mean", 1), ("energy", 2)):
        layer, whole = rescaled(x, scale), rescaled(x, scale, "global")
        for l in range(len(x)):
            assert sum(v**power for v in layer[l].tolist()) / x.shape[1] == pytest.approx(1, abs=1e-5)
            ratio = layer[l] / x[l]
            assert torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-5)
        assert sum(v**power for v in whole.flatten().tolist()) / x.numel() == pytest.approx(1, abs=1e-5)
        assert torch.allclose(whole / x, (whole / x)[0, 0], rtol=1e-5)
    assert torch.equal(rescaled(x, "none"), x) and torch.equal(rescaled(x, "none", "global"), x)


def test_rescaling_is_differentiable():
    x = initial_logits(2, 5, 1.0).double().requires_grad_()
    for scale in ("mean", "energy"):
        for scope in ("layer", "global"):
            assert torch.autograd.gradcheck(lambda y, s=scale, o=scope: rescaled(y.sigmoid(), s, o), x)


def test_soft_factors_take_the_scale_of_their_training():
    own, trained = gates(), gates(scale="energy")
    assert torch.allclose(neuron_factors(own, "mean").mean(-1), torch.ones(4))
    assert torch.equal(neuron_factors(trained), neuron_factors(own, "energy"))
    assert torch.equal(neuron_factors(trained, "mean"), neuron_factors(own, "mean"))
    assert torch.equal(neuron_factors(own, "none"), own.values)
    assert torch.equal(neuron_factors(own, "mean", scope="global"), rescaled(own.values, "mean", "global"))
    with pytest.raises(zkit.ZkitError, match="do not say which scale they were trained with; give scale='mean'"):
        neuron_factors(own)


def test_hard_factors_are_zero_or_one_or_lambda():
    own = gates(scale="mean")
    for threshold in own.thresholds:
        on = own.values >= threshold
        assert torch.equal(neuron_factors(own, threshold=threshold), on.float())
        assert torch.equal(neuron_factors(own, threshold=threshold, kept="lambda"), on * own.values)
    half = neuron_factors(own, "mean", threshold=own.threshold(0.5), scope="global")
    assert torch.allclose(half.unique(), torch.tensor([0.0, 2.0]))
    by_layer = neuron_factors(own, "energy", threshold=0.5, kept="lambda")
    assert torch.allclose(by_layer.square().mean(-1), torch.ones(4)) and torch.equal(by_layer == 0, own.off(0.5))


prompts = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=3)
options = st.sampled_from(
    [
        {"scale": "mean"},
        {"scale": "energy", "scope": "global"},
        {"scale": "none"},
        {"threshold": 0.4},
        {"threshold": 0.6, "kept": "lambda"},
        {"threshold": 0.5, "scale": "energy"},
    ]
)


@few
@given(prompts, st.sampled_from(list(tiny.CONFIGS)), options, st.integers(0, 9))
def test_hook_is_fold(texts, family, how, seed):
    hooked, folded = both(tiny.shared(family), texts, gates(seed), **how)
    assert torch.allclose(hooked, folded, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", list(HALF))
def test_fold_in_half_precision(dtype):
    model, own = tiny.model(dtype=dtype), gates(std=1.0)
    plain = logits(model.hf, model)
    for how in ({"scale": "energy"}, {"threshold": 0.45}):
        hooked, folded = both(model, PROMPTS, own, **how)
        assert hooked.dtype == folded.dtype == dtype
        assert (hooked - folded).abs().max() < HALF[dtype]
        assert (folded - plain).abs().max() > 5 * HALF[dtype]


def test_a_bias_of_the_layer_is_not_gated():
    model = tiny.model("llama", mlp_bias=True)
    for layer in model.layers:
        layer.mlp.down_proj.bias.normal_(generator=torch.Generator().manual_seed(0))
    hooked, folded = both(model, PROMPTS, gates(), scale="mean")
    assert torch.allclose(hooked, folded, atol=TOLERANCE, rtol=0)


def test_gates_scale_every_neuron_at_every_token():
    """By one forward pass in which the neurons are multiplied by hand."""
    model, own = tiny.shared(), gates()
    want = neuron_factors(own, "mean")
    [ids] = reference.rows(model, PROMPTS[:1])
    handles = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda m, args, row=row: (args[0] * row,))
        for layer, row in zip(model.layers, want, strict=True)
    ]
    by_hand = reference.logits(model, ids, len(ids))
    for handle in handles:
        handle.remove()
    with gate(model, own, "mean"):
        assert torch.allclose(logits(model.hf, model, PROMPTS[:1]), by_hand, atol=TOLERANCE)
    assert not torch.allclose(logits(model.hf, model, PROMPTS[:1]), by_hand, atol=0.1)


def test_with_every_gate_on_nothing_changes():
    model, own = tiny.shared(), gates()
    plain = logits(model.hf, model)
    low = float(own.values.min()) / 2
    with gate(model, own, threshold=low):
        assert torch.equal(logits(model.hf, model), plain)
    assert torch.equal(logits(fold(model, own, threshold=low).hf, model), plain)
    with gate(model, Gates(torch.zeros(4, 48)), "energy"):  # equal gates, brought to one
        assert torch.equal(logits(model.hf, model), plain)


def test_the_fold_says_what_the_hook_says():
    model, own = tiny.shared(), gates()
    with gate(model, own, "mean"):
        hooked = model.generate(PROMPTS, max_new_tokens=8)
    folded = fold(model, own, "mean")
    assert folded.generate(PROMPTS, max_new_tokens=8) == hooked != model.generate(PROMPTS, max_new_tokens=8)


def test_fold_gives_a_plain_model_and_leaves_the_one_given(tmp_path):
    model = tiny.model()
    before = reference.snapshot(model)
    folded = fold(model, gates(), threshold=0.5).hf
    reference.assert_untouched(model, before)
    changed = [name for name, x in folded.state_dict().items() if not torch.equal(x, before[1][name])]
    assert changed == [f"model.layers.{l}.mlp.down_proj.weight" for l in range(4)]
    assert type(folded) is type(model.hf)
    folded.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(logits(again, model), logits(folded, model))


def test_the_block_leaves_the_model_as_it_was():
    model = tiny.model()
    before = reference.snapshot(model)
    with pytest.raises(KeyError), gate(model, gates(), "mean"):
        logits(model.hf, model)
        raise KeyError
    reference.assert_untouched(model, before)


def test_gates_in_one_batch_with_other_arms():
    model, own = tiny.shared(), gates(scale="mean")
    arms = [edits(model, own), [], edits(model, own, threshold=0.5)]
    together = zkit.generation.complete(model, PROMPTS, arms, max_new_tokens=6)
    with gate(model, own):
        assert [x.text for x in together[0]] == model.generate(PROMPTS, 6)
    assert [x.text for x in together[1]] == model.generate(PROMPTS, 6)


def test_bad_input():
    model, own = tiny.shared(), gates()
    dark = Gates(torch.cat([torch.zeros(2, 48), torch.full((1, 48), -3.0), torch.zeros(1, 48)]))
    calls = {
        "every neuron of layer 2 is off, so nothing is left to rescale; lower": lambda: neuron_factors(
            dark, "mean", threshold=0.5
        ),
        "every neuron of the model is off": lambda: neuron_factors(dark, "energy", threshold=0.9, scope="global"),
        "unknown scale 'max'; choose one of mean, energy, none": lambda: neuron_factors(own, "max"),
        "unknown scope 'head'; choose one of layer, global": lambda: fold(model, own, "mean", scope="head"),
        "unknown kept value 'two'; choose one of one, lambda": lambda: edits(model, own, threshold=0.5, kept="two"),
        "do not say which scale": lambda: gate(model, own).__enter__(),
        "between 0 and 1; got 1.5": lambda: neuron_factors(own, threshold=1.5),
        "do not fit 'tiny-qwen3'": lambda: gate(model, Gates(torch.zeros(4, 47)), "mean").__enter__(),
        "144 gates": lambda: fold(model, Gates(torch.zeros(3, 48)), "mean"),
        "do not fit": lambda: edits(model, Gates(torch.zeros(3, 48)), scale="mean"),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()
    assert neuron_factors(dark, threshold=0.5)[2].sum() == 0
    with gate(model, own, "mean"), pytest.raises(zkit.ZkitError, match="call it outside the block"):
        fold(model, own, "mean")


def test_soft_gates_that_were_trained_as_hard_concrete_reach_zero_and_one():
    logits = torch.tensor([[-9.0, 0.0, 9.0]])
    assert torch.equal(
        neuron_factors(Gates(logits, {"scale": "none", "gate": "hard_concrete"})), torch.tensor([[0.0, 0.5, 1.0]])
    )
    assert torch.equal(neuron_factors(Gates(logits, {"scale": "none"})), logits.sigmoid())
