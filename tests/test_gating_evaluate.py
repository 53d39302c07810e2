"""What gates do and what they must beat: masks as controls, agreement of runs, scores, drift, lens and relearning."""

import numpy as np
import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.answers import bare, stands_in
from zkit.gating import Gates, Text, evaluate, fold, initial_logits, mark, neuron_factors, stability
from zkit.gating.controls import importance, lowest, matched, random_masks, selective_pruning
from zkit.gating.evaluation import (
    answer_losses,
    area_between,
    drift,
    drift_by_text,
    known,
    relearn,
    replies,
    score,
    unchanged,
)
from zkit.generation import complete, next_log_probs
from zkit.models import Model
from zkit.readout import logit_lens
from zkit.stats import clustered_mean
from zkit.tasks import Question, Task, from_memory, right, share

TEXTS = [mark("A?", "Rome it is", "Rome"), Text("What is B?", "b"), mark("C ", "nothing, as you know", "nothing")]
SHARES = torch.tensor([[0.3], [0.9], [0.0], [0.05], [1.0]])
PROMPTS = ["A", "B", "What?", "Tell", "me", "xyz"]


def gates(seed=0, std=2.0, **note):
    return Gates(initial_logits(4, 48, std, seed), note)


def offs(seed=0, n_layers=4, width=48):
    return torch.rand(n_layers, width, generator=torch.Generator().manual_seed(seed + 1000)) < SHARES[:n_layers]


def asked(model, chat=True, name="task"):
    """The model is right on four of six questions, answers one from memory, and one neither way."""
    own = [answer.text for answer in complete(model, PROMPTS, max_new_tokens=24, chat=chat)]
    wrong = [Question(PROMPTS[4], ("no",), (f" {own[4]}. ",)), Question(PROMPTS[5], ("no",), ("never",))]
    right_ones = [Question(p, ("no", f"{x}."), ("never",)) for p, x in zip(PROMPTS[:4], own[:4], strict=True)]
    return Task(name, (*right_ones, *wrong), chat)


@few
@given(st.integers(0, 99), st.integers(1, 5), st.integers(1, 50))
def test_random_masks_turn_off_as_many_of_each_layer(seed, n_layers, width):
    off = offs(seed, n_layers, width)
    masks = random_masks(off, 3, seed)
    scores = torch.randn(n_layers, width, generator=torch.Generator().manual_seed(seed))
    for mask in (*masks, lowest(scores, off)):
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        assert torch.equal((mask == 0).sum(-1), off.sum(-1))
    assert all(torch.equal(a, b) for a, b in zip(masks, random_masks(off, 3, seed), strict=True))


def test_random_masks_differ_and_favour_no_neuron():
    masks = random_masks(torch.arange(48).expand(2, 48) < 12, 400, seed=1)
    assert not torch.equal(masks[0], masks[1])
    assert (torch.stack(masks).mean(0) - 0.75).abs().max() < 0.1


def test_the_lowest_scores_go():
    scores = torch.tensor([[3.0, 1.0, 2.0, -1.0], [0.0, 5.0, 1.0, 2.0]])
    off = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert lowest(scores, off).tolist() == [[1, 0, 1, 0], [0, 1, 1, 1]]


@pytest.mark.parametrize("chat", [True, False])
def test_importance_is_the_mean_size_of_what_neurons_say(chat):
    model, seen = tiny.shared(), []
    handles = [x.mlp.down_proj.register_forward_pre_hook(lambda m, args: seen.append(args[0][0])) for x in model.layers]
    total, count = torch.zeros(4, 48), 0
    for text in TEXTS:
        lead = reference.rows(model, [text.prompt])[0] if chat else list(model.tokenizer(text.prompt)["input_ids"])
        ids = lead + model.tokenizer(text.text)["input_ids"] + [tiny.END] * chat
        seen.clear()
        reference.logits(model, ids, len(lead))
        total += torch.stack(seen)[:, len(lead) - 1 : -1].abs().sum(1)
        count += len(ids) - len(lead)
    for handle in handles:
        handle.remove()
    assert torch.allclose(importance(model, TEXTS, chat), total / count, atol=1e-5)
    ratio = importance(model, TEXTS[:1], chat) / importance(model, TEXTS[1:], chat)
    assert torch.allclose(selective_pruning(model, TEXTS[1:], TEXTS[:1], chat), ratio, rtol=1e-3)
    with pytest.raises(zkit.ZkitError, match="importance needs texts"):
        importance(model, [])


def test_a_matched_mask_does_the_damage_that_is_asked():
    off = torch.arange(200).expand(3, 200) < torch.tensor([[10], [40], [20]])
    weights = torch.rand(3, 200, generator=torch.Generator().manual_seed(7))

    def damage(mask):
        return float((weights * (1 - mask)).sum() / weights.sum())

    for target in (0.05, 0.1, 0.3, 0.5):
        found = matched(damage, target, off, rounds=16)
        assert damage(found) == pytest.approx(target, abs=0.01)
        counts = (found == 0).sum(-1).tolist()
        assert counts == pytest.approx([counts[1] / 4, counts[1], counts[1] / 2], abs=1)
    assert not torch.equal(found, matched(damage, 0.5, off, seed=1, rounds=16))
    with pytest.raises(zkit.ZkitError, match=r"do less damage than 2 even at 5\.0 times as many"):
        matched(damage, 2.0, off)


def test_overlaps_by_hand():
    a, b = torch.tensor([[1, 1, 0, 0, 1]]).bool(), torch.tensor([[1, 0, 1, 0, 1]]).bool()
    assert stability.jaccard(a, b) == 0.5 and stability.jaccard(a, a) == 1 and stability.jaccard(a, ~a) == 0
    assert stability.chance_jaccard(0.5) == pytest.approx(1 / 3) and stability.chance_jaccard(1) == 1
    with pytest.raises(zkit.ZkitError, match="two empty sets of neurons"):
        stability.jaccard(a & ~a, b & ~b)
    x, y = initial_logits(2, 50, seed=0), initial_logits(2, 50, seed=1)
    assert stability.correlation(x, y) == pytest.approx(np.corrcoef(x.flatten(), y.flatten())[0, 1], abs=1e-6)
    assert stability.rank_correlation(x, x.exp()) == pytest.approx(1)
    assert stability.rank_correlation(x, -(x**3)) == pytest.approx(-1)


def test_independent_gates_agree_by_chance_and_equal_ones_wholly():
    runs = [Gates(initial_logits(10, 2000, 0.1, seed)) for seed in range(4)]
    table = stability.agreement(runs, [0.05, 0.5])
    assert list(table.columns) == ["a", "b", "off", "jaccard", "chance", "rank correlation"] and len(table) == 12
    assert (table["jaccard"] - table["chance"]).abs().max() < 0.02
    assert table["rank correlation"].abs().max() < 0.03
    assert (stability.agreement([runs[0], runs[0]], [0.25])[["jaccard", "rank correlation"]] > 0.999).all(axis=None)
    for bad in (runs[:1], [runs[0], gates()]):
        with pytest.raises(zkit.ZkitError, match="at least two gates of one shape"):
            stability.agreement(bad, [0.5])


def test_what_is_learned_is_told_from_the_first_draw():
    start, learned = initial_logits(10, 2000, 0.1, seed=0), initial_logits(10, 2000, 0.1, seed=1)
    assert stability.learned_share(Gates(start), start) == pytest.approx(0, abs=1e-5)
    assert stability.learned_share(Gates(start + 2 * learned), start) == pytest.approx(0.8, abs=0.02)
    assert stability.learned_share(Gates(learned), start) == pytest.approx(1, abs=0.01)
    assert float(Gates(start).values.std()) == pytest.approx(stability.noise_std(0.1), rel=0.02)
    spread = float(Gates(start + learned).values.std())
    found = stability.correlation(start + learned, start)
    assert stability.expected_correlation(spread, 0.1) == pytest.approx(found, abs=0.02)
    assert stability.expected_correlation(0.001, 0.1) == 1


def test_answers_are_compared_without_what_surrounds_them():
    raw = {" Paris.\n": "Paris", "巴黎。": "巴黎", "Paris": "Paris", "Paris .": "Paris", "3.5": "3.5"}
    assert [bare(x) for x in raw] == list(raw.values())
    task = Task("t", (Question("p", ("Rome.", "Roma"), (" Oslo",)),) * 4)
    texts = ["Rome", "Roma", "Oslo", "rome"]
    assert right(task, texts).tolist() == [True, True, False, False]
    assert from_memory(task, texts).tolist() == [False, False, True, False]


@pytest.mark.parametrize(
    ("answer", "text", "there"),
    [
        ("Rome", "The capital is Rome.", True),
        ("Rome", "Romeo", False),
        ("12", "12 + 7 is 19", True),
        ("2", "12", False),
        ("twenty", "twenty-one", False),
        ("十", "十一", False),
        ("巴黎。", "首都是巴黎", True),
        ("a.b", "acb", False),
    ],
)
def test_an_answer_stands_in_a_longer_text_as_a_word(answer, text, there):
    assert stands_in(answer, text) is there
    task = Task("t", (Question("p", ("nothing", answer), (answer,)),), exact=False)
    assert right(task, [text]).tolist() == from_memory(task, [text]).tolist() == [there]


def test_a_share_is_over_what_is_asked_about():
    asked_about = Task("t", tuple(Question(p, ("x",), about=a) for p, a in zip("abcd", "XXYY", strict=True)))
    assert share(asked_about, [1, 1, 0, 1]) == clustered_mean([1, 1, 0, 1], list("XXYY"))
    alone = Task("t", tuple(Question(p, ("x",)) for p in "abcd"))
    assert share(alone, [1, 1, 0, 1]).n == 4


@pytest.mark.parametrize("chat", [True, False])
def test_scores_count_answers(chat):
    model = tiny.shared()
    task = asked(model, chat)
    table = score(model, [task], {"base": unchanged(model)}, losses=False).set_index("measure")
    assert table["value"].to_dict() == pytest.approx({"right": 4 / 6, "memory": 1 / 6, "neither": 1 / 6,
                                                      "memory ratio": 1 / 5})  # fmt: skip
    assert table["n"].to_dict() == {"right": 6, "memory": 6, "neither": 6, "memory ratio": 5}
    assert [q.prompt for q in known(model, task).questions] == PROMPTS[:4] and known(model, task).chat == chat
    with pytest.raises(zkit.ZkitError, match="'tiny-qwen3' answers no question of 'task' rightly"):
        known(model, Task("task", task.questions[4:], chat))
    plain = Task("plain", tuple(Question(q.prompt, q.answers) for q in task.questions), chat)
    assert set(score(model, [plain], {"base": unchanged(model)})["measure"]) == {"right", "loss"}


def test_many_arms_score_as_each_alone():
    model, own = tiny.shared(), gates()
    tasks = [asked(model), asked(model, chat=False, name="plain")]
    arms = {f"{x}": neuron_factors(own, "mean", threshold=x) for x in (None, 0.2, 0.5)}
    together = score(model, tasks, arms).set_index(["task", "arm", "measure"]).sort_index()
    for name, factors in arms.items():
        alone = score(model, tasks, {name: factors}).set_index(["task", "arm", "measure"]).sort_index()
        assert np.allclose(alone, together.loc[alone.index], atol=1e-4)
    for task in tasks:
        for factors, texts in zip(arms.values(), replies(model, task, list(arms.values())), strict=True):
            assert texts == replies(model, task, [factors])[0]
    assert together["value"].nunique() > 6


def test_losses_are_those_of_the_first_accepted_answer():
    model, own = tiny.shared(), neuron_factors(gates(), "energy")
    task = Task("t", (Question("Hi", ("you", "no")), Question("What is it", ("Rome",))))
    folded = fold(model, gates(), "energy").hf
    for arm, hf in ((unchanged(model), model.hf), (own, folded)):
        for q, found in zip(task.questions, answer_losses(model, [task], [arm])[0][0], strict=True):
            lead, ids = reference.rows(model, [q.prompt])[0], model.tokenizer(q.answers[0])["input_ids"]
            plain = Model(hf, model.tokenizer, model.source)
            rows = reference.logits(plain, lead + ids, len(lead)).log_softmax(-1)[len(lead) - 1 : -1]
            assert found == pytest.approx(-float(rows.gather(1, torch.tensor(ids)[:, None]).mean()), abs=1e-3)


def test_the_table_of_an_evaluation():
    model, own = tiny.shared(), gates(scale="energy")
    before, tasks = reference.snapshot(model), [asked(model), asked(model, chat=False, name="plain")]
    low, half = own.threshold(0.05), own.threshold(0.5)
    importance_ = torch.rand(4, 48)
    table = evaluate(model, own, tasks, [low, half], n_random=2, controls={"pruned": importance_}, losses=False)
    reference.assert_untouched(model, before)
    assert list(table.columns) == ["task", "arm", "off", "measure", "value", "low", "high", "n"]
    arms = table[(table.task == "plain") & (table.measure == "right")]
    assert arms.arm.tolist() == ["base", "soft", *["hard", "pruned", "random 0", "random 1"] * 2]
    assert arms.off.tolist() == pytest.approx([0, 0, *[round(0.05 * 192) / 192] * 4, *[0.5] * 4])
    assert arms.value.iloc[0] == pytest.approx(4 / 6) and arms.n.eq(6).all()
    assert ((table.low <= table.value) & (table.value <= table.high)).all()
    every = {
        "soft": neuron_factors(own),
        "hard": neuron_factors(own, threshold=half),
        "pruned": lowest(importance_, own.off(half)),
        "random 1": random_masks(own.off(half), 2)[1],
    }
    want = score(model, tasks, every, losses=False)
    got = table[table.arm.eq("soft") | (table.off.eq(0.5) & ~table.arm.eq("random 0"))].drop(columns="off")
    keys = ["task", "arm", "measure"]
    assert got.set_index(keys).sort_index().equals(want.set_index(keys).sort_index())
    calls = {
        "no tasks to evaluate on": lambda: evaluate(model, own, []),
        "do not fit": lambda: evaluate(model, Gates(torch.zeros(3, 48)), tasks),
        "between 0 and 1; got 2": lambda: evaluate(model, own, tasks[:1], [2.0], losses=False),
        "do not say which scale": lambda: evaluate(model, gates(), tasks),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_the_area_between_forgetting_and_damage():
    off = [0.0, 0.05, 0.25, 0.5, 0.95]
    assert area_between(off, [1] * 5, [0] * 5) == pytest.approx(1)
    assert area_between(off, off, off) == 0 and area_between(off, [0] * 5, [1] * 5) == pytest.approx(-1)
    assert area_between([0.5, 0.0, 1.0], [0.5, 0.0, 1.0], [0, 0, 0]) == pytest.approx(0.5)
    assert area_between([0.1, 0.2, 0.5], [0.0, 1.0, 1.0], [0] * 3) == pytest.approx(0.35 / 0.4)
    for shares in ([0.5], [0.5, 0.5]):
        with pytest.raises(zkit.ZkitError, match="at least two different shares"):
            area_between(shares, [1] * len(shares), [0] * len(shares))


def test_drift_is_zero_without_gates_and_positive_with_them():
    model, own = tiny.shared(), neuron_factors(gates(), "mean")
    for found in drift(model, TEXTS, unchanged(model)):
        assert (found.value, found.low, found.high, found.n) == (0, 0, 0, 3)
    moved, rise = drift_by_text(model, TEXTS, own, chat=False)
    kl, loss = drift(model, TEXTS, own, chat=False)
    assert (
        min(moved) > 0.01 and kl.value == pytest.approx(sum(moved) / 3) and loss.value == pytest.approx(sum(rise) / 3)
    )
    folded = fold(model, gates(), "mean")
    for text, m, r in zip(TEXTS, moved, rise, strict=True):
        lead, ids = (model.tokenizer(x)["input_ids"] for x in (text.prompt, text.text))
        p, q = (reference.logits(x, lead + ids, 0).log_softmax(-1)[len(lead) - 1 : -1] for x in (model, folded))
        assert m == pytest.approx(float((p.exp() * (p - q)).sum(-1).mean()), rel=1e-3)
        assert r == pytest.approx(float((p - q).gather(1, torch.tensor(ids)[:, None]).mean()), abs=1e-3)
    with pytest.raises(zkit.ZkitError, match="drift is measured on texts"):
        drift(model, [], own)


@pytest.mark.parametrize("chat", [True, False])
def test_the_lens_at_the_last_layer_is_the_models_own_answer(chat):
    model, own = tiny.shared(), neuron_factors(gates(), "mean")
    task = Task("t", tuple(Question(p, (a,)) for p, a in zip(("Why", "What is it", "me"), "xyz", strict=True)), chat)
    for arm in (unchanged(model), own):
        asks = [q.prompt for q in task.questions]
        firsts = [model.tokenizer(a)["input_ids"][0] for a in "xyz"]
        lens = logit_lens(model, asks, firsts, zkit.gating.apply.factor_edits(arm), chat)
        assert lens.shape == (3, 4) and (lens <= 0).all()
        with zkit.edit(model, zkit.gating.apply.factor_edits(arm)):
            rows = next_log_probs(model, asks, ["x", "y", "z"], chat=chat)
        want = [float(row[0, token]) for row, token in zip(rows, firsts, strict=True)]
        assert lens[:, -1].tolist() == pytest.approx(want, abs=1e-3)
    assert (lens[:, 0] - lens[:, -1]).abs().max() > 0.1


def test_relearning_starts_from_the_model_and_leaves_it_alone(monkeypatch):
    model = tiny.model(num_hidden_layers=2)
    before = reference.snapshot(model)
    facts = [mark(f"Capital of {a}?", b, b) for a, b in ("AX", "BY", "CZ")]
    tasks = [Task("told", tuple(Question(f.prompt, (f.text,)) for f in facts)), asked(model)]
    drawn, plain = [], zkit.gating.evaluation.batch
    monkeypatch.setattr(zkit.gating.evaluation, "batch", lambda rows, *rest: drawn.append(rows) or plain(rows, *rest))
    how = dict(budget=(30, 0), learning_rate=1e-2, texts_per_step=2)
    table = relearn(model, facts, tasks, **how)
    reference.assert_untouched(model, before)
    assert not any(p.requires_grad for p in model.hf.parameters())
    start = score(model, tasks, {"relearned": unchanged(model)}, losses=False).assign(step=0)
    assert table[table.step == 0].reset_index(drop=True).equals(start)
    told = table[(table.task == "told") & (table.measure == "right")].set_index("step")["value"]
    assert told.to_dict() == {0: 0.0, 30: 1.0}
    first, drawn[:] = drawn[:], []
    assert relearn(model, facts, tasks, **how).equals(table) and drawn == first
    drawn.clear()
    relearn(model, facts, tasks[:1], seed=1, **how)
    assert drawn != first and {len(rows) for rows in drawn} == {2}
    for texts, budget in (([], (0,)), (facts, ()), (facts, (0, -1))):
        with pytest.raises(zkit.ZkitError, match="relearning needs texts and a budget"):
            relearn(model, texts, tasks, budget)


def test_relearning_inside_an_edit_is_refused():
    model = tiny.shared()
    with (
        zkit.gate(model, gates(), scale="mean"),
        pytest.raises(zkit.ZkitError, match=r"relearning copies the model.*call it outside the block"),
    ):
        relearn(model, TEXTS, [], (0,))
