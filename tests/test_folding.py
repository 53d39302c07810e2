"""Folds that would not be what their hooks are: refused by what they do, whatever they are called."""

import accelerate
import pytest
import reference
import tiny
import torch
from torch import nn
from transformers import AutoModelForCausalLM

import zkit
from zkit import gating, steering
from zkit.gating import Gates, initial_logits
from zkit.steering import SteeringVector


class EightBit(nn.Module):
    """A linear layer whose weight is int8, to be multiplied by a scale."""

    def __init__(self, linear):
        super().__init__()
        scale = linear.weight.abs().amax(1, keepdim=True) / 127
        self.weight = nn.Parameter((linear.weight / scale).round().to(torch.int8), requires_grad=False)
        self.register_buffer("scale", scale)
        self.in_features, self.bias = linear.in_features, None

    def forward(self, x):
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale, self.bias)


class FourBit(EightBit):
    """Two weights in a byte: not even the shape is a matrix's."""

    def __init__(self, linear):
        super().__init__(linear)
        low, high = (self.weight.flatten()[i::2] // 16 + 8 for i in (0, 1))
        self.shape = self.weight.shape
        self.weight = nn.Parameter((low + 16 * high.to(torch.uint8)).to(torch.uint8)[:, None], requires_grad=False)

    def forward(self, x):
        pair = torch.stack((self.weight[:, 0] % 16, self.weight[:, 0] // 16), 1).flatten().view(self.shape)
        return nn.functional.linear(x, (pair.to(x.dtype) - 8) * 16 * self.scale, self.bias)


class Adapter(nn.Module):
    """What is added to the layer is not in its weight."""

    def __init__(self, linear):
        super().__init__()
        self.base, self.in_features = linear, linear.in_features
        generator = torch.Generator().manual_seed(0)
        self.a = nn.Parameter(torch.randn(2, linear.in_features, generator=generator), requires_grad=False)
        self.b = nn.Parameter(torch.randn(linear.out_features, 2, generator=generator), requires_grad=False)

    weight = property(lambda self: self.base.weight)

    def forward(self, x):
        return self.base(x) + x @ self.a.T @ self.b.T


def with_down_proj(kind, layer=2):
    """Plain everywhere but in one layer."""
    model = tiny.model()
    model.layers[layer].mlp.down_proj = kind(model.layers[layer].mlp.down_proj)
    return model


def offloaded():
    model = tiny.model()
    accelerate.cpu_offload(model.layers[2])
    assert model.layers[2].mlp.down_proj.weight.device.type == "meta"
    return model


def multiplied():
    """The MLP is added to the residual stream after a multiplication, as in Granite."""
    model = tiny.model()

    class Scaled(type(model.layers[0].mlp)):
        def forward(self, x):
            return 0.22 * super().forward(x)

    for layer in model.layers:
        layer.mlp.__class__ = Scaled
    return model


HOSTS = {
    "8 bit": lambda: with_down_proj(EightBit),
    "4 bit": lambda: with_down_proj(FourBit),
    "adapter": lambda: with_down_proj(Adapter),
    "offloaded": offloaded,
}
STEERED = HOSTS | {
    "multiplier": multiplied,
    "post-norm, Gemma 2": lambda: tiny.shared("gemma2"),
    "post-norm, Gemma 3": lambda: tiny.shared("gemma3"),
}
REFUSAL = (
    "'tiny-.*(is not the hooked model: at layer . the largest difference is|cannot be folded).*use the block instead"
)
GATES = Gates(initial_logits(4, 48, 2.0, 0), {"scale": "mean"})


def logits(model):
    with torch.no_grad():
        return model.hf(**model.tokenize(["Hi"])).logits


@pytest.mark.parametrize("host", HOSTS)
def test_gates_are_not_folded_into_what_is_no_plain_weight(host):
    model = HOSTS[host]()
    plain = logits(model)
    with zkit.gate(model, GATES):
        assert not torch.allclose(logits(model), plain, atol=0.1)  # the block acts on any of them
    with pytest.raises(zkit.ZkitError, match=REFUSAL):
        gating.fold(model, GATES)
    assert torch.equal(logits(model), plain)


@pytest.mark.parametrize("host", STEERED)
def test_steering_is_folded_into_what_adds_it_or_not_at_all(host):
    """A bias acts under an 8-bit weight and beside an adapter: what is given out is what the hook says."""
    model = STEERED[host]()
    v = SteeringVector({2: reference.random_vector(model, 0, 4.0)})
    plain = logits(model)
    with zkit.steer(model, v, 1.0, first_token=True):
        hooked = logits(model)
    assert not torch.allclose(hooked, plain, atol=0.05)
    if host in ("8 bit", "4 bit"):
        assert torch.allclose(logits(steering.fold(model, v)), hooked, atol=1e-4)
    else:
        with pytest.raises(zkit.ZkitError, match=REFUSAL):
            steering.fold(model, v)
    assert torch.equal(logits(model), plain)


def test_one_wrong_layer_of_many_is_found_and_named():
    model = with_down_proj(EightBit, layer=3)
    with pytest.raises(zkit.ZkitError, match="at layer 3 the largest difference"):
        gating.fold(model, GATES)


def test_a_multiplier_does_not_stand_in_the_way_of_gates():
    model = multiplied()
    with zkit.gate(model, GATES):
        hooked = logits(model)
    folded = gating.fold(model, GATES)
    assert torch.allclose(logits(folded), hooked, atol=1e-4)


def test_what_is_saved_is_what_the_hook_says(tmp_path):
    model = tiny.shared()
    with zkit.gate(model, GATES):
        hooked, texts = logits(model), model.generate(["Hi"], 6)
    gating.fold(model, GATES).hf.save_pretrained(tmp_path)
    again = zkit.Model(AutoModelForCausalLM.from_pretrained(tmp_path).eval(), model.tokenizer, model.source)
    assert torch.allclose(logits(again), hooked, atol=1e-4) and again.generate(["Hi"], 6) == texts
