"""Patching finds an answer that was planted in a subspace, over a grid of signals, and nothing where nothing is."""

import pytest
import tiny
import torch

import zkit
from zkit import patching
from zkit.causal import CausalModel, Problem, Swaps, pairs
from zkit.patching import das
from zkit.phase3 import fits
from zkit.subspaces import random_subspace

N_ANSWERS, N_EACH = 4, 10
SIGNS = [chr(c) for c in range(33, 127) if chr(c) not in "abcdABCD"]
_CAUSAL = CausalModel("planted", lambda _, x: x[0], lambda n, lang: "abcd"[n] if lang == "en" else "ABCD"[n])


def planted(signal, seed=0):
    """A model whose layers pass states on, and problems of one character each.

    The state of a problem is ``signal`` times its answer's direction, its language's direction, and noise; the output
    matrix reads both.
    """
    model = tiny.model("qwen2", seed=seed)
    made = torch.Generator().manual_seed(seed)
    axes = torch.linalg.qr(torch.randn(32, 6, generator=made))[0].T
    for layer in model.hf.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()

    def token(sign):
        return patching.one_token(model, [sign])[0]

    states, output = model.hf.get_input_embeddings().weight, model.hf.lm_head.weight.zero_()
    signs, problems = iter(SIGNS), []
    for n in range(N_ANSWERS):
        for i, lang in enumerate(("en", "zh")):
            output[token(_CAUSAL.say(n, lang))] = 4 * (axes[n] + axes[4 + i])
        for each in range(N_EACH):
            prompts = {lang: next(signs) for lang in ("en", "zh")}
            for i, sign in enumerate(prompts.values()):
                states[token(sign)] = signal * axes[n] + axes[4 + i] + 0.1 * torch.randn(32, generator=made)
            problems.append(Problem(_CAUSAL, (n, each), {k: "." + v for k, v in prompts.items()}, chat=False))
    return model, problems


def moved(signal):
    """Shares of pairs in which a swap brings the source's answer in the target's language, by subspace."""
    model, problems = planted(signal)
    ends = [int(model.tokenize([p.prompts["en"]], chat=False)["input_ids"][0, -1]) for p in problems]
    assert ends == patching.one_token(model, [p.prompts["en"][-1] for p in problems])
    train, test = (problems[half::2] for half in (0, 1))
    en, zh = (zkit.record(model, [p.prompts[l] for p in train], "last", chat=False)[:, 1] for l in ("en", "zh"))
    language = fits.language_space(en, zh, 1)
    pair = Swaps(*pairs(test, 4))
    source = zkit.record(model, pair.source_prompts, "last", chat=False)[:, 1]
    practice = Swaps(*pairs(train, 6))
    own = zkit.record(model, practice.source_prompts, "last", chat=False)[:, 1]
    wanted = patching.one_token(model, practice.answers("result"))
    spaces = {
        "contrastive": fits.contrastive_space(en, zh, language, 3),
        "learned": das(model, practice.prompts, own, wanted, 1, 3, chat=False, steps=60),
        "random": random_subspace(3, 32, torch.Generator().manual_seed(1)),
    }
    said = patching.next_token(
        model, pair.prompts, [[patching.swap(1, source, space)] for space in spaces.values()], chat=False
    ).said
    expected = patching.one_token(model, pair.answers("result"))
    return {name: patching.accuracy(row, expected).value for name, row in zip(spaces, said, strict=True)}


@pytest.mark.parametrize("signal", [1.0, 2.0, 4.0])
def test_a_planted_answer_is_found(signal):
    found = moved(signal)
    assert found["contrastive"] > 0.9
    assert found["learned"] > 0.8
    assert found["random"] < 0.25


def test_where_nothing_is_planted_nothing_is_found():
    found = moved(0.0)
    assert max(found.values()) < 0.45  # chance among the three other answers is a third


def test_what_learning_refuses():
    model, problems = planted(1.0)
    prompts, source = [p.prompts["en"] for p in problems[:4]], torch.zeros(4, 32)
    for call, says in {
        lambda: das(model, prompts, source[:3], [65] * 4, 1, 2, chat=False): "4 prompts, 3 sources",
        lambda: das(model, prompts, source, [65] * 4, 1, 33, chat=False): "no 33 directions",
        lambda: das(model, ["a"], source[:1], [65], 1, 2, chat=False): "nothing before its last",
    }.items():
        with pytest.raises(zkit.ZkitError, match=says):
            call()
