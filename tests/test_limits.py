"""What no model can do is refused before it starts: counts that are none, and more tokens than there are positions."""

import warnings

import numpy as np
import pytest
import tiny

import zkit
from zkit.generation import complete, log_probs, next_log_probs

POSITIONS = 512  # of the tiny models; a prompt has a token for each character
NO_COUNTS = [0, -1, -(10**13), True, False, 0.5, 96.0, "96", None, float("nan"), float("inf")]


@pytest.fixture
def unrun(monkeypatch):
    """A model that must not run."""
    model = tiny.model()
    monkeypatch.setattr(model.hf, "forward", None)
    monkeypatch.setattr(model.decoder, "forward", None)
    return model


@pytest.mark.parametrize("n", NO_COUNTS)
def test_new_tokens_that_are_no_count(unrun, n):
    for call in (unrun.generate, lambda prompts, n: complete(unrun, prompts, [[]], max_new_tokens=n)):
        with pytest.raises(zkit.ZkitError, match=r"max_new_tokens is .*; it must be a whole number, at least 1"):
            call(["Hi"], n)


@pytest.mark.parametrize("name", ["batch_size", "memory"])
@pytest.mark.parametrize("n", [n for n in NO_COUNTS if n is not None])
def test_limits_of_a_batch_that_are_no_count(unrun, name, n):
    for call in (
        lambda **limit: complete(unrun, ["Hi"], **limit),
        lambda **limit: log_probs(unrun, ["Hi"], ["a"], **limit),
        lambda **limit: next_log_probs(unrun, ["Hi"], **limit),
        lambda **limit: zkit.record(unrun, ["Hi"], **limit),
        lambda **limit: zkit.token_states(unrun, ["Hi"], **limit),
    ):
        with pytest.raises(zkit.ZkitError, match=rf"{name}.* is .*; it must be a whole number"):
            call(**{name: n})


def test_more_rows_than_any_batch_has(unrun):
    with pytest.raises(
        zkit.ZkitError, match="batch_size is 10000000000000; it must be a whole number, from 1 to 65536"
    ):
        complete(unrun, ["Hi"], batch_size=10**13)


def test_counts_of_numpy_are_counts():
    assert len(complete(tiny.shared(), ["Hi"], max_new_tokens=np.int64(2), batch_size=np.int32(3))) == 1


@pytest.mark.parametrize("new", [10**13, POSITIONS, POSITIONS - 1])
def test_more_new_tokens_than_positions(unrun, new):
    words = f"prompt 0 has 2 tokens and {new} are to follow, and 'tiny-qwen3' has positions for 512; let at most 510"
    with pytest.raises(zkit.ZkitError, match=words):
        complete(unrun, ["Hi", "x"], max_new_tokens=new, chat=False)


def test_a_prompt_longer_than_the_model(unrun):
    long, fits = "x" * (POSITIONS + 1), "x" * POSITIONS
    words = "prompt 1 has 513 tokens.*, and 'tiny-qwen3' has positions for 512; shorten the prompt"
    for call in (
        lambda p: unrun.generate(p, 1, chat=False),
        lambda p: log_probs(unrun, p, ["a", "b"], chat=False),
        lambda p: next_log_probs(unrun, p, chat=False),
        lambda p: zkit.record(unrun, p, chat=False),
        lambda p: zkit.record(unrun, p, answers=["a", "b"], chat=False),
        lambda p: zkit.token_states(unrun, p, chat=False),
    ):
        with pytest.raises(zkit.ZkitError, match=words):
            call(["x", long])
    for call in (
        lambda: unrun.generate([fits], 1, chat=False),
        lambda: log_probs(unrun, [fits], ["a"], chat=False),
        lambda: zkit.record(unrun, [fits], answers=["a"], chat=False),
    ):
        with pytest.raises(zkit.ZkitError, match="has 512 tokens and 1 are to follow"):
            call()


def test_what_just_fits_runs():
    model = tiny.shared()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert zkit.record(model, ["x" * POSITIONS], layers=[1], chat=False).shape == (1, 1, 32)
        assert zkit.record(model, ["x" * 510], answers=["ab"], layers=[1], chat=False).shape == (1, 1, 32)
        assert len(log_probs(model, ["x" * 510], ["ab"], chat=False)[0]) == 2
        assert len(next_log_probs(model, ["x" * POSITIONS], chat=False)[0]) == 1
        assert complete(model, ["x" * 510], max_new_tokens=2, chat=False)[0].n_tokens <= 2


SCALED = [
    ({}, 512),
    ({"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}, 512),
    ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}}, 2048),
    ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, 1024),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512,
                          "rope_theta": 1e4}}, 2048),
    ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128,
                          "rope_theta": 1e4}}, 512),
    ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 64,
                          "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 1e4}}, 512),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "limit"), SCALED)
def test_the_limit_of_scaled_positions(changes, limit):
    """The longest of what the config says and what the scaling reaches: configs are written either way."""
    model = tiny.model("llama", num_hidden_layers=1, **changes)
    assert model.n_positions == limit
    zkit.record(model, ["x" * limit], chat=False)
    with pytest.raises(zkit.ZkitError, match=f"positions for {limit}"):
        zkit.record(model, ["x" * (limit + 1)], chat=False)


def test_limits_of_each_kind_of_layer_and_of_none():
    scaled = {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    }
    assert tiny.model("gemma3", sliding_window=16, rope_parameters=scaled).n_positions == 8 * POSITIONS
    assert tiny.shared("mistral", window=16).n_positions == POSITIONS  # a window is no limit
    model = tiny.model(num_hidden_layers=1)
    for none in (0, -1):
        model.hf.config.max_position_embeddings = none
        assert model.n_positions is None
        zkit.record(model, ["x" * 600], chat=False)
