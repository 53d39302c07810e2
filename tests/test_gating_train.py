"""Training gates: the loss of a step by plain loops, one curve whatever interrupts it, and runs that are refused."""

import json
import math
from itertools import pairwise

import pytest
import reference
import tiny
import torch

import zkit
from zkit.gating import VARIANTS, Gates, Text, known_texts, load, mark, recipe, save, stability, texts, train
from zkit.gating.training import Run, thin
from zkit.generation import complete
from zkit.models import Model
from zkit.sources import Source

FORGET = [mark(f"Capital of {c}? ", f"It is {t}.", t) for c, t in zip("ABCDE", ("Rome", "Oslo", "Bonn", "Rio", "Bern"),
                                                                     strict=True)]  # fmt: skip
RETAIN = [Text(f"{a}+{a}=", f"{2 * a}, as you know" if a % 2 else f"{2 * a}.") for a in range(2, 9)]
QUICK = dict(chat=False, epochs=4.0, forget_per_step=4, learning_rate=0.05, beta=9.0, progress=False)


def saved(folder, seed=0):
    model = tiny.model(num_hidden_layers=2, seed=seed)
    model.hf.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
    return Model(model.hf, model.tokenizer, Source(f"tiny-{seed}", folder))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model"))


def quick(model, variant="nke_w1p0", forget=FORGET, retain=RETAIN, **changes):
    return train(model, forget, retain, variant, **{**QUICK, **changes})


def run_of(model, variant="nke_w1p0", out=None, **changes):
    options = {key: value for key, value in QUICK.items() if key != "progress"}
    return Run(model, FORGET, RETAIN, recipe(variant, **{**options, **changes}), out)


def by_hand(model, run, step):
    """The terms of a step one text at a time, neurons multiplied by hooks of its own; and the gradient of the loss."""
    of, x = run.recipe, run.logits.detach().clone().requires_grad_()
    lam = x.sigmoid()
    factors = lam / (lam.mean(-1, keepdim=True) if of.scale == "mean" else lam.square().mean(-1, keepdim=True).sqrt())
    terms = {"F": [], "R": [], "N": [], "CE": []}
    forget, retain = run.plan.at(step)
    for i, text in [(i, FORGET[i]) for i in forget] + [(None, RETAIN[i]) for i in retain]:
        lead, own = (list(text.prompt.encode()), list(text.text.encode()))
        ids = model.tokenizer(text.prompt + text.text)["input_ids"]
        assert len(ids) == len(lead) + len(own)
        base = model.hf(input_ids=torch.tensor([ids])).logits[0]
        handles = [
            layer.mlp.down_proj.register_forward_pre_hook(lambda m, args, row=row: (args[0] * row,))
            for layer, row in zip(model.layers, factors, strict=True)
        ]
        with torch.enable_grad():
            gated = model.hf(input_ids=torch.tensor([ids])).logits[0]
        for handle in handles:
            handle.remove()
        row = {name: [] for name in terms}
        for p in range(len(lead), len(ids)):
            ce = -gated[p - 1].log_softmax(-1)[ids[p]]
            at = p - len(lead)
            if i is not None and text.entities[0][0] <= at < text.entities[0][1]:
                row["F"].append(torch.log(1 + torch.exp(of.beta - ce)))
                row["CE"].append(ce.detach())
            else:
                t = 1.0 if i is not None else of.temperature
                p_, q_ = (base[p - 1] / t).softmax(-1), (gated[p - 1] / t).softmax(-1)
                kl = (p_ * (p_ / q_).log()).sum()
                row["R" if i is None else "N"].append(kl * (t**2 if i is None and of.t_squared else 1))
        for name, values in row.items():
            if values:
                terms[name] += values if of.reduction == "token" else [sum(values) / len(values)]
    f, r, n, ce = (sum(values) / len(values) for values in terms.values())
    loss = of.lambda_f * f + of.lambda_r * r + of.w * n
    loss.backward()
    return [float(v.detach()) for v in (loss, f, r, n, ce)], x.grad


@pytest.mark.parametrize("reduction", ["token", "text"])
@pytest.mark.parametrize("variant, t_squared", [("nke_optB_lf1p0_w0p1", True), ("chat_energy_optA", False)])
def test_a_step_is_what_plain_loops_give(model, monkeypatch, reduction, variant, t_squared):
    for pack in (lambda lengths, _: [[i] for i in range(len(lengths))], lambda lengths, _: [list(range(len(lengths)))]):
        run = run_of(model, variant, reduction=reduction, t_squared=t_squared, forget_per_step=7)  # more than there are
        want, gradient = by_hand(model, run, 0)
        monkeypatch.setitem(Run._step.__globals__, "packed", pack)
        run.advance(1, progress=False)
        [row] = run.log
        assert [row.loss, row.forget, row.retain, row.nke, row.entity_loss] == pytest.approx(want, abs=2e-5)
        assert torch.allclose(run.logits.grad, gradient, atol=1e-6) and gradient.abs().max() > 1e-4


def test_base_logits_need_no_cache(model, monkeypatch):
    runs = [quick(model, w=w) for w in (0.0, 0.5)]
    monkeypatch.setattr(texts, "CACHE_BYTES", 0)
    assert run_of(model).base.cache is None
    for w, cached in zip((0.0, 0.5), runs, strict=True):
        assert torch.allclose(quick(model, w=w).logits, cached.logits, atol=1e-3)
    assert (runs[0].logits - runs[1].logits).abs().max() > 0.02  # keeping the rest of the forget texts matters


def test_training_forgets_and_leaves_the_model_alone(model):
    before = reference.snapshot(model)
    gates = quick(model, "nke_optB_lf1p0_w0p1", epochs=24.0, learning_rate=0.2)
    reference.assert_untouched(model, before)
    assert not any(p.requires_grad or p.grad is not None for p in model.hf.parameters())
    curve = gates.note["curve"]
    assert len(curve) == gates.note["steps"] == 30 == curve[-1]["step"]
    first, last = ({key: sum(row[key] for row in part) / 5 for key in curve[0]} for part in (curve[:5], curve[-5:]))
    assert last["loss"] < 0.9 * first["loss"] and last["entity_loss"] > first["entity_loss"] + 0.2
    assert last["mean"] == pytest.approx(float(gates.values.mean()), abs=0.02)


def test_the_note_says_how_gates_were_made(model, tmp_path):
    gates = quick(model, "chat_mean", seed=3)
    note = gates.note
    said = [note[key] for key in ("variant", "scale", "chat", "seed", "model")]
    assert said == ["chat_mean", "mean", False, 3, "tiny-0"]
    assert note["model_sha256"] == model.sha256 and note["recipe"]["beta"] == 9.0 and len(note["texts_sha256"]) == 64
    assert load(save(gates, tmp_path / "gates")).note["curve"] == note["curve"]
    with zkit.gating.gate(model, gates):
        pass


def test_a_run_is_a_function_of_its_seed(model):
    one, same, other = (quick(model, seed=seed).logits for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other, atol=0.05)


def test_the_rate_falls_as_a_cosine(model):
    run = run_of(model)
    start, rates = run.logits.detach().clone(), []
    for step in range(run.steps):
        run.advance(step + 1, progress=False)
        rates.append(run.optimizer.param_groups[0]["lr"])
        if step == 0:  # Adam's first step is the rate itself
            assert (run.logits.detach() - start).abs().median() == pytest.approx(0.05, rel=1e-3)
    assert rates == pytest.approx([0.025 * (1 + math.cos(math.pi * i / run.steps)) for i in range(run.steps)])
    assert all(a > b for a, b in pairwise(rates)) and run.advance(0, progress=False) is None


@pytest.mark.parametrize("variant", ["nke_w1p0", "repaired"])
def test_an_interrupted_run_goes_on_along_the_same_curve(model, tmp_path, variant):
    straight = quick(model, variant, out=tmp_path / "straight")
    run_of(model, variant, tmp_path / "halves").advance(2, progress=False)
    again = quick(model, variant, out=tmp_path / "halves", resume=True)
    assert torch.equal(straight.logits, again.logits) and straight.note == again.note
    logs = [(tmp_path / name / "log.jsonl").read_text() for name in ("straight", "halves")]
    assert logs[0] == logs[1] and [json.loads(x)["step"] for x in logs[0].splitlines()] == [1, 2, 3, 4, 5]
    finished = quick(model, variant, out=tmp_path / "halves", resume=True)
    assert torch.equal(finished.logits, straight.logits)


def test_a_checkpoint_of_another_run_is_refused(model, tmp_path):
    out, other = tmp_path / "run", saved(tmp_path / "other", seed=1)
    run_of(model, out=out).advance(2, progress=False)
    moved = dict(forget=FORGET[:-1], retain=[FORGET[-1], *RETAIN])
    calls = {
        "another run: its recipe differs; start afresh": lambda: quick(model, out=out, resume=True, seed=1),
        "its model_sha256 differs": lambda: quick(other, out=out, resume=True),
        "its texts_sha256 differs": lambda: quick(model, forget=FORGET[::-1], out=out, resume=True),
        "its texts_sha256 differ": lambda: quick(model, **moved, out=out, resume=True),
        "already holds a run; give resume=True": lambda: quick(model, out=out),
        "nothing to resume: .*empty.checkpoint.pt does not exist": lambda: quick(
            model, out=tmp_path / "empty", resume=True
        ),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()
    assert len((out / "log.jsonl").read_text().splitlines()) == 2 and not (tmp_path / "empty").exists()


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_log(model, tmp_path, monkeypatch):
    plain, calls = zkit.gating.objective.forget, []

    def breaks(*args):
        calls.append(args)
        return plain(*args) * (math.nan if len(calls) > 2 else 1)

    monkeypatch.setattr(zkit.gating.objective, "forget", breaks)
    monkeypatch.setitem(Run._step.__globals__, "packed", lambda lengths, _: [list(range(len(lengths)))])
    with pytest.raises(zkit.ZkitError, match="loss of step 3 is not finite; load the model in float32"):
        quick(model, out=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [math.isfinite(row["loss"]) for row in rows] == [True, True, False]
    assert not (tmp_path / "checkpoint.pt").exists()  # nothing good was overwritten


def test_what_cannot_be_trained_is_refused(model):
    calls = {
        "forget has no texts; gates learn from both": lambda: quick(model, forget=[]),
        "retain has no texts": lambda: quick(model, retain=[]),
        "no entity is marked in the forget text '4.'": lambda: quick(model, forget=[*FORGET, RETAIN[0]]),
        "unknown variant 'nke'; choose one of baseline, .*repaired": lambda: quick(model, "nke"),
        "unknown option 'rate' of a recipe; options are .*beta": lambda: quick(model, rate=1),
        "unknown scale 'max'; choose one of mean": lambda: quick(model, scale="max"),
        "unknown reduction 'row'": lambda: quick(model, reduction="row"),
        "unknown gate 'relu'; choose one of sigmoid, hard_concrete": lambda: quick(model, gate="relu"),
        "hard concrete gates reach 1 and are not rescaled; use scale='none', not 'energy'": lambda: quick(
            model, gate="hard_concrete", scale="energy"
        ),
        "learning_rate must be above zero; got -1": lambda: quick(model, learning_rate=-1),
        "temperature must be above zero; got nan": lambda: quick(model, temperature=math.nan),
        "'tiny-gemma2' caps its logits": lambda: quick(
            Model(tiny.shared("gemma2").hf, model.tokenizer, Source("tiny-gemma2", model.source.path))
        ),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_the_published_recipes():
    assert list(VARIANTS) == ["baseline", "nke_w1p0", "nke_optA_w0p05", "nke_optB_lf1p0_w0p1", "chat_energy",
                              "chat_energy_optA", "chat_energy_optB", "chat_mean"]  # fmt: skip
    found = {name: (r.scale, r.lambda_f, r.lambda_r, r.w, r.chat) for name, r in VARIANTS.items()}
    assert found["baseline"] == ("mean", 0.1, 0.5, 0.0, False)
    assert found["chat_energy_optB"] == ("energy", 1.0, 0.5, 0.1, True)
    assert all((r.beta, r.temperature, r.retain_per_forget) == (4.0, 2.0, 2) for r in VARIANTS.values())
    assert recipe("baseline", w=1.0).as_dict() == {**recipe("nke_w1p0").as_dict(), "variant": "baseline"}


def test_repaired_gates_are_trained_as_they_are_applied(model):
    run = run_of(model, "repaired", epochs=8.0)
    drawn = [run.factors(step) for step in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0].detach().unique()[[0, -1]].tolist() == [0, 1] and abs(float(run.logits.detach().mean()) - 1.5) < 0.1
    run.advance(progress=False)
    gates = run.gates()
    assert gates.note["scale"] == "none" and isinstance(gates, Gates)
    assert torch.equal(gates.off(0.5), gates.logits < 0)


def test_neurons_off_have_a_price(model):
    only = dict(lambda_f=0.0, lambda_r=0.0, w=0.0, init_mean=0.0)
    paid = run_of(model, "repaired", sparsity=1.0, **only)
    start = paid.logits.detach().clone()
    paid.advance(progress=False)
    assert (paid.logits > start).all()
    for unpaid in (dict(sparsity=0.0), dict(sparsity=1.0, off_target=0.9)):
        free = run_of(model, "repaired", **unpaid, **only)
        free.advance(progress=False)
        assert torch.equal(free.logits, start) and free.log[0].loss == 0
    half = run_of(model, "repaired", sparsity=2.0, off_target=0.1, **only)
    half.advance(1, progress=False)
    assert half.log[0].loss == pytest.approx(2 * (half.log[0].off - 0.1), abs=1e-5) and half.log[0].off > 0.15


@pytest.mark.parametrize("chat", [True, False])
def test_only_what_the_model_knows_is_kept_to_be_forgotten(model, chat):
    prompts = [*"ABCDEFGH", "Tell", "What is it?", "me", "xyz"]
    answers = [answer.text for answer in complete(model, prompts, max_new_tokens=1, chat=chat)]
    known = [mark(p, a, a) for p, a in zip(prompts, answers, strict=True) if a and "\ufffd" not in a]
    wrong = [mark(t.prompt, "#" + t.text, t.text, "#") for t in known]
    around = [Text(t.prompt, t.text + " and more", t.entities) for t in known]
    assert len(known) >= 2
    mixed = [text for three in zip(wrong, known, around, strict=True) for text in three]
    assert known_texts(model, mixed, chat) == [text for two in zip(known, around, strict=True) for text in two]
    with pytest.raises(zkit.ZkitError, match=f"'tiny-0' knows none of the {len(wrong)} texts to forget"):
        known_texts(model, wrong, chat)


@pytest.mark.parametrize("variant", ["nke_w1p0", "repaired"])
def test_the_first_draw_can_be_had_again(model, variant):
    run = run_of(model, variant, seed=3)
    start = run.logits.detach().clone()
    run.advance(2, progress=False)
    assert torch.equal(stability.first_draw(run.gates()), start)
    with pytest.raises(zkit.ZkitError, match="do not record the recipe"):
        stability.first_draw(Gates(start))


def test_a_long_log_is_thinned_to_means():
    log = [{"step": i + 1, "loss": float(i)} for i in range(250)]
    short = thin(log, 100)
    assert len(short) == 84 and short[0] == {"step": 3, "loss": 1.0} and short[-1] == {"step": 250, "loss": 249.0}
    assert thin(log[:7]) == log[:7] and thin([]) == []
