"""Recording: one pass, stopped early, against hooks written by hand; positions, pools, dtypes, bad states."""

from functools import cache

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.models import SITES
from zkit.tokens import MASSIVE

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides", "b"]
TOLERANCE = 1e-5


def row_states(model, ids, site="resid_post"):
    """[n_tokens, n_layers, width] of one unpadded row, by hooks of the test's own."""
    seen, handles = {}, []
    for l, block in enumerate(model.hf.model.layers):
        inputs = {"mlp_act": block.mlp.down_proj, "attn_heads": block.self_attn.o_proj, "resid_pre": block}
        if site in inputs:
            handles.append(
                inputs[site].register_forward_pre_hook(
                    lambda m, args, kw, l=l: seen.__setitem__(l, (*args, kw.get("hidden_states"))[0][0]),
                    with_kwargs=True,
                )
            )
        else:
            module = {"resid_post": block, "attn_out": block.self_attn, "mlp_out": block.mlp}[site]
            handles.append(
                module.register_forward_hook(
                    lambda m, args, out, l=l: seen.__setitem__(l, (out[0] if isinstance(out, tuple) else out)[0])
                )
            )
    with torch.no_grad():
        model.hf(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return torch.stack([seen[l].float() for l in range(model.n_layers)], 1)


def close(a, b, tolerance=TOLERANCE):
    return a.shape == b.shape and torch.allclose(a, b, atol=tolerance, rtol=1e-4)


@pytest.mark.parametrize("family", tiny.CONFIGS)
@pytest.mark.parametrize("site", SITES)
def test_every_site_of_every_family_against_hooks_by_hand(family, site):
    model = tiny.shared(family)
    want = [row_states(model, ids, site) for ids in reference.rows(model, PROMPTS)]
    assert want[0].shape[-1] == model.width(site) == (48 if site == "mlp_act" else 32)
    assert all(map(close, zkit.token_states(model, PROMPTS, site=site), want))
    shared = {"site": site, "positions": "all", "massive": True}
    assert close(zkit.record(model, PROMPTS, **shared), torch.stack([w[1:].mean(0) for w in want]))
    assert close(zkit.record(model, PROMPTS, "last", site=site), torch.stack([w[-1] for w in want]))
    assert close(zkit.record(model, PROMPTS, first_token=True, **shared), torch.stack([w.mean(0) for w in want]))


selections = st.builds(
    reference.selector,
    st.sampled_from(["all", "prompt", "last", "span"]), st.integers(1, 12), st.integers(13, 20), st.booleans(),
)  # fmt: skip


@few
@given(
    st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5),
    selections,
    st.sampled_from(["mean", "last"]),
    st.lists(st.integers(0, 3), min_size=1, max_size=5),
    st.integers(1, 6),
)
def test_positions_pools_layers_and_batches(prompts, where, pool, layers, batch_size):
    """Any layers in any order and number, any batch size: the same rows."""
    model = tiny.shared()
    options = {"positions": where.chosen, "massive": True, "layers": layers, "batch_size": batch_size}
    got = zkit.record(model, prompts, pool, **options)
    want = []
    for ids in reference.rows(model, prompts):
        states = row_states(model, ids)[sorted(where.places(len(ids), len(ids)))][:, layers]
        want.append(states.mean(0) if pool == "mean" else states[-1])
    assert got.dtype == torch.float32
    assert close(got, torch.stack(want))


@few
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=9), st.integers(1, 4))
def test_the_running_mean_is_the_mean(prompts, batch_size):
    model = tiny.shared()
    for pool in ("mean", "last"):
        want = zkit.record(model, prompts, pool, layers=[2, 0], site="mlp_out").mean(0)
        stream = (prompt for prompt in prompts)
        assert close(zkit.mean_state(model, stream, pool, batch_size=batch_size, layers=[2, 0], site="mlp_out"), want)


def count_passes(model):
    calls = [0] * model.n_layers
    for l, block in enumerate(model.layers):
        block.register_forward_hook(lambda m, args, out, l=l: calls.__setitem__(l, calls[l] + 1))
    return calls


@pytest.mark.parametrize("site", SITES)
def test_one_pass_that_stops_early(site):
    model = tiny.model()
    calls, head = count_passes(model), []
    model.hf.lm_head.register_forward_hook(lambda *_: head.append(1))
    zkit.record(model, PROMPTS, site=site)
    assert calls == [1, 1, 1, 1 if site == "resid_post" else 0]  # inside the last layer, stopped before its end
    zkit.record(model, PROMPTS, site=site, layers=[1, 0, 1])
    assert calls[:2] == [2, 2 if site == "resid_post" else 1]
    assert calls[2] == 1
    zkit.record(model, PROMPTS, layers=[3], batch_size=2)
    assert calls[0] == 4
    assert not head


def test_edits_in_force_are_recorded():
    model = tiny.shared()
    delta = reference.random_vector(model, 0)
    plain = zkit.record(model, PROMPTS, massive=True)
    with zkit.steer(model, zkit.steering.SteeringVector({1: delta})):
        steered = zkit.record(model, PROMPTS, massive=True)
    assert torch.equal(steered[:, 0], plain[:, 0])
    assert close(steered[:, 1], plain[:, 1] + delta)
    assert not close(steered[:, 2], plain[:, 2] + delta, 1e-2)


@pytest.mark.parametrize("where", ["prompt", "last"])
def test_prompt_relative_edits_in_force_know_the_prompt(where):
    model = tiny.shared()
    delta = reference.random_vector(model, 0)
    plain = zkit.token_states(model, PROMPTS)
    with zkit.steer(model, zkit.steering.SteeringVector({3: delta}), positions=where):
        steered = zkit.token_states(model, PROMPTS)
    for before, now in zip(plain, steered, strict=True):
        first = 1 if where == "prompt" else len(before) - 1
        assert torch.equal(now[:first], before[:first])
        assert close(now[first:, 3], before[first:, 3] + delta)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_runs_and_is_near(dtype):
    exact = zkit.record(tiny.shared(), PROMPTS)
    half = zkit.record(tiny.model(dtype=getattr(torch, dtype)), PROMPTS)
    assert half.dtype == torch.float32
    assert ((half - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 0.03


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_states_that_are_not_finite_are_refused_by_layer(site, bad):
    model = tiny.model()
    model.layers[2].mlp.up_proj.weight[:] = bad
    layer = 2 if site in ("resid_post", "mlp_out", "mlp_act") else 3  # the others come before the MLP
    with pytest.raises(zkit.ZkitError, match=f"layer {layer} are not finite"):
        zkit.record(model, PROMPTS, site=site)
    with pytest.raises(zkit.ZkitError, match=f"layer {layer} are not finite"):
        zkit.token_states(model, PROMPTS, site=site)
    assert zkit.record(model, PROMPTS, layers=[0, 1]).isfinite().all()


def test_whatever_padding_holds_stays_out():
    model = tiny.model()
    model.hf.get_input_embeddings().weight[model.tokenizer.pad_token_id] = 1e4
    assert close(zkit.record(model, PROMPTS), zkit.record(tiny.shared(), PROMPTS))


ANSWERS = ["a lock", "!", "because of the moon, mostly", "xyz"]


def answered_states(model, prompts, answers):
    """Each row by itself: states of the prompt's tokens and of its answer's."""
    for ids, answer in zip(reference.rows(model, prompts), answers, strict=True):
        tail = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
        states = row_states(model, ids + tail)
        yield states[: len(ids)], states[len(ids) :]


@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_states_of_answers_are_those_of_rows_by_themselves(family, batch_size):
    model = tiny.shared(family)
    rows = list(answered_states(model, PROMPTS, ANSWERS))
    shared = {"answers": ANSWERS, "batch_size": batch_size, "massive": True}
    found = zkit.record(model, PROMPTS, positions="generated", **shared)
    assert close(found, torch.stack([tail.mean(0) for _, tail in rows]))
    last = zkit.record(model, PROMPTS, "last", positions="generated", site="mlp_out", layers=[2], **shared)
    assert close(
        last,
        torch.stack([row_states(model, ids, "mlp_out")[-1, [2]] for ids in answered_rows(model, PROMPTS, ANSWERS)]),
    )
    alone = zkit.record(model, PROMPTS, positions="all", massive=True)
    assert close(zkit.record(model, PROMPTS, positions="prompt", **shared), alone)
    assert close(zkit.record(model, PROMPTS, "last", positions="last", **shared), zkit.record(model, PROMPTS, "last"))
    whole = torch.stack([torch.cat(parts)[1:].mean(0) for parts in rows])
    assert close(zkit.record(model, PROMPTS, positions="all", **shared), whole)
    own = [torch.cat((states[message_of(p)], tail)) for p, (states, tail) in zip(PROMPTS, rows, strict=True)]
    assert close(
        zkit.record(model, PROMPTS, **shared), torch.stack([x.mean(0) for x in own])
    )  # an answer is no template


def message_of(prompt):
    """The places of a message's tokens, one a byte, after <|im_start|>user and a newline."""
    return slice(6, 6 + len(prompt.encode()))


@cache
def with_huge_x():
    """A model in which every x of a text carries a state tens of times as long as the others."""
    model = tiny.model("qwen2")
    [x] = model.tokenizer("x")["input_ids"]
    model.hf.get_input_embeddings().weight[x] *= 100
    return model


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_by_default_the_mean_is_over_usual_tokens_of_the_message(site, batch_size):
    model, prompts = with_huge_x(), [*PROMPTS, "<|im_start|>user\nuser", "\n", "é ü", "axb xx", "ax"]
    want, massive = [], 0
    for prompt, ids in zip(prompts, reference.rows(model, prompts), strict=True):
        states = row_states(model, ids, site)
        norms = states.norm(dim=-1)
        usual = norms <= MASSIVE * norms.median(0).values
        where = slice(6, 6 + len(model.tokenizer(prompt)["input_ids"]))
        massive += int((~usual[where]).sum())
        kept = usual[where, :, None]
        want.append((states[where] * kept).sum(0) / kept.sum(0))
    assert massive > 0 or site != "resid_post"
    assert close(zkit.record(model, prompts, site=site, batch_size=batch_size), torch.stack(want))


def answered_rows(model, prompts, answers):
    tails = [model.tokenizer(answer, add_special_tokens=False)["input_ids"] for answer in answers]
    return [ids + tail for ids, tail in zip(reference.rows(model, prompts), tails, strict=True)]


@few
@given(st.data(), st.integers(1, 4))
def test_any_prompts_with_any_answers(data, batch_size):
    model, texts = tiny.shared(), st.text(min_size=1, max_size=15)
    pairs = data.draw(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
    prompts, answers = map(list, zip(*pairs, strict=True))
    shared = {"positions": "generated", "massive": True}
    found = zkit.record(model, prompts, answers=answers, batch_size=batch_size, **shared)
    assert close(found, torch.stack([tail.mean(0) for _, tail in answered_states(model, prompts, answers)]), 1e-4)


@pytest.mark.parametrize("where", ["prompt", "generated", "last"])
def test_edits_in_force_know_where_the_answers_begin(where):
    model, delta = tiny.shared(), reference.random_vector(tiny.shared(), 0)
    shared = {"positions": "generated", "massive": True, "answers": ANSWERS, "layers": [3]}
    plain = zkit.record(model, PROMPTS, **shared)
    with zkit.steer(model, zkit.steering.SteeringVector({3: delta}), positions=where):
        steered = zkit.record(model, PROMPTS, **shared)
    assert close(steered, plain + (delta if where == "generated" else 0))


def test_answers_refused():
    model = tiny.shared()
    calls = {
        "4 prompts but 3 continuations": ANSWERS[:3],
        "continuation 1 has no tokens": ["a", "", "b", "c"],
        "4 prompts but 0 continuations": [],
    }
    for message, answers in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            zkit.record(model, PROMPTS, positions="generated", answers=answers)
    with pytest.raises(zkit.ZkitError, match="'inner' choose no token"):
        zkit.record(model, PROMPTS, positions=zkit.positions.inner(300, 300))


def test_bad_input():
    model = tiny.shared()
    calls = {
        "unknown pool 'max'": lambda: zkit.record(model, PROMPTS, "max"),
        "unknown site 'head'": lambda: zkit.record(model, PROMPTS, site="head"),
        "no layer 4": lambda: zkit.record(model, PROMPTS, layers=[0, 4]),
        "no layer -1": lambda: zkit.token_states(model, PROMPTS, layers=[-1]),
        "no layers asked": lambda: zkit.record(model, PROMPTS, layers=[]),
        "unknown positions": lambda: zkit.record(model, PROMPTS, positions="first"),
        "'generated' choose no token": lambda: zkit.record(model, PROMPTS, positions="generated"),
        "'span' choose no token": lambda: zkit.record(model, PROMPTS, positions=zkit.positions.span(400, 500)),
        "'content' choose no token": lambda: zkit.record(model, ["a"], chat=False),
        "'content' choose no token of a prompt that is not massive": lambda: zkit.record(model, [""]),
        "is empty": lambda: zkit.record(model, []),
        "list of prompts is empty": lambda: zkit.mean_state(model, iter([])),
        "must be a list, got the string": lambda: zkit.record(model, "Hi"),
        "must be a list, got the string 'Ho": lambda: zkit.mean_state(model, "Ho"),
        "batch_size is 0": lambda: zkit.record(model, PROMPTS, batch_size=0),
        "batch_size is -1": lambda: zkit.mean_state(model, PROMPTS, batch_size=-1),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()
    assert zkit.record(model, ["a"], chat=False, first_token=True).shape == (1, 4, 32)


def test_a_message_of_massive_tokens_alone_has_no_mean():
    with pytest.raises(zkit.ZkitError, match=r"'content' choose no token .* not massive at layer 0"):
        zkit.record(with_huge_x(), ["a", "xx"])
    assert zkit.record(with_huge_x(), ["a", "xx"], massive=True).shape == (2, 4, 32)


def test_one_layer_is_a_list_of_one():
    with pytest.raises(zkit.ZkitError, match=r"write layers=\[2\]"):
        zkit.record(tiny.model(), ["a prompt"], layers=2)
