"""What a step of training is made of: its texts, their tokens, the terms of the loss, the gates that reach 0 and 1."""

import json
import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from tokenizers.processors import TemplateProcessing
from torch.nn.functional import log_softmax

import zkit
from zkit.gating import Text, hard_concrete, mark, objective, read_jsonl
from zkit.gating.texts import batch, tokens
from zkit.gating.training import Order

CPU = torch.device("cpu")


@few
@given(st.integers(1, 9), st.integers(1, 20), st.integers(1, 7), st.integers(1, 9), st.integers(0, 50))
def test_every_pass_covers_each_text_once(n_forget, n_retain, by_forget, by_retain, seed):
    plan = Order(n_forget, n_retain, by_forget, by_retain, seed)
    steps = [plan.at(i) for i in range(40)]
    for n, size, drawn in ((n_forget, by_forget, [f for f, _ in steps]), (n_retain, by_retain, [r for _, r in steps])):
        assert all(len(texts) == size for texts in drawn)
        flat = [i for texts in drawn for i in texts]
        for start in range(0, len(flat) - n + 1, n):
            assert sorted(flat[start : start + n]) == list(range(n))
    again = Order(n_forget, n_retain, by_forget, by_retain, seed)
    assert [again.at(i) for i in reversed(range(40))] == steps[::-1]


def test_the_order_depends_on_the_seed_and_the_pass():
    orders = {
        tuple(Order(30, 30, 30, 30, seed).at(step)[kind]) for seed in (0, 1) for step in (0, 1) for kind in (0, 1)
    }
    assert len(orders) == 8
    plan = Order(10, 5, 4, 8, 0)
    assert [plan.steps(epochs) for epochs in (3, 1, 0.1, 0.01, 2.5)] == [8, 3, 1, 1, 7]


def planted(n=12, vocab=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    base, gated = (torch.randn(n, vocab, generator=generator) * 3 for _ in range(2))
    labels = torch.randint(vocab, (n,), generator=generator)
    row = torch.tensor([5, 0, 0, 3, 3, 3, 0, 5, 3, 3, 3, 3])
    return base, gated, labels, row


def average(values, row, reduction):
    if reduction == "token":
        return sum(values) / len(values)
    texts = {r: [v for v, at in zip(values, row.tolist(), strict=True) if at == r] for r in row.tolist()}
    return sum(sum(x) / len(x) for x in texts.values()) / len(texts)


@pytest.mark.parametrize("reduction", objective.REDUCTIONS)
def test_the_terms_are_what_plain_loops_give(reduction):
    base, gated, labels, row = planted()
    ce = [-math.log(x.softmax(-1)[label]) for x, label in zip(gated.double(), labels.tolist(), strict=True)]
    assert objective.entity_loss(gated, labels).tolist() == pytest.approx(ce, abs=1e-5)
    f = average([math.log(1 + math.exp(2.5 - x)) for x in ce], row, reduction)
    assert float(objective.forget(gated, labels, row, 2.5, reduction)) == pytest.approx(f, abs=1e-5)
    for temperature in (1.0, 2.0):
        kl = []
        for p, q in zip(base.double(), gated.double(), strict=True):
            p, q = (p / temperature).softmax(-1).tolist(), (q / temperature).softmax(-1).tolist()
            kl.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
        assert objective.divergence(base, gated, temperature).tolist() == pytest.approx(kl, abs=1e-5)
        r = average(kl, row, reduction)
        for squared in (True, False):
            found = objective.retain(base, gated, row, temperature, squared, reduction)
            assert float(found) == pytest.approx(r * (temperature**2 if squared else 1), abs=1e-5)


def test_the_ways_to_reduce_differ_and_nothing_gives_zero():
    base, gated, _, row = planted()
    token, text = (float(objective.retain(base, gated, row, reduction=how)) for how in objective.REDUCTIONS)
    assert abs(token - text) > 0.01
    for how in objective.REDUCTIONS:
        assert float(objective.mean_by(torch.zeros(0), torch.zeros(0, dtype=torch.long), how)) == 0


def test_forgetting_lets_go_past_its_margin():
    labels, row = torch.tensor([0]), torch.tensor([0])
    at = [float(objective.forget(torch.tensor([[x, 0.0]]), labels, row, 4.0)) for x in (9.0, 0.0, -4.0, -20.0)]
    assert at == sorted(at, reverse=True) and at[0] == pytest.approx(4, abs=0.1) and at[-1] < 1e-6
    same = torch.randn(3, 5)
    assert objective.divergence(same, same + 2.0).abs().max() < 1e-6


def test_hard_concrete_samples_reach_zero_and_one():
    logits = torch.linspace(-3, 3, 7)[:, None].expand(7, 20_000)
    z = hard_concrete.sample(logits, torch.Generator().manual_seed(0))
    assert float(z.min()) == 0 and float(z.max()) == 1
    inside = (z > 0) & (z < 1)
    assert all(row.any() for row in inside) and (z[3] == 0).any() and (z[3] == 1).any()
    for row, logit in zip(z, logits[:, :1], strict=True):
        assert float((row == 0).float().mean()) == pytest.approx(float(hard_concrete.expected_off(logit)), abs=0.015)
    assert float((z == 0).float().mean()) == pytest.approx(float(hard_concrete.expected_off(logits)), abs=0.01)
    assert (z.mean(-1).diff() > 0).all() and float(z[3].median()) == pytest.approx(0.5, abs=0.03)
    assert torch.equal(z, hard_concrete.sample(logits, torch.Generator().manual_seed(0)))
    assert float(hard_concrete.expected_off(torch.zeros(1, 1))) == pytest.approx(1 / (1 + 11 ** (2 / 3)))
    wild = hard_concrete.sample(torch.tensor([[1e4, -1e4]]), torch.Generator())
    assert wild.tolist() == [[1.0, 0.0]]


def test_every_occurrence_is_marked():
    text = mark("Where?", "Paris, not Rome: Paris.", "Paris", "Rome")
    assert [text.text[a:b] for a, b in text.entities] == ["Paris", "Rome", "Paris"]
    assert mark("p", "aaaa", "aa").entities == ((0, 2), (2, 4)) and mark("p", "x", "x", "x").entities == ((0, 1),)
    for entity in ("Oslo", ""):
        with pytest.raises(zkit.ZkitError, match=f"entity '{entity}' does not occur in 'Paris.'; write it"):
            mark("", "Paris.", entity)


def test_texts_from_a_file(tmp_path):
    rows = [
        {"prompt": "Capital?", "text": "Paris.", "entity": "Paris"},
        {"text": "法国的首都\u2028是巴黎。\x85", "entity": ["法国", "巴黎"]},
        {"prompt": "", "text": "Fine."},
    ]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "texts.jsonl").write_text("\n".join([lines[0], "", lines[1], lines[2]]) + "\n", encoding="utf-8")
    found = read_jsonl(tmp_path / "texts.jsonl")
    assert found == [
        Text("Capital?", "Paris.", ((0, 5),)),
        Text("", rows[1]["text"], ((0, 2), (7, 9))),
        Text("", "Fine."),
    ]


def test_a_file_of_texts_names_its_bad_line(tmp_path):
    good = '{"text": "x"}\n\n'
    lines = {
        "line 3 of .*jsonl is not JSON .*Expecting": '{"text": ',
        "line 3 .* object with a": "[1]",
        'line 3 .* a "text" that is not empty': '{"prompt": "x", "text": ""}',
        "line 3 .*the entity 'y' does not occur in 'x'": '{"text": "x", "entity": "y"}',
        'line 3 .*"entity" is a string or a list': '{"text": "x", "entity": null}',
        'line 3 .* a list of strings': '{"text": "5", "entity": [5]}',
    }  # fmt: skip
    path = tmp_path / "texts.jsonl"
    for message, line in lines.items():
        path.write_text(good + line)
        with pytest.raises(zkit.ZkitError, match=message):
            read_jsonl(path)
    path.write_text("\n \n")
    with pytest.raises(zkit.ZkitError, match="has no texts; write one JSON object on each line"):
        read_jsonl(path)
    with pytest.raises(zkit.ZkitError, match=r"there is no file .*nowhere"):
        read_jsonl(tmp_path / "nowhere")


def test_a_texts_tokens_stand_after_its_prompt():
    model = tiny.shared()
    text = mark("Hauptstadt?", "Es ist Zürich.", "Zürich")
    [chat], [plain] = tokens(model, [text]), tokens(model, [text], chat=False)
    own = model.tokenizer(text.text)["input_ids"]
    assert len(own) == 15
    entity = [False] * 7 + [True] * 7 + [False]
    assert chat.ids[chat.start :] == [*own, tiny.END] and chat.entity == [*entity, False]
    assert plain.ids[plain.start :] == own and plain.entity == entity
    for found, through in ((chat, True), (plain, False)):
        assert found.ids[: found.start] == model.tokenize([text.prompt], through)["input_ids"][0].tolist()
    talk = mark([{"role": "system", "content": "Brief."}, {"role": "user", "content": "Hi"}], "Yo", "Yo")
    assert model.render([talk.prompt])[0] == model.tokenizer.decode(tokens(model, [talk])[0].ids[:-3])


def test_what_nothing_comes_before_is_not_counted():
    model = tiny.shared()
    [found] = tokens(model, [mark("", "ab", "ab")], chat=False)
    assert (found.start, found.entity, len(found.ids)) == (1, [True], 2)
    calls = {
        "needs a prompt; 'ab' has none": lambda: tokens(model, [Text("", "ab")]),
        "use chat=True, or plain prompts": lambda: tokens(
            model, [Text([{"role": "user", "content": "x"}], "ab")], chat=False
        ),
        "no token of 'a' can be predicted; put a prompt": lambda: tokens(model, [Text("", "a")], chat=False),
        "no token of the entities in 'ab' can": lambda: tokens(model, [mark("", "ab", "a")], chat=False),
        "no token of '' can": lambda: tokens(model, [Text("x", "")], chat=False),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_plain_texts_begin_as_plain_prompts_do():
    """A tokenizer with a first token of its own puts it before what gates learn from and before what is asked."""
    model = tiny.model(num_hidden_layers=1)
    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tiny.PAD)]
    )
    first, bare = tokens(model, [Text("Hi", " you"), Text("", "you")], chat=False)
    assert first.ids[:3] == model.tokenize(["Hi"], chat=False)["input_ids"][0].tolist() and first.ids[0] == tiny.PAD
    assert bare.ids[0] == tiny.PAD and bare.start == 1 and len(bare.entity) == 3
    assert tokens(model, [Text("Hi", " you")])[0].ids[0] != tiny.PAD


def test_a_batch_points_at_the_positions_before_its_tokens():
    model = tiny.shared()
    found = tokens(model, [mark("Which?", "It is Rome.", "Rome"), Text("A", "b")], chat=False)
    rows = batch(found, tiny.PAD, CPU)
    assert rows.ids[1].tolist() == found[1].ids + [tiny.PAD] * (len(found[0].ids) - 2)
    where = rows.targets.nonzero().tolist()
    assert where == [[0, p - 1] for p in range(found[0].start, len(found[0].ids))] + [[1, 0]]
    assert rows.labels.tolist() == [int(rows.ids[r, p + 1]) for r, p in where]
    assert rows.row.tolist() == [r for r, _ in where] and rows.entity.tolist() == found[0].entity + found[1].entity
    assert model.tokenizer.decode(rows.labels[rows.entity]) == "Rome"
    logits = log_softmax(model.hf(input_ids=rows.ids[1:, :2]).logits, -1)
    padded = log_softmax(model.hf(input_ids=rows.ids).logits, -1)
    assert torch.allclose(logits[0], padded[1, :2], atol=1e-4)
