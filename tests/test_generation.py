"""Generation: greedy and nothing else, where answers end, chunks of arms, teacher-forced scores."""

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import TOLERANCE, few
from tiny import END
from transformers import GenerationConfig

import zkit
from zkit import edits, generation
from zkit.generation import Completion, complete, log_probs, next_log_probs
from zkit.positions import parse, prompt_width
from zkit.subspaces import random_subspace

PROMPTS = ["Hi", "Explain what a mutex is.", "Why are there tides"]


def expected(model, prompts, n):
    """What greedy decoding with the reference gives."""
    found = []
    for ids in reference.rows(model, prompts):
        new = reference.greedy(model, ids, n)
        end = new.index(END) if END in new else n
        found.append(Completion(model.tokenizer.decode(new[:end], skip_special_tokens=True), end, end == n))
    return found


def talkative():
    """A tiny model that ends its answers now and then: where two of its frequent tokens are likely."""
    model = tiny.model()
    model.hf.lm_head.weight[END] = model.hf.lm_head.weight[71] + model.hf.lm_head.weight[30]
    return model


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_greedy_text_count_and_truncation(n):
    prompts = [f"question {i}" for i in range(8)]
    model = talkative()
    assert complete(model, prompts, max_new_tokens=n) == expected(model, prompts, n)
    assert model.generate(prompts, n) == [answer.text for answer in expected(model, prompts, n)]


def test_answers_end_in_different_places():
    """The test above means little unless some answers end early and some are cut."""
    answers = complete(talkative(), [f"question {i}" for i in range(40)], max_new_tokens=12)
    assert {answer.truncated for answer in answers} == {True, False}
    assert len({answer.n_tokens for answer in answers}) > 2


def force(model, after, token=END):
    """An edit after which the model says ``token`` for ever, from its ``after``-th generated token on."""
    seen = [0]

    def fn(h):
        seen[0] += 1
        return h if seen[0] <= after else torch.zeros_like(h)

    model.hf.lm_head.bias = torch.nn.Parameter(torch.zeros(272), requires_grad=False)
    model.hf.lm_head.bias[token] = 1e-3
    return [zkit.Edit("resid_post", model.n_layers - 1, fn, zkit.positions.parse("all", first_token=True))]


@pytest.mark.parametrize(("limit", "truncated", "count"), [(2, True, 2), (3, True, 3), (4, False, 3), (9, False, 3)])
def test_an_end_in_the_last_place_is_no_truncation(limit, truncated, count):
    model = tiny.model()
    [[answer]] = complete(model, ["Hi"], [force(model, 3)], max_new_tokens=limit)
    assert (answer.truncated, answer.n_tokens) == (truncated, count)


def test_several_ends_and_the_tokenizers_own():
    model = tiny.model()
    model.hf.generation_config.eos_token_id = [END, 65]
    [[answer]] = complete(model, ["Hi"], [force(model, 3, token=65)], max_new_tokens=6)
    assert (answer.truncated, answer.n_tokens) == (False, 3)
    model.hf.generation_config.eos_token_id = None
    [[answer]] = complete(model, ["Hi"], [force(model, 3)], max_new_tokens=6)
    assert (answer.truncated, answer.n_tokens) == (False, 3)


LEAKS = {
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "encoder_repetition_penalty": 3.0,
    "min_new_tokens": 12,
    "min_length": 100,
    "suppress_tokens": list(range(0, 200)),
    "begin_suppress_tokens": list(range(0, 250)),
    "bad_words_ids": [[i] for i in range(0, 200)],
    "sequence_bias": [[[i], 10.0] for i in range(0, 9)],
    "forced_eos_token_id": 7,
    "forced_bos_token_id": 7,
    "exponential_decay_length_penalty": (1, 5.0),
    "do_sample": True,
    "temperature": 50.0,
    "top_k": 3,
    "top_p": 0.1,
    "num_beams": 3,
    "num_return_sequences": 2,
    "return_dict_in_generate": True,
    "output_scores": True,
    "max_length": 3,
    "max_time": 1e-9,
    "stop_strings": ["a"],
    "guidance_scale": 3.0,
    "use_cache": False,
    "cache_implementation": "static",
    "prompt_lookup_num_tokens": 3,
    "penalty_alpha": 0.6,
    "remove_invalid_values": True,
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_models_own_settings_do_not_leak_in(name):
    model = talkative()
    want = complete(model, PROMPTS, max_new_tokens=8)
    own = model.hf.generation_config
    setattr(own, name, LEAKS[name])
    kept = own.to_dict()
    assert complete(model, PROMPTS, max_new_tokens=8) == want == expected(model, PROMPTS, 8)
    assert model.hf.generation_config is own
    assert own.to_dict() == kept


def test_own_settings_come_back_after_a_failure():
    model = tiny.model()
    own = model.hf.generation_config
    model.hf.lm_head.weight[7] = torch.nan
    with pytest.raises(zkit.ZkitError, match="logits are not finite"):
        complete(model, PROMPTS)
    assert model.hf.generation_config is own
    assert isinstance(own, GenerationConfig)


@few
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 30))
def test_chunks_of_arms_and_prompts(n_arms, n_prompts, batch_size):
    """However few rows fit, every arm answers every prompt in order; never more rows than allowed."""
    model, sizes = tiny.shared(), []
    prompts = [f"{'x' * i} question" for i in range(n_prompts)]
    arms = [[edits.add("resid_post", 2, reference.random_vector(model, i, 4 * i))] if i else [] for i in range(n_arms)]
    hook = model.decoder.register_forward_pre_hook(
        lambda m, a, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    with hook:
        answers = complete(model, prompts, arms, max_new_tokens=3, batch_size=batch_size)
    assert max(sizes) <= batch_size
    assert answers == [complete(model, prompts, [arm], max_new_tokens=3, batch_size=64)[0] for arm in arms]
    assert answers[0] == expected(model, prompts, 3)


def test_arms_share_one_batch():
    model, sizes = tiny.shared(), []
    arms = [[edits.add("resid_post", 1, i * reference.random_vector(model, i))] for i in range(8)]
    with model.decoder.register_forward_pre_hook(
        lambda m, a, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    ):
        complete(model, PROMPTS, arms, max_new_tokens=2, prefix=False)
    assert sizes[-1] == 24  # one decoding step for all arms and prompts
    assert sum(sizes[:-1]) == 24  # before it prompts of one length at a time, every arm among them


pairs = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=12)), min_size=1, max_size=4)


@few
@given(pairs, st.integers(1, 5))
def test_log_probs_by_hand(items, batch_size):
    model = tiny.shared()
    prompts, tails = zip(*items, strict=True)
    found = log_probs(model, prompts, tails, batch_size=batch_size)
    for ids, tail, scores in zip(reference.rows(model, prompts), tails, found, strict=True):
        tokens = model.tokenizer(tail)["input_ids"]
        all_logits = reference.logits(model, ids + tokens, len(ids)).double()
        want = [all_logits[len(ids) - 1 + i].log_softmax(0)[token] for i, token in enumerate(tokens)]
        assert torch.allclose(scores.double(), torch.stack(want), atol=TOLERANCE, rtol=0)
        assert bool((scores <= 0).all())


@pytest.mark.parametrize("batch_size", [1, 3])
def test_next_log_probs_by_hand(batch_size):
    model, tails = tiny.shared(), ["b", "abc", "de"]
    found = next_log_probs(model, PROMPTS, tails, batch_size=batch_size)
    for ids, tail, rows in zip(reference.rows(model, PROMPTS), tails, found, strict=True):
        tokens = model.tokenizer(tail)["input_ids"]
        want = reference.logits(model, ids + tokens, len(ids))[len(ids) - 1 :].double().log_softmax(-1)
        assert rows.shape == want.shape == (len(tokens) + 1, want.shape[-1])
        assert torch.allclose(rows.double(), want, atol=TOLERANCE, rtol=0)


def test_log_probs_of_plain_text_and_in_half_precision():
    model = tiny.shared("gemma")
    [scores] = log_probs(model, ["ab"], ["cd"], chat=False)
    ids = model.tokenizer("abcd")["input_ids"]
    want = reference.logits(model, ids, 2).log_softmax(-1)
    assert torch.allclose(scores, want[[1, 2], ids[2:]], atol=TOLERANCE)
    half = tiny.model("qwen3", dtype=torch.bfloat16)
    for a, b in zip(log_probs(half, PROMPTS, ["a"] * 3), log_probs(tiny.shared(), PROMPTS, ["a"] * 3), strict=True):
        assert a.dtype == torch.float32
        assert torch.allclose(a, b, atol=0.2)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_generates(dtype):
    model = tiny.model(dtype=getattr(torch, dtype))
    v = zkit.steering.SteeringVector({1: reference.random_vector(model, 1, 20.0)})
    plain = model.generate(PROMPTS, 6)
    with zkit.steer(model, v):
        assert model.generate(PROMPTS, 6) != plain
    assert model.generate(PROMPTS, 6) == plain


def test_bad_input():
    model = tiny.shared()
    rows = zkit.Edit("resid_post", 0, lambda h: h, rows=slice(0, 1))
    calls = {
        "list of prompts is empty": lambda: complete(model, []),
        "must be a list, got the string 'Hi'": lambda: model.generate("Hi"),
        "must be a list, got generator": lambda: model.generate(p for p in PROMPTS),
        "max_new_tokens is 0": lambda: model.generate(PROMPTS, 0),
        "batch_size is 0": lambda: complete(model, PROMPTS, batch_size=0),
        "batch_size is -2": lambda: log_probs(model, PROMPTS, ["a"] * 3, batch_size=-2),
        "list of arms is empty": lambda: complete(model, PROMPTS, []),
        "names rows": lambda: complete(model, PROMPTS, [[rows]]),
        "3 prompts but 2 continuations": lambda: log_probs(model, PROMPTS, ["a", "b"]),
        "continuation 1 has no tokens": lambda: log_probs(model, PROMPTS, ["a", "", "b"]),
        "continuation 2 has no tokens": lambda: log_probs(model, PROMPTS, ["a", "b", ""], batch_size=2),
        "prompt 1 has no tokens": lambda: model.generate(["a", ""], chat=False),
        "the vector added at resid_post of layer 1 is not finite": lambda: edits.add(
            "resid_post", 1, torch.tensor([1.0, torch.nan])
        ),
        "the source patched in at mlp_out of layer 2 is not finite": lambda: edits.patch(
            "mlp_out", 2, torch.tensor([torch.inf])
        ),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_nan_logits_say_so():
    model = tiny.model()
    model.layers[2].mlp.down_proj.weight[0, 0] = torch.nan
    for call in (lambda: model.generate(PROMPTS, 2), lambda: log_probs(model, PROMPTS, ["a"] * 3)):
        with pytest.raises(zkit.ZkitError, match=r"logits are not finite.*float32 or bfloat16"):
            call()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ((31,), "does not fit"),
        ((3, 31), "does not fit"),
        ((2, 32), "vectors for 2 prompts, and there are 3"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(shape, says):
    model = tiny.shared()
    for make in (edits.add, edits.patch):
        arm = [make("resid_post", 1, torch.ones(shape))]
        with pytest.raises(zkit.ZkitError, match=says):
            complete(model, PROMPTS, [arm], max_new_tokens=2)
        with pytest.raises(zkit.ZkitError, match=says):
            log_probs(model, PROMPTS, ["a"] * 3, [arm])


def test_a_source_per_token_follows_its_tokens_through_any_batch():
    """Sources counted from the first token: arms in padded batches with kept beginnings agree with one by one."""
    model = tiny.shared()
    sources = [rows[:, 0].flip(0) for rows in zkit.token_states(model, PROMPTS, layers=[1])]
    space = random_subspace(5, model.d_model, torch.Generator().manual_seed(0))
    arm = [edits.patch("resid_post", 1, sources, space, parse("prompt"))]
    together = next_log_probs(model, PROMPTS, None, [[], arm])
    for i, prompt in enumerate(PROMPTS):
        alone = [edits.patch("resid_post", 1, [sources[i]], space, parse("prompt"))]
        batch = model.tokenize([prompt])
        with zkit.edit(model, alone), prompt_width(model.decoder, batch["input_ids"].shape[1]):
            expected = model.hf(**batch).logits[0, -1].log_softmax(-1)
        assert torch.allclose(together[1][i][0], expected, atol=1e-4)
        assert not torch.allclose(together[0][i][0], expected, atol=1e-2)
    with pytest.raises(zkit.ZkitError, match="has no source for token"):
        complete(model, PROMPTS, [[edits.patch("resid_post", 1, sources, space, parse("all"))]], max_new_tokens=2)
    with pytest.raises(zkit.ZkitError, match="sources for every token are a list"):
        edits.patch("resid_post", 1, torch.ones(3, 5, 32))
    short = [rows[:-1] for rows in sources]
    with pytest.raises(zkit.ZkitError, match="has no source for token"):
        next_log_probs(model, PROMPTS, None, [[edits.patch("resid_post", 1, short, space, parse("prompt"))]])


def test_one_vector_per_row():
    model = tiny.shared()
    batch = model.tokenize(PROMPTS)
    per_row = torch.stack([reference.random_vector(model, i) for i in range(3)])
    with zkit.edit(model, [edits.add("resid_post", 1, per_row)]):
        together = model.hf(**batch).logits
    for i in range(3):
        with zkit.edit(model, [edits.add("resid_post", 1, per_row[i])]):
            assert torch.allclose(model.hf(**batch).logits[i], together[i], atol=TOLERANCE)


def test_generation_module_is_what_model_generate_uses():
    assert generation.complete(tiny.shared(), PROMPTS, max_new_tokens=3) == expected(tiny.shared(), PROMPTS, 3)


def test_the_output_matrix_multiplies_the_wanted_states_alone():
    """Not those of padding and of tokens that nobody asks about; and as one matrix: given a batch of rows with gaps,
    a head on a CPU copies its weights for every row."""
    model, seen = tiny.model(), []
    handle = model.hf.lm_head.register_forward_hook(lambda _, args, out: seen.append(args[0].shape[:2]))
    prompts, tails = ["one prompt", "another, longer prompt"], ["yes, please", "no"]
    n = [len(model.tokenizer(tail, add_special_tokens=False).input_ids) for tail in tails]
    model.generate(prompts, max_new_tokens=3)
    assert sum(columns for _, columns in seen) <= 2 * 3
    seen.clear()
    log_probs(model, prompts, tails)
    next_log_probs(model, prompts, tails, after=[[1, n[0]], [0]])
    handle.remove()
    assert seen == [(1, sum(n)), (1, 3)]


def test_distributions_after_some_tokens_are_those_among_all():
    model, tails = tiny.shared(), ["yes, please", "no", "perhaps"]
    n = [len(model.tokenizer(tail, add_special_tokens=False).input_ids) for tail in tails]
    after = [[0, n[0]], [n[1]], range(n[2])]
    arms = [[], [edits.add("resid_post", 1, reference.random_vector(model, 0))]]
    every = next_log_probs(model, PROMPTS, tails, arms)
    for arm, whole in zip(next_log_probs(model, PROMPTS, tails, arms, after=after), every, strict=True):
        for rows, here, among_all in zip(after, arm, whole, strict=True):
            assert torch.allclose(here, among_all[list(rows)], atol=TOLERANCE)
    for wrong, words in (
        ([[0]] * 2, "after has 2 lists"),
        ([[0], [0], []], r"after\[2\]"),
        ([[0], [1, 0], [0]], "ascending"),
        ([[0], [0], [n[2] + 1]], rf"from 0 to {n[2]}"),
    ):
        with pytest.raises(zkit.ZkitError, match=words):
            next_log_probs(model, PROMPTS, tails, after=wrong)


def test_a_model_that_computes_logits_elsewhere_is_refused():
    model = tiny.model()
    model.hf.get_output_embeddings = torch.nn.Identity  # not what the logits come from
    with pytest.raises(zkit.ZkitError, match="another way than its output embeddings"):
        model.generate(["one prompt"], max_new_tokens=2)
