"""Gates: their values, what a threshold turns off, their statistics, and models that they do not fit."""

import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from transformers import AutoTokenizer

import zkit
from zkit.gating import Gates, initial_logits, knowledge_neurons
from zkit.gating.gates import OFF_FRACTIONS, stack
from zkit.models import Model
from zkit.sources import Source


def distinct(n_layers, d_mlp, seed=0, spread=2.0):
    """Gates of which no two are equal, in random order."""
    order = torch.randperm(n_layers * d_mlp, generator=torch.Generator().manual_seed(seed))
    return Gates((order.double() / order.numel() - 0.5).mul(spread).reshape(n_layers, d_mlp))


shapes = st.tuples(st.integers(1, 5), st.integers(1, 60))


@few
@given(shapes, st.integers(0, 99), st.floats(0.01, 60))
def test_values_are_the_sigmoid_of_the_logits(shape, seed, spread):
    gates = distinct(*shape, seed, spread)
    assert (gates.n_layers, gates.d_mlp) == shape
    for logit, value in zip(gates.logits.flatten().tolist(), gates.values.flatten().tolist(), strict=True):
        assert value == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-5)


@few
@given(shapes, st.integers(0, 99), st.floats(0.01, 40), st.floats(0.001, 0.999))
def test_a_threshold_turns_off_exactly_its_share(shape, seed, spread, off):
    gates = distinct(*shape, seed, spread)
    n = gates.logits.numel()
    for share in (off, *OFF_FRACTIONS):
        threshold = gates.threshold(share)
        assert 0 < threshold < 1
        assert int(gates.off(threshold).sum()) == round(share * n)
        assert gates.off_fraction(threshold) == pytest.approx(round(share * n) / n)


def test_the_published_thresholds_turn_off_their_shares():
    gates = Gates(torch.randn(28, 3072, generator=torch.Generator().manual_seed(0)) * 0.12)
    assert OFF_FRACTIONS == (0.05, 0.25, 0.5, 0.75, 0.95)
    assert [round(gates.off_fraction(t), 4) for t in gates.thresholds] == list(OFF_FRACTIONS)
    assert list(gates.thresholds) == sorted(gates.thresholds)


def test_gates_near_one_are_told_apart():
    """In single precision the sigmoid of everything above 17 is one."""
    gates = Gates(torch.linspace(17, 22, 100).reshape(2, 50))
    assert [round(gates.off_fraction(t), 4) for t in gates.thresholds] == list(OFF_FRACTIONS)
    assert gates.statistics()["thresholds"][-1]["off_fraction"] == pytest.approx(0.95)


def test_equal_gates_go_together():
    gates = Gates(torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    assert gates.off(gates.threshold(0.75)).tolist() == [[True, True, True, False]]
    assert not gates.off(gates.threshold(0.5)).any()


def test_a_gate_at_the_threshold_stays_on():
    gates = Gates(torch.tensor([[0.0, -1e-9, -0.1, 0.1]]))
    assert gates.off(0.5).tolist() == [[False, True, True, False]]
    assert gates.off(float(gates.values.double()[0, 3])).tolist()[0][:3] == [True, True, True]
    assert knowledge_neurons(Gates(torch.tensor([[-1.0, 1.0], [1.0, 2.0], [-2.0, -1.0]]))) == {0: [0], 1: [], 2: [0, 1]}


def test_the_statistics_say_what_the_gates_are():
    gates = Gates(initial_logits(3, 40, 0.5, seed=1))
    found, values = gates.statistics(), gates.values.double().flatten().tolist()
    mean = sum(values) / 120
    assert (found["total_gates"], found["n_layers"], found["d_mlp"]) == (120, 3, 40)
    assert found["mean"] == pytest.approx(mean)
    assert found["std"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 119))
    assert (found["min"], found["max"]) == pytest.approx((min(values), max(values)))
    assert found["below_half"] == sum(v < 0.5 for v in values) == sum(map(len, knowledge_neurons(gates).values()))
    assert [row["threshold"] for row in found["thresholds"]] == list(gates.thresholds)
    assert [row["off_fraction"] for row in found["thresholds"]] == pytest.approx(list(OFF_FRACTIONS))


def test_gates_own_a_float32_copy_on_the_cpu_without_gradient():
    gates = Gates(torch.zeros(2, 3, dtype=torch.float64, requires_grad=True))
    assert gates.logits.dtype == torch.float32 and not gates.logits.requires_grad


def test_the_first_draw_is_a_function_of_its_seed():
    draw = initial_logits(4, 5000, 0.1, seed=3)
    assert torch.equal(draw, initial_logits(4, 5000, 0.1, seed=3))
    assert not torch.equal(draw, initial_logits(4, 5000, 0.1, seed=4))
    assert draw.std() == pytest.approx(0.1, rel=0.03) and abs(draw.mean()) < 0.003
    assert not initial_logits(2, 3, 0.0).any()


def test_logits_that_are_no_gates_are_refused():
    broken = torch.zeros(3, 5)
    broken[1, 4], broken[2, 0] = math.nan, math.inf
    gates = Gates(torch.zeros(2, 3))
    calls = {
        "2 gate logits are not finite, the first at layer 1, neuron 4; restore": lambda: Gates(broken),
        r"must be \[n_layers, d_mlp\]; these have the shape \(6,\)": lambda: Gates(torch.zeros(6)),
        r"the shape \(1, 2, 3\)": lambda: Gates(torch.zeros(1, 2, 3)),
        r"the shape \(2, 0\)": lambda: Gates(torch.zeros(2, 0)),
        "between 0 and 1; got 0. For a share": lambda: gates.off(0),
        "between 0 and 1; got 1": lambda: gates.off_fraction(1),
        "between 0 and 1; got 50": lambda: knowledge_neurons(gates, 50),
        "between 0 and 1; got nan": lambda: gates.off(math.nan),
        "share of neurons to turn off must lie between 0 and 1; got 0": lambda: gates.threshold(0.0),
        "share of neurons to turn off must lie between 0 and 1; got 1.5": lambda: gates.threshold(1.5),
        "deviation cannot be negative; got -0.1": lambda: initial_logits(2, 3, -0.1),
        "different shapes": lambda: stack([torch.zeros(3), torch.zeros(4)]),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_gates_of_another_size_are_refused_with_both_counts():
    model = tiny.shared()
    Gates(torch.zeros(4, 48)).check(model)
    with pytest.raises(zkit.ZkitError) as error:
        Gates(torch.zeros(28, 3072)).check(model)
    assert "86,016 gates (28 layers of 3,072) do not fit 'tiny-qwen3'" in str(error.value)
    assert "192 neurons (4 layers of 48)" in str(error.value)
    other = tiny.model(num_hidden_layers=2, intermediate_size=64)
    with pytest.raises(zkit.ZkitError, match=r"which has 128 neurons \(2 layers of 64\)"):
        Gates(torch.zeros(4, 48)).check(other)
    with pytest.raises(zkit.ZkitError, match="do not fit"):
        Gates(torch.zeros(6, 32)).check(model)


def test_gates_know_the_weights_that_they_were_trained_on(tmp_path):
    found = []
    for seed in (0, 1):
        model = tiny.model(seed=seed, num_hidden_layers=2)
        model.hf.save_pretrained(tmp_path / str(seed))
        model.tokenizer.save_pretrained(tmp_path / str(seed))
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / str(seed))
        found.append(Model(model.hf, tokenizer, Source(f"model-{seed}", tmp_path / str(seed))))
    mine, other = found
    gates = Gates(torch.zeros(2, 48), {"model_sha256": mine.sha256, "model": "model-0", "scale": "mean"})
    gates.check(mine)
    with pytest.raises(zkit.ZkitError, match=rf"'model-0' with weights {mine.sha256[:12]}, 'model-1' has the weights"):
        gates.check(other)
    free = gates.unbound()
    free.check(other)
    assert torch.equal(free.logits, gates.logits) and free.note == {"model": "model-0", "scale": "mean"}
    assert gates.note["model_sha256"] == mine.sha256
