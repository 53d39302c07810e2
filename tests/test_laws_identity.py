"""Law 1: un-hooked = alpha 0 = identity patch = empty arm, bit for bit; and the model leaves every block as it was."""

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from torch import nn

import zkit
from zkit import edits, generation, positions
from zkit.edits import Edit
from zkit.models import SITES
from zkit.steering import SteeringVector
from zkit.subspaces import random_subspace

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides"]


def site_states(model, batch, site, layer):
    """The states at a site, by a hook of the test's own: those of the real tokens of each row."""
    seen = []
    block = model.hf.model.layers[layer]
    inputs = {"mlp_act": block.mlp.down_proj, "attn_heads": block.self_attn.o_proj, "resid_pre": block}
    if site in inputs:
        handle = inputs[site].register_forward_pre_hook(
            lambda m, args, kwargs: seen.append((*args, kwargs.get("hidden_states"))[0].clone()), with_kwargs=True
        )
    else:
        module = {"resid_post": block, "attn_out": block.self_attn, "mlp_out": block.mlp}[site]
        handle = module.register_forward_hook(
            lambda m, args, out: seen.append((out[0] if isinstance(out, tuple) else out).clone())
        )
    with handle, torch.no_grad():
        model.hf(**batch)
    return [row[mask] for row, mask in zip(seen[0], batch["attention_mask"].bool(), strict=True)]


def declared(model, batch):
    """The whole batch is prompt."""
    return positions.prompt_width(model.decoder, batch["input_ids"].shape[1])


def vector(model, layer=1, seed=0):
    return SteeringVector({layer: reference.random_vector(model, seed)})


texts = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4)
where = st.sampled_from(
    [positions.parse(p, s) for p in ("all", "prompt", "generated", "last") for s in (False, True)]
    + [positions.last(4), positions.span(1, 5), positions.span(0, 3, first_token=True)]
)


@few
@given(texts, st.integers(0, 3), where)
def test_alpha_zero_is_no_edit(prompts, layer, chosen):
    model = tiny.shared()
    batch = model.tokenize(prompts)
    plain = model.hf(**batch).logits
    for alpha in (0, 0.0, -0.0):
        with zkit.steer(model, vector(model, layer), alpha, positions=chosen):
            assert torch.equal(model.hf(**batch).logits, plain)
    with zkit.edit(model, [edits.add("resid_post", layer, torch.zeros(model.d_model), chosen)]), declared(model, batch):
        assert torch.equal(model.hf(**batch).logits, plain)


@few
@given(
    texts, st.sampled_from(list(SITES)), st.integers(0, 3), where, st.sampled_from(["float32", "bfloat16"]), st.data()
)
def test_a_patch_with_the_own_states_changes_no_bit(prompts, site, layer, chosen, dtype, data):
    model = tiny.model("qwen3", dtype=getattr(torch, dtype))
    batch = model.tokenize(prompts)
    plain, own = model.hf(**batch).logits, site_states(model, batch, site, layer)
    width = model.width(site)
    k = data.draw(st.integers(1, width))
    for space in (None, random_subspace(k, width, torch.Generator().manual_seed(k))):
        with zkit.edit(model, [edits.patch(site, layer, own, space, chosen)]), declared(model, batch):
            assert torch.equal(model.hf(**batch).logits, plain)


@pytest.mark.parametrize("family", tiny.CONFIGS)
@pytest.mark.parametrize("site", SITES)
def test_the_identity_at_every_site_of_every_family(family, site):
    model = tiny.shared(family)
    batch = model.tokenize(PROMPTS)
    plain = model.hf(**batch).logits
    everywhere = [edits.patch(site, l, site_states(model, batch, site, l)) for l in range(model.n_layers)]
    with zkit.edit(model, everywhere):
        assert torch.equal(model.hf(**batch).logits, plain)
    with zkit.edit(model, [Edit(site, l, lambda h: h) for l in range(model.n_layers)]):
        assert torch.equal(model.hf(**batch).logits, plain)


def test_a_patch_with_other_states_does_change_them():
    """The tests above would also pass if a patch did nothing."""
    model = tiny.shared()
    target = torch.full((model.d_model,), 0.5)
    space = random_subspace(3, model.d_model, torch.Generator().manual_seed(0))
    with zkit.edit(model, [edits.patch("resid_post", 2, target, space)]):
        got = zkit.token_states(model, PROMPTS, layers=[2])
    for now, before in zip(got, zkit.token_states(model, PROMPTS, layers=[2]), strict=True):
        now, before = now[1:, 0], before[1:, 0]
        assert torch.allclose(space.project(now), space.project(target).expand_as(now), atol=1e-5)
        assert torch.allclose(space.reject(now), space.reject(before), atol=1e-5)


def generated_logits(model, batch):
    with declared(model, batch):
        out = model.hf.generate(
            **batch, max_new_tokens=4, do_sample=False, output_logits=True, return_dict_in_generate=True
        )
    return out.sequences, torch.stack(out.logits)


def test_an_empty_arm_rides_along_bit_for_bit():
    """Beside other arms in the same batch, the rows of the empty arm are those of the model as it is."""
    model = tiny.shared()
    one = model.tokenize(PROMPTS)
    batch = {name: x.repeat(3, 1) for name, x in one.items()}
    plain_tokens, plain_logits = generated_logits(model, batch)
    v = vector(model)
    arms = [
        edits.add("resid_post", 1, v.vectors[1], rows=slice(0, 3)),
        edits.add("mlp_out", 2, 5 * v.vectors[1], positions.parse("generated"), rows=slice(6, 9)),
    ]
    with zkit.edit(model, arms):
        tokens, logits = generated_logits(model, batch)
    assert torch.equal(tokens[3:6], plain_tokens[3:6])
    assert torch.equal(logits[:, 3:6], plain_logits[:, 3:6])
    assert not torch.equal(logits[:, :3], plain_logits[:, :3])
    assert not torch.equal(logits[:, 6:], plain_logits[:, 6:])
    assert torch.equal(logits[0, 6:], plain_logits[0, 6:])  # nothing generated yet
    with zkit.edit(model, []):
        assert all(map(torch.equal, generated_logits(model, batch), (plain_tokens, plain_logits)))
    empty, zero = generation.complete(model, PROMPTS, [[], zkit.steering.edits(model, v, 0)], max_new_tokens=4)
    assert empty == zero


# Whatever happens inside a block, the model leaves it as it was.


class Boom(Exception):
    pass


def everything(model, fail_at=None, error=Boom):
    """Edits at every site and layer, two at some; the one numbered ``fail_at`` raises when it runs."""

    def change(i):
        def fn(h):
            if i == fail_at:
                raise error(f"edit {i}")
            return h * 1.01

        return fn

    places = [(site, layer) for layer in range(model.n_layers) for site in SITES]
    return [Edit(site, layer, change(i)) for i, (site, layer) in enumerate([*places, *places[:5]])]


COUNT = len(SITES) * 4 + 5


def use(model, how):
    if how == "forward":
        return model.hf(**model.tokenize(PROMPTS))
    if how == "generate":
        return model.generate(PROMPTS, max_new_tokens=2)
    return zkit.record(model, PROMPTS)


@pytest.mark.parametrize("how", ["forward", "generate", "record"])
def test_normal_exit(how):
    model = tiny.model()
    before, plain = reference.snapshot(model), model.hf(**model.tokenize(PROMPTS)).logits
    with zkit.edit(model, everything(model)):
        assert reference.hook_tables(model) != before[0]
        assert not torch.equal(model.hf(**model.tokenize(PROMPTS)).logits, plain)
        use(model, how)
    reference.assert_untouched(model, before)
    assert torch.equal(model.hf(**model.tokenize(PROMPTS)).logits, plain)


@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exception_in_the_block(error):
    model = tiny.model()
    before = reference.snapshot(model)
    with pytest.raises(error), zkit.edit(model, everything(model)), zkit.steer(model, vector(model)):
        model.generate(["x"], max_new_tokens=1)
        raise error
    reference.assert_untouched(model, before)


@pytest.mark.parametrize("how", ["forward", "generate", "record"])
@pytest.mark.parametrize("error", [Boom, KeyboardInterrupt])
def test_a_failure_inside_every_edit(how, error):
    model = tiny.model()
    before, plain = reference.snapshot(model), model.hf(**model.tokenize(PROMPTS)).logits
    for i in range(COUNT):
        with pytest.raises(error, match=f"^edit {i}$"), zkit.edit(model, everything(model, i, error)):
            use(model, how)
        reference.assert_untouched(model, before)
    assert torch.equal(model.hf(**model.tokenize(PROMPTS)).logits, plain)


@pytest.mark.parametrize(
    ("site", "layer"), [("resid_post", 4), ("resid_post", -1), ("layer", 0), ("resid_post", True), ("resid_post", "1")]
)
@pytest.mark.parametrize("place", [0, 3, COUNT])
def test_a_bad_place_among_good_ones_registers_nothing(site, layer, place):
    model = tiny.model()
    before = reference.snapshot(model)
    bad = everything(model)
    bad.insert(place, Edit(site, layer, lambda h: h))
    with pytest.raises(zkit.ZkitError), zkit.edit(model, bad):
        pytest.fail("the block must not run")
    reference.assert_untouched(model, before)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_registration_that_fails_half_way(monkeypatch, error):
    model = tiny.model()
    before, calls = reference.snapshot(model), [0, None]

    def failing(register):
        def wrapped(self, *args, **kwargs):
            calls[0] += 1
            if calls[0] == calls[1]:
                raise error("no more hooks")
            return register(self, *args, **kwargs)

        return wrapped

    for name in ("register_forward_hook", "register_forward_pre_hook"):
        monkeypatch.setattr(nn.Module, name, failing(getattr(nn.Module, name)))
    with zkit.edit(model, everything(model)):
        total = calls[0]
    assert total == len(SITES) * 4 + 4  # start and end of a pass, of the model and of its decoder
    for n in range(1, total + 1):
        calls[:] = 0, n
        with pytest.raises(error, match="no more"), zkit.edit(model, everything(model)):
            pytest.fail("the block must not run")
        reference.assert_untouched(model, before)
    for n in range(1, 6):  # four layers and the tracker of a recording
        calls[:] = 0, n
        with pytest.raises(error, match="no more"):
            zkit.record(model, PROMPTS)
        reference.assert_untouched(model, before)


def test_nan_logits_and_bad_shapes_leave_nothing_behind():
    model = tiny.model()
    before = reference.snapshot(model)
    for fn in (lambda h: h * torch.nan, lambda h: h + torch.inf, lambda h: h[..., :3], lambda h: h[:1]):
        for call in (
            model.generate,
            lambda p: zkit.record(model, p),
            lambda p: generation.log_probs(model, p, ["a"] * 3),
        ):
            with pytest.raises(zkit.ZkitError), zkit.edit(model, [Edit("resid_post", 2, fn)]):
                call(PROMPTS)
            reference.assert_untouched(model, before)


@pytest.mark.parametrize("rows", [slice(0, 4), slice(3, 5), slice(2, 2), slice(-1, 2), slice(0, 3, 2), slice(3, None)])
def test_rows_outside_the_batch_are_refused(rows):
    model = tiny.model()
    before = reference.snapshot(model)
    with pytest.raises(zkit.ZkitError, match="rows"), zkit.edit(model, [Edit("resid_post", 0, lambda h: h, rows=rows)]):
        model.hf(**model.tokenize(PROMPTS))
    reference.assert_untouched(model, before)


def test_rows_may_leave_out_an_end():
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    found = []
    for rows in (slice(None), slice(0, 3), slice(None, 3), slice(0, None), None):
        with zkit.edit(model, [edits.add("resid_post", 0, vector(model).vectors[1], rows=rows)]):
            found.append(model.hf(**batch).logits)
    assert all(torch.equal(logits, found[0]) for logits in found)


def test_a_users_own_hooks_survive():
    model, seen = tiny.model(), []
    handle = model.layers[1].register_forward_hook(lambda m, args, out: seen.append(out))
    before = reference.snapshot(model)
    with zkit.edit(model, everything(model)):
        model.hf(**model.tokenize(PROMPTS))
    reference.assert_untouched(model, before)
    model.hf(**model.tokenize(PROMPTS))
    assert len(seen) == 2
    handle.remove()


def test_a_block_does_not_change_what_it_was_given():
    """Edits of some rows write into a tensor of their own, never into the states that a layer returned."""
    model, kept = tiny.model(), []
    handle = model.layers[1].register_forward_hook(lambda m, args, out: kept.append((out, out.clone())))
    half = edits.add("resid_post", 1, vector(model).vectors[1], rows=slice(0, 1))
    with handle, torch.no_grad(), zkit.edit(model, [half, Edit("resid_post", 1, lambda h: h, rows=slice(1, 3)), half]):
        model.hf(**model.tokenize(PROMPTS))
    assert all(torch.equal(now, then) for now, then in kept)
