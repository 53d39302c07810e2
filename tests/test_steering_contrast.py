"""Contrasts: every pool against states recomputed by plain hooks; means, agreement and matched lengths of pairs."""

import math
from typing import get_args

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from test_laws_sink import SIZE, USUAL, direction, planted
from test_recording import row_states

import zkit
from zkit.steering import (
    STYLES,
    actadd,
    contrasts,
    length_matched,
    mean_difference,
    stability,
    stability_interval,
)
from zkit.steering.contrast import Pool, sides
from zkit.tokens import MASSIVE

PLUS = ["Be brief.", "yes", "Answer in one word, please", "short!"]
MINUS = ["Explain it all at length, with examples.", "no", "Tell me", "a very long one"]
TOLERANCE = 1e-4


def token_ids(model, text):
    return model.tokenizer(text, add_special_tokens=False)["input_ids"]


def states_and_message(model, prompt):
    """States [n_tokens, n_layers, d] of the rendered prompt, and the places of the message in it."""
    [ids] = reference.rows(model, [prompt])
    before = len(token_ids(model, "<|im_start|>user\n"))
    message = token_ids(model, prompt)
    places = slice(before, before + len(message))
    assert ids[places] == message
    return row_states(model, ids), places


def usual_mean(states, every):
    """Mean over the tokens that are not massive among all, at each layer."""
    kept = states.norm(dim=-1, keepdim=True) <= MASSIVE * every.norm(dim=-1).median(0).values[:, None]
    return (states * kept).sum(0) / kept.sum(0)


def pooled(model, prompt, pool):
    states, message = states_and_message(model, prompt)
    if pool in ("all", "literal"):
        return states[0 if pool == "literal" else 1 :].mean(0)
    if pool == "content":
        return usual_mean(states[message], states)
    if pool == "suffix":
        return usual_mean(states[message.stop :], states)
    if pool == "last":
        return states[-1]
    [ids] = reference.rows(model, [prompt])
    answer = reference.greedy(model, ids, 64)
    if tiny.END in answer:
        answer = answer[: answer.index(tiny.END)]
    answer = token_ids(model, model.tokenizer.decode(answer, skip_special_tokens=True))
    states = row_states(model, ids + answer)
    return usual_mean(states[len(ids) :], states)


def wanted(model, pool, plus=PLUS, minus=MINUS):
    return [torch.stack([pooled(model, p, pool) for p in side]) for side in (plus, minus)]


@pytest.mark.parametrize("pool", ["suffix", "content", "all", "literal", "last"])
@pytest.mark.parametrize("family", ["qwen3", "gemma3"])
def test_each_pool_is_the_difference_of_the_states_it_names(family, pool):
    model = tiny.shared(family)
    one, other = wanted(model, pool)
    found = sides(model, PLUS, MINUS, pool=pool)
    assert torch.allclose(found[0], one, atol=TOLERANCE)
    assert torch.allclose(found[1], other, atol=TOLERANCE)
    for batch_size in (1, 3, 32):
        part = contrasts(model, PLUS, MINUS, [2, 0], pool=pool, batch_size=batch_size)
        assert part.shape == (4, 2, 32)
        assert torch.allclose(part, (one - other)[:, [2, 0]], atol=TOLERANCE)


def test_the_response_pool_is_the_mean_over_the_models_own_answer():
    model = tiny.shared()
    one, other = wanted(model, "response")
    for batch_size in (1, 3, 32):
        found = contrasts(model, PLUS, MINUS, pool="response", batch_size=batch_size)
        assert torch.allclose(found, one - other, atol=TOLERANCE)
    few_tokens = contrasts(model, PLUS, MINUS, pool="response", max_new_tokens=2)
    assert not torch.allclose(few_tokens, one - other, atol=0.1)


def test_pools_are_different_places():
    model = tiny.shared()
    found = [contrasts(model, PLUS, MINUS, pool=pool) for pool in get_args(Pool)]
    assert torch.equal(contrasts(model, PLUS, MINUS), found[0])
    for i, one in enumerate(found):
        assert all(not torch.allclose(one, other, atol=0.05) for other in found[:i])


@pytest.mark.parametrize("prompt", ["Be brief.", "x", "Explain what a mutex is.", "Why?\nBecause"])
def test_the_template_width_leaves_exactly_the_message(prompt):
    for model in (tiny.shared(), zkit.load()):
        before, after = model.template_width
        [ids] = model.tokenize([prompt])["input_ids"].tolist()
        assert ids[before : len(ids) - after] == token_ids(model, prompt)


def test_content_of_the_embedded_model_is_the_message_by_token_ids():
    model = zkit.load()
    prompt = STYLES["terse"].positive
    [ids] = reference.rows(model, [prompt])
    message = token_ids(model, prompt)
    start = next(i for i in range(len(ids)) if ids[i : i + len(message)] == message)
    want = row_states(model, ids)[start : start + len(message)].mean(0)
    found = sides(model, [prompt], ["Hi"], pool="content")[0][0]
    assert torch.allclose(found, want, atol=1e-3)


@few
@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20)), min_size=1, max_size=4))
def test_the_mean_difference_of_pairs_is_the_mean_of_single_ones(pairs):
    model = tiny.shared()
    pairs = [(f"a{one}", f"b{other}") for one, other in pairs]
    one, other = zip(*pairs, strict=True)
    several = mean_difference(model, one, other, [1, 3])
    single = [mean_difference(model, [p], [n], [1, 3]) for p, n in pairs]
    for l in (1, 3):
        want = torch.stack([v.vectors[l] for v in single]).mean(0)
        assert torch.allclose(several.vectors[l], want, atol=TOLERANCE)
    assert several.layers == [1, 3] and several.note["pairs"] == str(len(pairs))


@pytest.mark.parametrize("options", [{}, *({"pool": pool} for pool in get_args(Pool))])
def test_actadd_is_the_mean_difference_of_one_pair(options):
    model, terse = tiny.shared(), STYLES["terse"]
    one = actadd(model, "terse", **options)
    other = mean_difference(model, [terse.positive], [terse.negative], **options)
    assert one.layers == other.layers == [0, 1, 2, 3]
    assert all(torch.equal(one.vectors[l], other.vectors[l]) for l in one.layers)
    assert {**other.note, "method": "actadd"} == one.note
    assert other.note["model"] == "tiny-qwen3"


def test_the_note_says_how_states_were_pooled():
    model = tiny.shared()
    notes = {
        "suffix": "mean over the chat template's tokens after the message that are not massive",
        "content": "mean over the tokens of the message that are not massive",
        "all": "mean over all tokens but the first",
        "literal": "mean over all tokens",
        "last": "last token",
        "response": "mean over the answer's tokens that are not massive",
    }
    for pool, words in notes.items():
        assert mean_difference(model, PLUS[:1], MINUS[:1], [0], pool=pool).note["pooling"] == words


@few
@given(st.integers(2, 7), st.integers(1, 3), st.integers(0, 99))
def test_stability_is_the_mean_cosine_over_all_pairs_of_pairs(n, layers, seed):
    deltas = torch.randn(n, layers, 6, generator=torch.Generator().manual_seed(seed))
    found = stability(deltas)
    for l in range(layers):
        cosines = [
            float(torch.cosine_similarity(deltas[i, l], deltas[j, l], dim=0))
            for i in range(n)
            for j in range(n)
            if i != j
        ]
        assert math.isclose(float(found[l]), sum(cosines) / len(cosines), abs_tol=1e-5)


def test_stability_is_one_for_parallel_pairs_and_by_chance_near_zero():
    generator = torch.Generator().manual_seed(0)
    direction, lengths = torch.randn(3, 64, generator=generator), torch.rand(9, 1, 1, generator=generator) + 0.1
    assert torch.allclose(stability(lengths * direction), torch.ones(3), atol=1e-5)
    assert torch.allclose(stability(torch.stack((direction, -direction))), -torch.ones(3), atol=1e-5)
    assert stability(torch.randn(200, 3, 64, generator=generator)).abs().max() < 0.01


def test_matched_lengths_have_equal_tokens_and_only_fillers_are_added():
    model = tiny.shared()
    for one, other in [("Be brief.", "Explain at length"), ("Explain at length", "Be brief."), ("same", "size")]:
        plus, minus = length_matched(model, one, other, "!")
        assert len(set(map(len, reference.rows(model, [plus, minus])))) == 1
        assert (plus.rstrip("!"), minus.rstrip("!")) == (one, other)
        assert max(len(one), len(other)) == len(plus)
    assert length_matched(model, "ab", "cdef", "!", chat=False) == ("ab!!", "cdef")
    embedded = zkit.load()
    for style in STYLES.values():
        pair = length_matched(embedded, style.positive, style.negative)
        assert len(set(map(len, reference.rows(embedded, pair)))) == 1


def test_literal_pooling_of_matched_lengths_carries_no_planted_sink():
    model, s = tiny.shared(), direction(tiny.shared())
    plus, minus = "Be brief.", "Explain all of it thoroughly and at length"
    matched = length_matched(model, plus, minus, "!")
    with planted(model, s):
        loose = mean_difference(model, [plus], [minus], pool="literal")
        tight = mean_difference(model, *([text] for text in matched), pool="literal")
    gap = SIZE * abs(1 / len(reference.rows(model, [plus])[0]) - 1 / len(reference.rows(model, [minus])[0]))
    for l in tight.layers:
        assert abs(float(tight.vectors[l] @ s)) < USUAL < 0.5 * gap < abs(float(loose.vectors[l] @ s))


def test_bad_input():
    model = tiny.shared()
    blind = tiny.model()
    blind.hf.get_input_embeddings().weight[:256] = 0.1
    silent = tiny.model()
    silent.hf.model.norm.weight[:] = 0
    silent.hf.lm_head.bias = torch.nn.Parameter(torch.eye(272)[tiny.END], requires_grad=False)
    calls = {
        "4 positive but 3 negative prompts": lambda: contrasts(model, PLUS, MINUS[:3]),
        "unknown pool 'max'; use suffix, content, all, literal": lambda: contrasts(model, PLUS, MINUS, pool="max"),
        "with nothing to pool; change it": lambda: contrasts(silent, PLUS, MINUS, pool="response"),
        "no layer 4": lambda: contrasts(model, PLUS, MINUS, [4]),
        "no layers asked": lambda: mean_difference(model, PLUS, MINUS, []),
        "is empty": lambda: contrasts(model, [], []),
        "must be a list, got the string 'yes'": lambda: contrasts(model, "yes", ["a", "b", "c"]),
        "must be a list, got the string 'Hi'": lambda: mean_difference(model, ["Ho"], "Hi"),
        "positive and the negative prompt are the same": lambda: mean_difference(model, PLUS, list(PLUS)),
        "leave the same states": lambda: mean_difference(blind, ["aa"], ["bb"]),
        "leave the same states; ": lambda: mean_difference(model, ["aa", "bb"], ["bb", "aa"]),
        "at least two pairs, none of them zero; got 1": lambda: stability(torch.ones(1, 2, 3)),
        "none of them zero; got 3": lambda: stability(torch.ones(3, 2, 4) * torch.tensor([1.0, 0, 1])[:, None, None]),
        "overshoots": lambda: length_matched(model, "abc", "abcd", "--"),
        "adds no token": lambda: length_matched(model, "abc", "abcd", ""),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_the_interval_of_a_stability_holds_what_many_draws_of_pairs_would_give():
    """Differences = a shared direction plus noise: the jackknife's error is that of the estimate over fresh samples."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(32, generator=generator)

    def draw(n=20):
        return (shared + 3 * torch.randn(n, 32, generator=generator))[:, None]

    values = torch.tensor([float(stability(draw())[0]) for _ in range(300)])
    found = [stability_interval(draw()) for _ in range(60)]
    errors = torch.tensor([(i.high - i.low) / (2 * 1.96) for i in found])
    assert 0.7 < float(errors.mean() / values.std()) < 1.5
    covered = sum(i.low <= float(values.mean()) <= i.high for i in found)
    assert covered >= 50
    assert found[0].n == 20


def test_the_interval_is_of_the_mean_over_the_layers_given():
    deltas = torch.randn(8, 3, 16, generator=torch.Generator().manual_seed(1)) + 1
    assert stability_interval(deltas).value == pytest.approx(float(stability(deltas).mean()), abs=1e-6)
    parallel = torch.ones(5, 1, 4) * torch.arange(1, 6)[:, None, None]
    exact = stability_interval(parallel)
    assert exact.low == pytest.approx(1, abs=1e-5) and exact.high == pytest.approx(1, abs=1e-5)


def test_two_pairs_give_no_interval():
    with pytest.raises(zkit.ZkitError, match="at least three, not 2"):
        stability_interval(torch.randn(2, 1, 4))
