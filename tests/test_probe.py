"""A model is refused at load if its sites are not what edits and recordings take them for: seen by running it."""

import copy

import pytest
import tiny
import torch
from accelerate import cpu_offload
from torch import nn

import zkit
from zkit import decoder, models, sites
from zkit.models import Model
from zkit.sources import Source

PROMPTS = ["Hi", "Why are there tides?"]


def wrap(hf) -> Model:
    return Model(hf, tiny.tokenizer(), Source("fake", None))


def fresh():
    return copy.deepcopy(tiny.shared().hf)


def become(module, forward):
    """Give one module another forward, as a class of its own would have it."""
    module.__class__ = type("Own", (type(module),), {"forward": forward})


def test_a_model_whose_weights_are_brought_as_it_runs():
    """Offloaded by accelerate: what stands in the module is no weight at all."""
    hf = fresh()
    cpu_offload(hf, torch.device("cpu"))
    assert hf.get_input_embeddings().weight.is_meta
    assert wrap(hf).generate(PROMPTS, 4) == tiny.shared().generate(PROMPTS, 4)


class Wrapper(nn.Module):
    """A multimodal model: a tower that text does not pass through, and the text model deeper than usual."""

    def __init__(self, hf, change=lambda kwargs: kwargs):
        super().__init__()
        self.tower = nn.Module()
        self.tower.layers = nn.ModuleList([nn.Linear(4, 4)])
        self.text = nn.Module()
        self.text.inner = hf
        self.config, self.generation_config, self.dtype, self._change = (
            hf.config,
            hf.generation_config,
            hf.dtype,
            change,
        )

    def get_decoder(self):
        return self.text

    def get_input_embeddings(self):
        return self.text.inner.get_input_embeddings()

    def generate(self, *args, **kwargs):
        return self.text.inner.generate(*args, **kwargs)

    def forward(self, **kwargs):
        return self.text.inner(**self._change(kwargs))


def test_a_decoder_that_lies_deeper_is_found():
    hf = fresh()
    model = wrap(Wrapper(hf))
    assert model.decoder is hf.model and model.n_layers == 4
    v = zkit.steering.SteeringVector({2: torch.ones(32)})
    states = zkit.record(model, PROMPTS)
    assert torch.equal(states, zkit.record(tiny.shared(), PROMPTS))
    with zkit.steer(model, v, 5):
        assert not torch.equal(zkit.record(model, PROMPTS), states)


def test_two_decoders_are_one_too_many():
    outer = Wrapper(fresh())
    outer.other = fresh()
    with pytest.raises(zkit.ZkitError, match="2 places have them all, not one"):
        wrap(outer)


def test_a_mask_of_another_form():
    def four(kwargs):
        return kwargs | {"attention_mask": torch.zeros(2, 1, 3, 3)}

    with pytest.raises(zkit.ZkitError, match="decoder of 'fake' is not given the attention mask of the batch"):
        wrap(Wrapper(fresh(), four))


def test_a_decoder_that_is_not_run_or_run_twice():
    hf = fresh()
    own = hf.forward
    hf.forward = lambda **kwargs: (own(**kwargs), own(**kwargs))[0]
    with pytest.raises(zkit.ZkitError, match="runs its decoder 2 times, not once"):
        wrap(hf)
    hf.forward = lambda **kwargs: None
    with pytest.raises(zkit.ZkitError, match="runs its decoder 0 times, not once"):
        wrap(hf)


def idle(mlp):
    become(mlp, lambda self, x: x)


def direct(mlp):
    become(mlp, lambda self, x: self.down_proj.forward(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


def twice(mlp):
    def forward(self, x):
        h = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(h) + self.down_proj(h)

    become(mlp, forward)


@pytest.mark.parametrize(("spoil", "times"), [(idle, "never"), (direct, "never"), (twice, "2 times")])
def test_a_projection_that_is_not_run_once(spoil, times):
    hf = fresh()
    spoil(hf.model.layers[2].mlp)
    with pytest.raises(zkit.ZkitError, match=f"site 'mlp_act' of layer 2 in 'fake' is run {times} in a forward"):
        wrap(hf)


def test_one_layer_in_two_places():
    hf = fresh()
    hf.model.layers[1] = hf.model.layers[2]
    with pytest.raises(zkit.ZkitError, match="site 'resid_post' of layer 1 in 'fake' is run 2 times"):
        wrap(hf)


def with_experts(mlp):
    mlp.expert = nn.Linear(32, 32, bias=False)
    become(mlp, lambda self, x: self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)) + self.expert(x))


def with_multiplier(mlp):
    become(mlp, lambda self, x: 0.5 * self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x)))


def test_an_mlp_that_gates_would_not_cover():
    hf = fresh()
    with_experts(hf.model.layers[1].mlp)
    with pytest.raises(
        zkit.ZkitError, match="part of the MLP of layer 1 in 'fake' does not pass through its down_proj"
    ):
        wrap(hf)


def test_an_mlp_that_scales_its_output_is_covered():
    hf = fresh()
    with_multiplier(hf.model.layers[1].mlp)
    hf.model.layers[2].mlp.down_proj.bias = nn.Parameter(torch.randn(32), requires_grad=False)
    with_multiplier(hf.model.layers[2].mlp)
    assert wrap(hf).n_layers == 4


STREAMS = {
    "resid_post": (lambda block: block, lambda out: torch.stack([out, out])),
    "attn_out": (lambda block: block.self_attn, lambda out: (out[0][..., :1], None)),
    "mlp_out": (lambda block: block.mlp, lambda out: out[..., :1]),
}


@pytest.mark.parametrize("site", STREAMS)
def test_states_of_another_shape(site):
    hf = fresh()
    find, change = STREAMS[site]
    module = find(hf.model.layers[3])
    own = type(module).forward
    become(module, lambda self, *args, **kwargs: change(own(self, *args, **kwargs)))
    with pytest.raises(zkit.ZkitError, match=rf"site '{site}' of layer 3 in 'fake' has states .*not .*\(2, 3, 32\)"):
        wrap(hf)


def test_a_state_that_is_no_tensor():
    hf = fresh()
    module = hf.model.layers[3].self_attn
    own = type(module).forward
    become(module, lambda self, *args, **kwargs: [own(self, *args, **kwargs)[0], None])
    with pytest.raises(zkit.ZkitError, match="site 'attn_out' of layer 3 in 'fake' has states list"):
        wrap(hf)


def test_a_model_that_cannot_read_text_alone():
    hf = fresh()

    def forward(**kwargs):
        raise KeyError("pixel_values")

    hf.forward = forward
    with pytest.raises(zkit.ZkitError, match=r"cannot be run on a few tokens \(KeyError: 'pixel_values'\)"):
        wrap(hf)


@pytest.mark.parametrize("warm", [False, True])
def test_compiled_models_are_probed_as_they_are_edited(warm):
    """Uncompiled: compiled code would go by the hooks, and would keep those of the probe if it were compiled then."""
    ids = torch.arange(6).reshape(2, 3)
    call = dict(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1)
    hf = fresh()
    want = hf(**call).logits
    compiled = torch.compile(hf, backend="eager")
    if warm:
        with torch.no_grad():
            compiled(**call)
    model = wrap(compiled)
    v = zkit.steering.SteeringVector({2: torch.ones(32)})
    with zkit.steer(model, v, 5), zkit.steer(tiny.shared(), v, 5):
        assert torch.equal(zkit.record(model, PROMPTS), zkit.record(tiny.shared(), PROMPTS))
    assert torch.equal(compiled(**call).logits, want)
    idle(hf.model.layers[2].mlp)
    with pytest.raises(zkit.ZkitError, match="site 'mlp_act' of layer 2 in 'fake' is run never"):
        wrap(compiled)


def test_the_probe_leaves_no_trace():
    hf = fresh().train()
    mlp = hf.model.layers[1].mlp
    own = type(mlp).forward
    become(mlp, lambda self, x: own(self, nn.functional.dropout(x, 0.5, self.training)))  # draws random numbers
    hf.requires_grad_(True)
    before = {name: tensor.clone() for name, tensor in hf.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    wrap(hf)
    assert torch.equal(torch.get_rng_state(), state)
    assert hf.training and all(p.requires_grad and p.grad is None for p in hf.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in hf.state_dict().items())
    broken = fresh()
    idle(broken.model.layers[2].mlp)
    with pytest.raises(zkit.ZkitError):
        wrap(broken)
    for module in (*hf.modules(), *broken.modules()):
        tables = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
        assert not any(tables)


@pytest.mark.parametrize("site", ["resid_pre", "attn_heads"])
def test_a_site_without_its_states(site):
    """Also a site that not every decoder has is tried where it is there."""
    hf = fresh()
    block = hf.model.layers[1]
    module = block if site == "resid_pre" else block.self_attn.o_proj
    module.register_forward_pre_hook(lambda _, args: (args[0].flatten(1), *args[1:]))
    with pytest.raises(zkit.ZkitError, match=f"'fake' is not supported: 0 inputs of the module at '{site}' look like"):
        wrap(hf)


def test_a_decoder_without_a_site_that_few_need():
    hf = fresh()
    for block in hf.model.layers:
        block.self_attn.dense = block.self_attn.o_proj
        del block.self_attn.o_proj
        own = type(block.self_attn).forward
        become(block.self_attn, lambda self, *args, own=own, **kw: own(Renamed(self), *args, **kw))
    model = wrap(hf)
    assert torch.equal(zkit.record(model, PROMPTS), zkit.record(tiny.shared(), PROMPTS))
    with pytest.raises(zkit.ZkitError, match=r"'fake' has no site 'attn_heads': its layers have no self_attn\.o_proj"):
        zkit.record(model, PROMPTS, site="attn_heads")


class Renamed:
    """An attention that finds its ``dense`` under the name that the code of the class uses."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return self.module.dense if name == "o_proj" else getattr(self.module, name)


def test_a_site_that_is_added_is_probed_too(monkeypatch):
    monkeypatch.setitem(sites.PATHS, "new", "spare")
    for module in (decoder, models):
        monkeypatch.setattr(module, "SITES", (*sites.SITES, "new"))
    hf = fresh()
    for block in hf.model.layers:
        block.spare = nn.Identity()
    with pytest.raises(zkit.ZkitError, match="site 'new' of layer 0 in 'fake' is run never"):
        wrap(hf)
