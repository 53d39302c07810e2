"""Steering: ActAdd from one pass, doses, sweeps, and their bad input. (Laws 2, 5 and 6 have files of their own.)"""

import math

import numpy as np
import pytest
import reference
import tiny
import torch
from reference import Addition
from test_laws_sink import direction, planted

import zkit
from zkit import steering
from zkit.steering import STYLES, SteeringVector, actadd, dose, edits, reference_norms, steer, sweep
from zkit.steering.apply import NEUTRAL, alpha_for

PROMPTS = ["Hi", "Explain what a mutex is."]


def vector(layers=(1,), norm=3.0):
    return SteeringVector({l: reference.random_vector(tiny.shared(), l, norm) for l in layers})


def states(model, prompt):
    """[n_tokens, n_layers, d] by the reference's own hooks."""
    [ids] = reference.rows(model, [prompt])
    seen = []
    handles = [b.register_forward_hook(lambda m, a, out: seen.append(out[0])) for b in model.hf.model.layers]
    reference.logits(model, ids, len(ids))
    for handle in handles:
        handle.remove()
    return torch.stack(seen, 1)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_vector_is_the_difference_of_means(style):
    model = tiny.shared()
    v, content, literal = actadd(model, style), *(actadd(model, style, pool=p) for p in ("content", "literal"))
    plus, minus = states(model, STYLES[style].positive), states(model, STYLES[style].negative)
    before, after = model.template_width
    own, other = (side[before : len(side) - after] for side in (plus, minus))
    behind, follows = (side[len(side) - after :] for side in (plus, minus))
    assert v.layers == literal.layers == [0, 1, 2, 3]
    for l in v.layers:
        assert torch.allclose(v.vectors[l], behind[:, l].mean(0) - follows[:, l].mean(0), atol=1e-4)
        assert torch.allclose(content.vectors[l], own[:, l].mean(0) - other[:, l].mean(0), atol=1e-4)
        assert torch.allclose(literal.vectors[l], plus[:, l].mean(0) - minus[:, l].mean(0), atol=1e-4)


def test_the_published_styles():
    assert list(STYLES) == ["terse", "formal", "socratic", "dry-wit"]
    assert STYLES["terse"].positive == "Be extremely concise and technical. No filler words."


def test_all_layers_come_from_one_pass():
    model, calls = tiny.model(), []
    model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    every = actadd(model, "terse")
    assert calls == [1]
    for layer in (0, 3, [2, 1], range(4)):
        v = actadd(model, "terse", layer)
        assert v.layers == sorted([layer] if isinstance(layer, int) else layer)
        assert all(torch.allclose(v.vectors[l], every.vectors[l], atol=1e-6) for l in v.layers)


def test_own_prompts_and_sign():
    model = tiny.shared()
    v = actadd(model, positive="yes", negative="no", layer=2)
    w = actadd(model, positive="no", negative="yes", layer=2)
    assert torch.allclose(v.vectors[2], -w.vectors[2], atol=1e-6)
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert actadd(model, positive=chat, negative="Hi", layer=0).norm > 0
    assert v.note["positive"] == "yes"
    assert v.note["pooling"] == "mean over the chat template's tokens after the message that are not massive"


def test_steering_adds_alpha_times_the_vector():
    model, v = tiny.shared(), vector((0, 2))
    for alpha in (-1.5, 0.5, 2.0):
        with steer(model, v, alpha):
            found = model.hf(**model.tokenize(PROMPTS[1:])).logits[0]
        [ids] = reference.rows(model, PROMPTS[1:])
        where = reference.selector("all")
        want = reference.logits(model, ids, len(ids), [Addition(l, alpha * v.vectors[l], where) for l in (0, 2)])
        assert torch.allclose(found, want, atol=reference.TOLERANCE)


def test_the_share_of_the_residual_follows_a_planted_sink_and_the_dose_does_not():
    model, v = tiny.shared(), vector()
    [plain] = steering.geometry(model, v)["mean_norm"]
    assert math.isclose(steering.residual_share(2.0, v, plain), 2 * v.norm / plain)
    with planted(model, direction(model)):
        [sunk] = steering.geometry(model, v)["mean_norm"]
        usual = reference_norms(model, list(NEUTRAL))
    assert steering.residual_share(2.0, v, sunk) < steering.residual_share(2.0, v, plain) / 5
    assert dose(2.0, v, usual) > dose(2.0, v, reference_norms(model)) / 2
    with pytest.raises(zkit.ZkitError, match="mean norm is 0"):
        steering.residual_share(2.0, v, 0)


def test_doses():
    model, v = tiny.shared(), vector()
    usual = reference_norms(model)
    before, after = model.template_width
    tokens = torch.cat([states(model, prompt)[before:-after] for prompt in NEUTRAL])
    assert torch.allclose(usual, tokens.norm(dim=-1).median(0).values, atol=1e-4)
    assert math.isclose(dose(2.0, v, usual), 2 * v.norm / float(usual[1]), rel_tol=1e-6)
    assert math.isclose(dose(alpha_for(0.7, v, usual), v, usual), 0.7, rel_tol=1e-6)
    assert math.isclose(dose(-2.0, v, usual), -dose(2.0, v, usual), rel_tol=1e-9)
    assert math.isclose(dose(1.0, 5 * v, usual), dose(5.0, v, usual), rel_tol=1e-6)


def test_a_dose_is_an_alpha_by_the_norms_of_the_model_as_it_is():
    model, v = tiny.model(), vector((1, 3))
    with steer(model, v), pytest.raises(zkit.ZkitError, match="of 'tiny-qwen3' as it is, and a block edits it"):
        edits(model, v.at(1), dose=0.3)
    usual = reference_norms(model)
    alpha = alpha_for(0.3, v.at(1), usual)
    with steer(model, v.at(1), alpha):
        want = model.generate(PROMPTS, 5)
    with steer(model, v.at(1), dose=0.3):
        assert model.generate(PROMPTS, 5) == want
        assert torch.equal(reference_norms(model), usual)  # measured before
    with torch.no_grad():
        model.hf.get_input_embeddings().weight.mul_(3)
    assert not torch.allclose(reference_norms(model), usual)
    for match, options in (("not both", {"alpha": 1.0, "dose": 0.3}), (r"layers \[1, 3\]; take one", {"dose": 0.3})):
        with pytest.raises(zkit.ZkitError, match=match):
            steer(model, v, **options)


def test_a_sweep_is_generation_arm_by_arm():
    model, v, alphas = tiny.shared(), vector((1, 3)), [-2.0, 0.0, 4.0]
    table = sweep(model, v, PROMPTS, alphas=alphas, max_new_tokens=5, batch_size=5)
    assert list(table.columns) == ["layer", "alpha", "dose", "prompt", "text", "words", "tokens", "truncated", "reply"]
    assert len(table) == 2 * 3 * 2
    usual = reference_norms(model)
    for row in table.itertuples():
        with steer(model, v.at(row.layer), row.alpha):
            [answer] = zkit.generation.complete(model, [PROMPTS[row.prompt]], max_new_tokens=5)
        assert (row.text, row.tokens, row.truncated) == (answer.text, answer.n_tokens, answer.truncated)
        assert row.words == len(answer.text.split())
        assert math.isclose(row.dose, row.alpha * v.norms[row.layer] / float(usual[row.layer]), abs_tol=1e-6)
    assert len(set(table.text)) > 2


def test_a_sweep_of_doses_and_its_options():
    model, v, usual = tiny.shared(), vector((0, 2)), torch.full((4,), 6.0)
    table = sweep(model, v, PROMPTS[:1], doses=np.array([-0.5, 1.0]), reference=usual, max_new_tokens=3)
    assert table.dose.round(6).tolist() == [-0.5, 1.0] * 2
    assert table.alpha.round(5).tolist() == [-1.0, 2.0] * 2
    prompt_only = sweep(
        model, v.at(0), PROMPTS, alphas=[8.0], positions="prompt", first_token=True, reference=usual, max_new_tokens=3
    )
    with steer(model, v.at(0), 8.0, positions="prompt", first_token=True):
        assert prompt_only.text.tolist() == model.generate(PROMPTS, 3)


def test_bad_input():
    model, v = tiny.shared(), vector()
    usual = torch.ones(4)
    calls = {
        "unknown style 'tense'; the styles are terse, formal": lambda: actadd(model, "tense"),
        "give a style or a pair": lambda: actadd(model, "terse", positive="a"),
        "give a style, or both": lambda: actadd(model, positive="a"),
        "positive and the negative prompt are the same": lambda: actadd(model, positive="a", negative="a"),
        "leave the same states": lambda: actadd(tiny_blind(), positive="aa", negative="bb"),
        "no layer 4 in 'tiny-qwen3'": lambda: actadd(model, "terse", layer=4),
        "no layer -1 ": lambda: actadd(model, "terse", layer=-1),
        "no layer True ": lambda: actadd(model, "terse", layer=True),
        "no layer 1.5 ": lambda: actadd(model, "terse", layer=1.5),
        "no layer '3' ": lambda: actadd(model, "terse", layer="3"),
        "no layers asked": lambda: actadd(model, "terse", layer=[]),
        "alpha is nan": lambda: edits(model, v, math.nan),
        "alpha is inf": lambda: sweep(model, v, PROMPTS, alphas=[1.0, math.inf]),
        "vector added at resid_post of layer 1 is not finite": lambda: edits(model, v, 1e39),
        "has width 16, 'tiny-qwen3' has d_model 32": lambda: edits(model, SteeringVector({0: torch.ones(16)}), 0),
        "no layer 7 ": lambda: edits(model, SteeringVector({7: torch.ones(32)})),
        "unknown positions 'everywhere'": lambda: edits(model, v, positions="everywhere"),
        "give a list alphas=... or a list doses=...": lambda: sweep(model, v, PROMPTS),
        "must not be empty": lambda: sweep(model, v, PROMPTS, doses=[]),
        "list alphas=... or a list": lambda: sweep(model, v, PROMPTS, alphas=[1.0], doses=[1.0]),
        "list of prompts is empty": lambda: sweep(model, v, [], alphas=[1.0]),
        "got the string 'Hi'": lambda: sweep(model, v, "Hi", alphas=[1.0]),
        "no alpha gives a zero vector": lambda: alpha_for(1.0, 0 * v, usual),
        "this vector has layers": lambda: dose(1.0, vector((0, 1)), usual),
        "have 4 layers, the vector speaks of layer 9": lambda: dose(1.0, SteeringVector({9: torch.ones(3)}), usual),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def tiny_blind():
    """A model for which all letters are the same."""
    model = tiny.model()
    model.hf.get_input_embeddings().weight[:256] = 0.1
    return model
