"""Which tokens belong to messages and not to the template, and which are massive."""

import copy

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.tokens import MASSIVE, inside, massive

texts = st.text(max_size=12) | st.sampled_from(
    ["user", "<|im_start|>user\n", "s", "\n", " ", "<think>\n\n</think>\n\n", "assistant", "<|im_end|>", "é"]
)
talks = st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), texts), min_size=1, max_size=4)
talks = talks.filter(lambda talk: talk[-1] != ("assistant", ""))  # there is nothing to go on with


def expected(model, messages):
    """Tokens of each part of the prompt, tokenized part by part: the template's, and the messages'."""
    parts = []
    for role, content in messages:
        parts += [(f"<|im_start|>{role}\n", False), (content, True), ("<|im_end|>\n", False)]
    if messages[-1][0] == "assistant":  # the model goes on with that message
        parts.pop()
    else:
        parts.append(("<|im_start|>assistant\n<think>\n\n</think>\n\n", False))
    return [own for text, own in parts for _ in model.tokenizer(text, add_special_tokens=False)["input_ids"]]


@few
@given(st.lists(talks | texts, min_size=1, max_size=3))
def test_the_mask_is_the_messages_whatever_they_say(prompts):
    model = tiny.shared()
    mask = model.content_mask([p if isinstance(p, str) else as_talk(p) for p in prompts])
    for row, prompt in zip(mask, prompts, strict=True):
        want = expected(model, [("user", prompt)] if isinstance(prompt, str) else prompt)
        assert row.tolist() == [False] * (len(row) - len(want)) + want


def as_talk(pairs):
    return [{"role": role, "content": content} for role, content in pairs]


def test_the_mask_of_the_embedded_model_holds_the_tokens_of_the_message():
    model, prompts = zkit.load(), ["Hi", "How does bread rise?", as_talk([("system", "Be brief."), ("user", "Why?")])]
    ids, mask = model.tokenize(prompts)["input_ids"], model.content_mask(prompts)
    found = [model.tokenizer.decode(row[own]) for row, own in zip(ids, mask, strict=True)]
    assert found == ["Hi", "How does bread rise?", "Be brief.Why?"]


def test_without_a_template_every_token_is_content():
    model = tiny.shared()
    assert torch.equal(model.content_mask(["ab", "c"], chat=False), torch.tensor([[True, True], [False, True]]))


def with_template(template):
    model = tiny.model()
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = template
    return zkit.Model(model.hf, tokenizer, model.source)


START = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
END = "<|im_end|>\n{% endfor %}"


@pytest.mark.parametrize(
    ("template", "content", "message"),
    [
        (START + "{{ m.content | upper }}" + END, "Hi there", "does not leave the message 'Hi there' of prompt 0"),
        (START + "{{ m.content }}{{ m.content }}" + END, "Hi", "does not leave the message 'Hi' of prompt 0"),
        (START + "{{ m.content }}{% if 'x' in m.content %}!{% endif %}" + END, "x", "because of what they say"),
    ],
)
def test_a_template_that_changes_messages_is_refused_by_name(template, content, message):
    model = with_template(template)
    with pytest.raises(zkit.ZkitError, match=message):
        zkit.record(model, [content])
    assert zkit.record(model, [content], positions="all").isfinite().all()
    assert zkit.record(model, [content], chat=False, first_token=True).isfinite().all()


def test_white_space_that_a_template_strips_belongs_to_nobody():
    model = with_template(START + "{{ m.content | trim }}" + END)
    assert model.content_mask(["  a b\n"]).sum() == 3
    assert model.content_mask([as_talk([("user", " a"), ("assistant", "b ")])]).sum() == 2


def test_messages_may_come_in_another_order_than_they_were_given():
    model = with_template("{% for m in messages | reverse %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}")
    talk = as_talk([("system", "abc"), ("user", "de")])
    ids, mask = model.tokenize([talk])["input_ids"][0], model.content_mask([talk])[0]
    assert model.tokenizer.decode(ids[mask]) == "deabc"


def test_tokens_over_the_edge_of_a_message():
    """The message is 'word' and a newline: a space before it is of its word, a double newline is not."""
    text, message = "[A] word\n\n[B]", [(4, 9)]
    assert inside(text, [(0, 3), (3, 8), (8, 10), (10, 13)], message) == [False, True, False, False]
    assert inside(text, [(4, 8), (8, 9), (9, 10), (3, 4), (0, 0)], message) == [True, True, False, False, False]
    assert inside(text, [(2, 8)], message) == [False]  # holds a bracket of the template


@few
@given(st.integers(2, 12), st.integers(0, 3), st.integers(0, 99))
def test_massive_is_many_times_the_median_of_the_rows_own_tokens(n, pads, seed):
    norms = torch.rand(3, n + pads, generator=torch.Generator().manual_seed(seed)) * 20
    real = torch.ones(3, n + pads, dtype=torch.bool)
    real[:, :pads] = False
    norms[:, :pads] = torch.tensor([1e9, torch.nan, 0.0])[:, None]
    found = massive(norms, real)
    for row, flags in zip(norms[:, pads:], found[:, pads:], strict=True):
        assert flags.tolist() == (row > MASSIVE * row.median()).tolist()
    assert not found[:, :pads].any()


def test_a_state_that_is_not_finite_is_not_called_massive():
    norms = torch.tensor([[torch.inf, torch.nan, 1.0, 1.0, 1.0, 9.0]])
    assert massive(norms, torch.ones(1, 6, dtype=torch.bool)).tolist() == [[False] * 5 + [True]]


def test_an_anatomy_is_one_row_for_each_prompt_token_and_layer():
    model = tiny.model()
    [x] = model.tokenizer("x")["input_ids"]
    model.hf.get_input_embeddings().weight[x] *= 100
    prompts = ["axb", as_talk([("system", "x"), ("user", "hi")])]
    table = zkit.anatomy(model, prompts, layers=[2, 0], batch_size=1)
    assert list(table.columns) == ["prompt", "token", "text", "layer", "norm", "massive", "template"]
    states = zkit.token_states(model, prompts, layers=[2, 0])
    assert len(table) == 2 * sum(map(len, states))
    for prompt, rows in enumerate(states):
        for i, layer in enumerate((2, 0)):
            part = table[(table["prompt"] == prompt) & (table["layer"] == layer)]
            norms = rows[:, i].norm(dim=-1)
            assert part["token"].tolist() == list(range(len(rows)))
            assert part["norm"].tolist() == pytest.approx(norms.tolist(), rel=1e-5)
            assert part["massive"].tolist() == (norms > MASSIVE * norms.median()).tolist()
            assert part.loc[part["massive"], "text"].tolist() == ["x"]
            own = "".join(part.loc[~part["template"], "text"])
            assert own == ("axb", "xhi")[prompt]
    assert len(zkit.anatomy(model, ["a"])) == 4 * len(zkit.token_states(model, ["a"])[0])
