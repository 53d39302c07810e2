"""Each site is where its name says: an edit there is the same as one made elsewhere that must equal it."""

from contextlib import contextmanager

import pytest
import reference
import tiny
import torch
from reference import TOLERANCE
from torch import nn

import zkit
from zkit.edits import Edit, add, patch
from zkit.hooks import Hooks
from zkit.sites import SITES, at_input, attach

PROMPTS = ["Hi", "Why are there tides"]


@contextmanager
def attached(module, site, act):
    with Hooks() as hooks:
        attach(hooks, module, site, act)
        yield


def logits(model, edits=()):
    batch = model.tokenize(PROMPTS)
    with zkit.edit(model, list(edits)), torch.no_grad():
        return model.hf(**batch).logits[batch["attention_mask"].bool()]


@pytest.mark.parametrize("family", ["qwen3", "gemma2"])
def test_the_input_of_a_layer_is_the_output_of_the_one_before(family):
    model = tiny.shared(family)
    v = reference.random_vector(model, 0)
    for layer in (1, 3):
        before = logits(model, [add("resid_post", layer - 1, v)])
        assert torch.equal(logits(model, [add("resid_pre", layer, v)]), before)
        assert not torch.allclose(before, logits(model), atol=0.01)
    states = zkit.record(model, PROMPTS, site="resid_post", layers=[0, 1, 2])
    assert torch.equal(zkit.record(model, PROMPTS, site="resid_pre", layers=[1, 2, 3]), states)


def test_the_input_of_the_first_layer_is_the_embedding():
    model = tiny.shared()
    [found] = zkit.token_states(model, PROMPTS[:1], site="resid_pre", layers=[0])
    [ids] = reference.rows(model, PROMPTS[:1])
    assert torch.equal(found[:, 0], model.hf.model.embed_tokens.weight[ids])


@pytest.mark.parametrize("family", tiny.CONFIGS)
def test_a_head_that_is_zeroed_is_a_head_whose_columns_are_zero(family):
    model, layer, head, size = tiny.model(family), 2, 1, 8
    assert model.width("attn_heads") == 4 * size
    mine = slice(head * size, (head + 1) * size)
    mask = torch.ones(4 * size)
    mask[mine] = 0
    plain = logits(model)
    hooked = logits(
        model, [Edit("attn_heads", layer, lambda h: h * mask, zkit.positions.parse("all", first_token=True))]
    )
    with torch.no_grad():
        model.layers[layer].self_attn.o_proj.weight[:, mine] = 0
    assert torch.allclose(hooked, logits(model), atol=TOLERANCE, rtol=0)
    assert not torch.allclose(hooked, plain, atol=1e-3)


def test_heads_stand_in_order():
    """What head h leaves at o_proj_in depends on the values of its own group alone."""
    model = tiny.model()
    before = zkit.record(model, PROMPTS, site="attn_heads", layers=[0])
    with torch.no_grad():
        model.layers[0].self_attn.v_proj.weight[8:] *= 2  # the second of two value heads, which heads 2 and 3 read
    change = (
        (zkit.record(model, PROMPTS, site="attn_heads", layers=[0]) - before)[:, 0].abs().amax(0).view(4, 8).amax(1)
    )
    assert change.gt(1e-3).tolist() == [False, False, True, True]


def test_states_by_keyword_are_found():
    """By what they are, a floating tensor [rows, tokens, width], not by their name."""

    class Layer(nn.Module):
        def forward(self, mask=None, states=None):
            return states * 2

    layer, x, mask = Layer(), torch.ones(2, 3, 4), torch.zeros(2, 1, 3, 3)
    seen = []
    with attached(layer, "resid_pre", seen.append):
        assert torch.equal(layer(mask=mask, states=x), 2 * x)
        assert torch.equal(layer(mask, states=x), 2 * x)
        with pytest.raises(zkit.ZkitError, match=r"0 inputs of the module at 'resid_pre' look like states"):
            layer(mask=mask, states=x[0])
        with pytest.raises(zkit.ZkitError, match=r"2 inputs of the module at 'resid_pre' look like states"):
            layer(mask=x, states=x)
    with attached(layer, "resid_pre", lambda h: h + 1):
        assert torch.equal(layer(mask=mask, states=x), 4 * x)
    assert torch.equal(layer(states=x), 2 * x)
    assert len(seen) == 2 and all(h is x for h in seen)


def test_a_layer_that_gets_its_states_by_keyword_is_edited_like_any(monkeypatch):
    model = tiny.model()
    v = reference.random_vector(model, 1)
    want, states = logits(model, [add("resid_pre", 2, v)]), zkit.record(model, PROMPTS, site="resid_pre", layers=[2])
    own = model.layers[2].__class__.__call__

    def by_keyword(self, hidden_states, *args, **kwargs):
        return own(self, *args, hidden_states=hidden_states, **kwargs)

    monkeypatch.setattr(model.layers[2].__class__, "__call__", by_keyword)
    assert torch.equal(logits(model, [add("resid_pre", 2, v)]), want)
    assert torch.equal(zkit.record(model, PROMPTS, site="resid_pre", layers=[2]), states)


def test_a_site_that_an_architecture_lacks_is_refused_by_name():
    model = tiny.model()
    model.layers[0].self_attn.dense = model.layers[0].self_attn.o_proj
    del model.layers[0].self_attn.o_proj
    for call in (lambda: zkit.edit(model, [Edit("attn_heads", 0, lambda h: h)]), lambda: model.width("attn_heads")):
        with pytest.raises(zkit.ZkitError, match=r"has no site 'attn_heads': its layers have no self_attn\.o_proj"):
            call()


def test_patching_at_every_site_brings_the_other_prompts_logits():
    """All sites of the residual stream carry everything behind them: at resid_pre as at layer."""
    model = tiny.shared()
    everywhere = zkit.positions.parse("all", first_token=True)
    batch = model.tokenize(["abcd", "efgh"])
    plain = model.hf(**batch).logits
    for site in SITES:
        seen = []
        with attached(model.site(site, 1), site, seen.append):
            model.hf(**batch)
        with zkit.edit(model, [patch(site, 1, list(seen[0].flip(0)), positions=everywhere)]):
            found = model.hf(**batch).logits
        assert torch.allclose(found, plain.flip(0), atol=TOLERANCE) == (site in ("resid_post", "resid_pre"))
        assert not torch.allclose(found, plain, atol=1e-3)
    assert [site for site in SITES if at_input(site)] == ["mlp_act", "resid_pre", "attn_heads"]
