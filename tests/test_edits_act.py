"""Edits act, or somebody is told: hooks gone by, positions without a token, no `with`, other threads and tasks."""

import asyncio
import gc
import threading
import warnings

import pytest
import reference
import tiny
import torch

import zkit
from zkit.edits import Edit, add, patch
from zkit.gating import Gates, initial_logits
from zkit.hooks import Hooks
from zkit.positions import parse, prompt_width, span
from zkit.sites import SITES
from zkit.steering import SteeringVector
from zkit.subspaces import random_subspace

PROMPTS = ["Hi", "Why are there tides"]


def push(model, layer=1, where="all"):
    return add("resid_post", layer, reference.random_vector(model, 0, 6.0), parse(where))


def logits(model):
    with torch.no_grad():
        return model.hf(**model.tokenize(PROMPTS)).logits


def edited(model):
    with zkit.edit(model, [push(model)]):
        return logits(model)


# Hooks that are not called.


@pytest.mark.parametrize("what", ["wrapped", "forward", "in place", "layer"])
def test_a_compiled_model_is_edited_as_any_other(what):
    """Compiled before the block its code has no hooks in it; and the block leaves it compiled, and unedited."""
    model = tiny.model(num_hidden_layers=2)
    batch, plain, want = model.tokenize(PROMPTS), logits(model), edited(model)
    call = model.hf
    if what == "wrapped":
        call = torch.compile(model.hf, backend="eager")
    elif what == "forward":
        model.hf.forward = torch.compile(model.hf.forward, backend="eager")
    elif what == "in place":
        model.hf.compile(backend="eager")
    else:
        model.layers[1].compile(backend="eager")
    with torch.no_grad():
        assert torch.allclose(call(**batch).logits, plain, atol=1e-5)
        with zkit.edit(model, [push(model)]):
            assert torch.allclose(call(**batch).logits, want, atol=1e-5)
        assert torch.allclose(call(**batch).logits, plain, atol=1e-5)
    assert torch.allclose(
        zkit.record(model, PROMPTS, layers=[1]),
        zkit.record(tiny.model(num_hidden_layers=2), PROMPTS, layers=[1]),
        atol=1e-5,
    )


def test_what_was_compiled_stays_plain_until_the_last_block_closes():
    runs = []

    def backend(graph, inputs):
        runs.append(graph)
        return graph.forward

    double = torch.compile(lambda x: x * 2, backend=backend)
    one, two = Hooks(), Hooks()
    with one:
        one.before(tiny.shared().hf, lambda *_: None)
        two.__enter__().before(tiny.shared().hf, lambda *_: None)
    double(torch.ones(2))
    assert not runs
    two.__exit__(None, None, None)
    double(torch.ones(2))
    assert len(runs) == 1


def test_a_layer_whose_hooks_are_gone_by_is_named():
    model = tiny.model()
    own = model.layers[2]
    skipped = tiny.model().layers[2]
    model.decoder.layers[2] = skipped
    words = "edits at resid_post of layer 2 were not applied in a forward pass of 'tiny-qwen3'"
    with pytest.raises(zkit.ZkitError, match=words), zkit.edit(model, [push(model, 1), push(model, 2)]):
        model.decoder.layers[2] = own
        logits(model)
    with zkit.edit(model, [push(model, 1), push(model, 2)]):
        logits(model)


def test_a_decoder_that_is_not_called_as_a_module_is_told():
    model = tiny.model()
    kept, before = model.hf(**model.tokenize(PROMPTS)), reference.hook_tables(model)
    own = model.hf.forward

    def straight(input_ids, attention_mask):
        return model.hf.lm_head(model.decoder.forward(input_ids, attention_mask).last_hidden_state)

    for forward, words in ((lambda **_: kept, "went by the hooks of its decoder"), (straight, "not single layers")):
        model.hf.forward = forward
        with pytest.raises(zkit.ZkitError, match=words), zkit.edit(model, [push(model)]):
            logits(model)
        assert reference.hook_tables(model) == before
    model.hf.forward = own
    assert not torch.equal(edited(model), kept.logits)


def test_a_pass_that_is_stopped_says_nothing_about_the_layers_behind():
    model = tiny.shared()
    plain = zkit.record(model, PROMPTS, layers=[0])
    with zkit.edit(model, [push(model, 3)]):
        assert torch.equal(zkit.record(model, PROMPTS, layers=[0]), plain)
    with zkit.edit(model, [push(model, 3)]):
        pass  # no forward pass at all
    with pytest.raises(KeyError), zkit.edit(model, [push(model, 3)]):
        raise KeyError


def test_positions_that_chose_nothing_are_told_once_the_block_ends():
    model = tiny.shared()
    far, batch = add("resid_post", 1, torch.ones(32), span(500, 510)), model.tokenize(PROMPTS)
    words = r"start=500.* chose no token in any forward pass"
    with pytest.warns(UserWarning, match=words), zkit.edit(model, [far, push(model)]):
        logits(model)
        zkit.record(model, PROMPTS, layers=[1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with zkit.edit(model, [push(model, where="generated")]), prompt_width(model.decoder, 99):
            model.hf(**batch)  # prompts only: none was generated
        with zkit.edit(model, [add("resid_post", 1, torch.ones(32), span(30, 500))]):
            model.hf(**batch)  # of one row only
        with pytest.raises(KeyError), zkit.edit(model, [far]):
            logits(model)
            raise KeyError


def test_states_that_are_not_those_of_a_pass_are_refused():
    model = tiny.shared()
    one = Edit("mlp_out", 1, lambda h: h)
    with zkit.edit(model, [one]), pytest.raises(zkit.ZkitError, match=r"edits take \[rows, tokens, width\]"):
        model.layers[1].mlp(torch.zeros(1, 3, 32))


# A forgotten `with`.


@pytest.mark.parametrize("make", ["edit", "steer", "gate"])
def test_a_block_that_is_never_entered_is_told(make):
    model = tiny.shared()
    calls = {
        "edit": lambda: zkit.edit(model, [push(model)]),
        "steer": lambda: zkit.steer(model, SteeringVector({1: torch.ones(32)}), 2.0),
        "gate": lambda: zkit.gate(model, Gates(initial_logits(4, 48, 1.0, 0), {}), "mean"),
    }
    with pytest.warns(RuntimeWarning, match="nothing was edited: .*put it in a `with` statement"):
        calls[make]()
        gc.collect()
    block = calls[make]()
    assert "not in force" in repr(block)
    for _ in range(2):  # one block serves again
        with block:
            assert "in force on" in repr(block) or repr(block).endswith("in force>")
            with pytest.raises(zkit.ZkitError, match="in force already"):
                block.__enter__()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del block
        gc.collect()


def test_what_is_no_list_of_edits_is_refused_at_once():
    model = tiny.shared()
    for bad in (push(model), [SteeringVector({1: torch.ones(32)})], ["layer"]):
        with pytest.raises(zkit.ZkitError, match="edit takes a list of Edits"):
            zkit.edit(model, bad)


# Threads and tasks.


def in_thread(call):
    """What ``call`` returns or raises in another thread."""
    found = []

    def run():
        try:
            found.append(call())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_another_thread_can_neither_run_nor_edit_nor_record_an_edited_model():
    model = tiny.shared()
    plain, want, batch = logits(model), edited(model), model.tokenize(PROMPTS)
    calls = {
        "forward": lambda: model.hf(**batch),
        "generate": lambda: model.generate(PROMPTS, 1),
        "record": lambda: zkit.record(model, PROMPTS),
        "edit": lambda: zkit.edit(model, [push(model, 2)]).__enter__(),
    }
    with zkit.edit(model, [push(model)]):
        for name, call in calls.items():
            error = in_thread(call)
            assert isinstance(error, zkit.ZkitError) and "thread or task" in str(error), (name, error)
        with zkit.edit(model, [push(model, 2)]):  # the same thread may
            assert not torch.equal(logits(model), want)
        assert torch.equal(logits(model), want)
    assert torch.equal(in_thread(lambda: logits(model)), plain)
    other = tiny.shared(seed=1)
    with zkit.edit(model, [push(model)]):
        assert torch.equal(in_thread(lambda: edited(other)), edited(other))  # another model is free


def test_another_task_can_neither_run_nor_edit_it():
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)

    async def owner(opened, finished):
        with zkit.edit(model, [push(model)]):
            opened.set()
            await finished.wait()
            return logits(model)

    async def main():
        opened, finished = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(owner(opened, finished))
        await opened.wait()
        with pytest.raises(zkit.ZkitError, match="thread or task"):
            model.hf(**batch)
        with pytest.raises(zkit.ZkitError, match="thread or task"):
            zkit.edit(model, [push(model, 2)]).__enter__()
        with zkit.edit(tiny.shared(seed=1), [push(model)]):
            pass
        finished.set()
        return await first

    # In a thread of its own, whatever runs in this one: a browser opened by another test leaves an event loop here.
    assert torch.equal(in_thread(lambda: asyncio.run(main())), edited(model))
    assert torch.equal(logits(model), logits(model))


def test_a_width_declared_in_another_thread_is_not_ours():
    model = tiny.shared()
    batch, declared, done = model.tokenize(PROMPTS), threading.Event(), threading.Event()

    def other():
        with prompt_width(model.decoder, batch["input_ids"].shape[1]):
            declared.set()
            done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    declared.wait()
    with zkit.edit(model, [push(model, where="last")]), pytest.raises(zkit.ZkitError, match="where the prompt ends"):
        model.hf(**batch)
    done.set()
    thread.join()


# One tensor per prompt.


def last_logits(model, prompts):
    """Of one batch as it is: recording and generation lay out batches of their own."""
    batch = model.tokenize(prompts)
    with torch.no_grad(), prompt_width(model.decoder, batch["input_ids"].shape[1]):
        return model.hf(**batch, use_cache=False).logits[:, -1]


def test_a_source_for_each_prompt_follows_its_prompt():
    model = tiny.shared()
    prompts = ["Hi", "Why are there tides", "Explain a mutex"]
    source = zkit.record(model, ["one", "two words", "three"], "last", layers=[1])[:, 0]
    for make in (add, patch):
        whole = make("resid_post", 1, source, positions=parse("last"))
        assert whole.n_prompts == 3 and make("resid_post", 1, source[0]).n_prompts is None
        for index in ([2, 0], [1], [0, 1, 2], [2, 2, 1]):
            some, part = [prompts[i] for i in index], whole.for_prompts(torch.tensor(index))
            with zkit.edit(model, [part]):
                found = last_logits(model, some)
            for i, row in zip(index, found, strict=True):
                with zkit.edit(model, [make("resid_post", 1, source[i], positions=parse("last"))]):
                    assert torch.allclose(last_logits(model, [prompts[i]])[0], row, atol=1e-4)
        one = make("resid_post", 1, source[0])
        assert one.for_prompts(torch.tensor([0])) is one
        with (
            zkit.edit(model, [whole]),
            pytest.raises(zkit.ZkitError, match=r"a tensor per prompt .* does not fit the 2 rows"),
        ):
            last_logits(model, prompts[:2])


def test_a_stretched_patch_changes_each_token_as_much_as_its_model_would():
    model, made = tiny.shared(), torch.Generator().manual_seed(0)
    space, like = (random_subspace(k, model.d_model, made) for k in (3, 9))
    source = torch.randn(model.d_model, generator=made)

    def change(edits):
        with zkit.edit(model, edits):
            return zkit.record(model, PROMPTS, "last", layers=[1])[:, 0]

    plain = zkit.record(model, PROMPTS, "last", layers=[1])[:, 0]
    mine = change([patch("resid_post", 1, source, space, like=like)]) - plain
    theirs = change([patch("resid_post", 1, source, like)]) - plain
    assert torch.allclose(mine.norm(dim=-1), theirs.norm(dim=-1), rtol=1e-4)
    assert torch.allclose(space.project(mine), mine, atol=1e-4)
    itself = change([patch("resid_post", 1, source, space, like=space)])
    assert torch.equal(itself, change([patch("resid_post", 1, source, space)]))


def test_an_fn_of_ones_own_takes_its_tensors():
    model = tiny.shared()
    scale = torch.tensor([1.0, 3.0])
    own = Edit(
        "mlp_out", 2, lambda h, s: h * s[:, None, None], per_prompt=scale, positions=parse("all", first_token=True)
    )
    with zkit.edit(model, [own]):
        found = last_logits(model, PROMPTS)
    for i, factor in enumerate(scale.tolist()):
        same = Edit("mlp_out", 2, lambda h, factor=factor: h * factor, positions=parse("all", first_token=True))
        with zkit.edit(model, [same]):
            assert torch.allclose(last_logits(model, PROMPTS)[i], found[i], atol=1e-5)
    assert own.n_prompts == 2


# What an fn of one's own may do.


@pytest.mark.parametrize("rows", [None, slice(0, 1), slice(0, 2)])
@pytest.mark.parametrize("where", [span(2, 4), parse("all"), parse("all", first_token=True)])
@pytest.mark.parametrize("site", SITES)
def test_an_fn_that_writes_into_its_states_is_one_that_does_not(site, where, rows):
    """It changes the chosen positions and no other, and nothing of what the module gave or took."""
    model = tiny.shared()
    found = []
    for fn in (lambda h: h * 3, lambda h: h.mul_(3), lambda h: h.data.mul_(3)):
        for inference in (False, True):
            with torch.inference_mode(inference), zkit.edit(model, [Edit(site, 1, fn, where, rows)]):
                found.append(logits(model))
    assert all(torch.equal(one, found[0]) for one in found)
    assert not torch.equal(found[0], logits(model))


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda h: None, "turned states into NoneType; its fn must return the states"),
        (lambda h: (h, None), "turned states into tuple"),
        (lambda h: h.tolist(), "turned states into list"),
        (lambda h: h[:, :1], r"turned states of shape .* into \(2, 1, 32\)"),
        (
            lambda h: h.double(),
            "turned states of torch.float32 on cpu into torch.float64 on cpu; its fn must keep both",
        ),
        (lambda h: h.to(torch.bfloat16), "into torch.bfloat16 on cpu"),
        (lambda h: h.long(), "into torch.int64 on cpu"),
        (lambda h: h.to("meta"), "into torch.float32 on meta"),
        (lambda h: h / 0, "made NaN or infinity of finite states, at"),
        (lambda h: (h - h) / (h - h), "made NaN or infinity"),
        (lambda h: h.mul_(torch.nan), "made NaN or infinity"),
    ],
)
def test_an_fn_that_gives_no_states_is_refused(fn, message):
    model = tiny.shared()
    plain = logits(model)
    for rows in (None, slice(0, 2)):
        with pytest.raises(zkit.ZkitError, match=f"the edit at resid_post of layer 1 .*{message}"):  # noqa: SIM117
            with zkit.edit(model, [Edit("resid_post", 1, fn, rows=rows)]):
                logits(model)
        assert torch.equal(logits(model), plain)


def test_what_an_fn_breaks_outside_its_positions_is_not_kept():
    model = tiny.shared()

    def fn(h):
        h[:, 0] = torch.nan  # padding in one row, the first token in the other
        return h

    with zkit.edit(model, [Edit("resid_post", 1, fn)]):
        assert torch.equal(logits(model), logits(model))
        assert bool(logits(model).isfinite().all())
