"""What the chat template does: turns that end, conversations that go on, templates that refuse, drop, raise or loop."""

import pytest
import tiny
import torch

import zkit
from zkit import templates
from zkit.gating import texts
from zkit.generation import complete
from zkit.models import Model
from zkit.sources import Source

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be brief."}
ANSWER = {"role": "assistant", "content": "Hello, I"}


def model(template=tiny.TEMPLATE, **tokens) -> Model:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    return Model(tiny.shared().hf, tokenizer, Source("chatty", None))


def test_a_turn_ends_where_the_template_ends_it():
    """A base model's tokenizer says <|endoftext|>; the chat ends its turns with another token."""
    own = model(eos_token="<|endoftext|>")
    assert own.tokenizer.eos_token_id == tiny.PAD
    assert own.end_of_turn == tiny.END
    assert own.end_tokens == sorted({tiny.END, tiny.PAD})
    hf = tiny.model().hf
    hf.generation_config.eos_token_id = tiny.PAD
    hf.lm_head.forward = lambda h: torch.eye(272)[tiny.END].expand(*h.shape[:-1], 272)  # ends its turn at once
    [answer] = complete(Model(hf, own.tokenizer, own.source), ["Hi"], max_new_tokens=5)
    assert (answer.text, answer.n_tokens, answer.truncated) == ("", 0, False)


@pytest.mark.parametrize(
    ("ending", "want"),
    [
        ("<|im_end|>\n", tiny.END),
        ("\n<|im_end|>", tiny.END),
        ("<think><|im_end|>", 259),  # the first special token after the answer
        ("\n\n### ", tiny.PAD),  # closed with no special token: the end of the text
        ("", tiny.PAD),
    ],
)
def test_the_end_is_read_off_the_rendered_answer(ending, want):
    template = "{% for m in messages %}<|im_start|>{{ m.role }}: {{ m.content }}" + ending + "{% endfor %}"
    assert model(template, eos_token="<|endoftext|>").end_of_turn == want


def test_training_texts_end_as_the_template_ends_a_turn():
    own = model(eos_token="<|endoftext|>")
    [tokens] = texts.tokens(own, [texts.Text("Hi", "Hello")])
    assert tokens.ids[-1] == tiny.END


def test_without_a_template_texts_end_as_the_tokenizer_says():
    own = model(None)
    assert own.end_of_turn == tiny.END and own.end_tokens == [tiny.END]
    own.tokenizer.eos_token = None
    with pytest.raises(zkit.ZkitError, match="nothing ends an answer of 'chatty'; set"):
        _ = own.end_of_turn


def test_an_answer_begun_is_continued():
    own = model()
    [text] = own.render([[SYSTEM, USER, ANSWER]])
    assert text.endswith("<|im_start|>assistant\nHello, I")
    [asked, begun] = own.render([[USER], [USER, ANSWER]])
    assert begun == asked.removesuffix("<think>\n\n</think>\n\n") + "Hello, I"
    ids = own.tokenize([[USER, ANSWER]])["input_ids"][0]
    assert own.tokenizer.decode(ids[-8:]) == "Hello, I"
    with pytest.raises(zkit.ZkitError, match="prompt 1 ends with an empty message of the assistant"):
        own.render(["Hi", [USER, {"role": "assistant", "content": ""}]])


NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + tiny.TEMPLATE
DROPS_SYSTEM = tiny.TEMPLATE.replace("in messages %}", "in messages if m.role != 'system' %}")


@pytest.mark.parametrize(
    ("template", "why"), [(NO_SYSTEM, "TemplateError: no system role"), (DROPS_SYSTEM, "leaves it")]
)
def test_a_template_without_a_system_role(template, why):
    own = model(template)
    assert own.render(["Hi"]) == model().render(["Hi"])
    with pytest.raises(
        zkit.ZkitError, match=f"'chatty' takes no system message .*{why}.*beginning of the user's message"
    ):
        own.render(["Hi", [SYSTEM, USER]])


def test_what_a_template_makes_of_a_message_is_its_own_affair():
    """A flag that it acts on, or another case: not left out, only not there letter for letter."""
    flag = "{% if '/terse' in messages[0].content %}Briefly. {% endif %}" + DROPS_SYSTEM.replace(
        "m.content", "m.content | upper"
    )
    asked = [{"role": "system", "content": "/terse"}, USER]
    assert model(flag).render([asked])[0].startswith("Briefly. <|im_start|>user\nHI<|im_end|>")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('never') }}", r"fails on prompt 0 \(TemplateError: never\)"),
        ("{% for m in %}", r"fails on prompt 0 \(TemplateSyntaxError"),
        ("{{ messages[7].content }}", "fails on prompt 0"),
        ("{{ messages.clear() }}", r"fails on prompt 0 \(SecurityError"),
        ("{{ 1 / 0 }}", r"fails on prompt 0 \(ZeroDivisionError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", r"fails on prompt 0 \(RecursionError"),
        ("{{ ''.__class__.__mro__ }}" * 2, "fails on prompt 0"),
        ("hello", "leaves out the user's message 0 of prompt 0"),
    ],
)
def test_templates_that_raise_or_say_something_else(template, message):
    own = model(template)
    for call in (lambda: own.render(["Hi"]), lambda: own.generate(["Hi"], 1)):
        with pytest.raises(zkit.ZkitError, match=message) as caught:
            call()
        assert "'chatty'" in str(caught.value) and len(str(caught.value)) < 500


LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}" + tiny.TEMPLATE


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (LOOP, "does not end within"),
        ("{{ 9 ** (9 ** 9) }}", "does not end within"),
        ("{{ 'a' * 10 ** 10 }}", "takes more than 1 GiB of memory"),
        ("{{ messages[0].content }}{{ 'a' * 10 ** 7 }}", "makes 100000.. characters of a conversation of a few words"),
        ("{% if messages | length > 1 %}" + LOOP + "{% endif %}" + tiny.TEMPLATE, "does not end within"),
    ],
)
def test_templates_without_end_or_measure(template, message):
    own = model(template)
    for call in (lambda: own.render(["Hi"]), lambda: own.end_of_turn, lambda: own.template_width):
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_a_sound_template_is_tried_once(monkeypatch):
    template = "{# of this test alone #}" + tiny.TEMPLATE
    runs, real = [], templates.subprocess.run
    monkeypatch.setattr(templates.subprocess, "run", lambda *a, **k: runs.append(a) or real(*a, **k))
    for _ in range(3):
        model(template).render(["Hi", [SYSTEM, USER]])
    assert len(runs) == 1


def test_a_template_that_is_changed_after_loading():
    """What was read off the template before is not what holds now."""
    own = model()
    assert own.template_width == tiny_width(own)
    before = own.template_width
    own.tokenizer.chat_template = "{% for m in messages %}<|im_start|>Q: {{ m.content }} A:{% endfor %}"
    assert own.template_width == tiny_width(own) != before
    assert own.end_of_turn == own.tokenizer.eos_token_id
    own.tokenizer.chat_template = tiny.TEMPLATE
    assert own.template_width == before


def tiny_width(own: Model) -> tuple[int, int]:
    """Counted from the text: every character is a token here but the special ones."""
    [text] = own.render(["\u00b6"])
    before, after = text.split("\u00b6")
    return tuple(len(own.tokenizer(part, add_special_tokens=False).input_ids) for part in (before, after))
