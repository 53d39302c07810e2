"""Measures of a text by itself, against counting, brute force and a reference loop."""

import math

import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.steering import steer
from zkit.steering.texts import (
    longest_repeat,
    markdown,
    sentences,
    surprise,
    topic_cosines,
    words,
)
from zkit.steering.vectors import SteeringVector

few_words = st.lists(st.sampled_from(["a", "b", "c", "A"]), max_size=14).map(" ".join)


@few
@given(few_words)
def test_the_longest_repeat_is_the_one_that_brute_force_finds(text):
    found = text.lower().split()
    lengths = [
        n
        for i in range(len(found))
        for j in range(i + 1, len(found))
        for n in range(1, len(found) - j + 1)
        if found[i : i + n] == found[j : j + n]
    ]
    assert longest_repeat(text) == max(lengths, default=0)


def test_the_longest_repeat_of_known_texts():
    assert longest_repeat("a lock is a lock is a lock") == 5
    assert longest_repeat("one two. One two. three") == 2
    assert longest_repeat("all words differ here") == longest_repeat("") == 0


def test_words_and_sentences():
    assert (words(" A lock.  Why? "), sentences(" A lock.  Why? ")) == (3, 2)
    assert (words(""), sentences("")) == (0, 0)


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("plain text, 3 * 4 - 2 = 10", 0),
        ("# Title\n## Part\ntext", 2),
        ("- one\n* two\n+ three\n1. four\n  - five", 5),
        ("> quoted\n```\ncode\n```", 3),
        ("**bold** and `code` and **more**", 3),
        ("-5 degrees; 1.5 metres", 0),
        ("", 0),
    ],
)
def test_markdown_marks_are_counted(text, marks):
    assert markdown(text) == marks


REFERENCES = ["A lock that lets one thread in", "A river that runs to the sea", "A pressed sheet of fibre"]


def test_topic_cosines_are_one_for_the_same_and_zero_for_other_words():
    assert topic_cosines(REFERENCES, REFERENCES) == pytest.approx([1, 1, 1])
    assert topic_cosines([text.upper() + "!" for text in REFERENCES], REFERENCES) == pytest.approx([1, 1, 1])
    assert topic_cosines(["quite else", "", "..."], REFERENCES) == [0.0, 0.0, 0.0]
    rotated = topic_cosines(REFERENCES[1:] + REFERENCES[:1], REFERENCES)
    assert all(0 < value < 0.1 for value in rotated)  # they share "a", and two of them "that"


def test_a_word_that_all_references_hold_says_almost_nothing():
    everywhere, own = topic_cosines(["a", "river"], ["a lock", "a river"])
    assert everywhere < 0.5 < own
    many = [f"a w{i}" for i in range(50)]
    assert topic_cosines(["a", *many[1:]], many)[0] < 0.01
    assert topic_cosines(["w0", *many[1:]], many)[0] > 0.99


@few
@given(st.lists(few_words, min_size=2, max_size=5), st.data())
def test_topic_cosines_are_cosines_of_tf_idf(references, data):
    texts = data.draw(st.lists(few_words, min_size=len(references), max_size=len(references)))
    n, letters = len(references), ["a", "b", "c"]
    bags = [text.lower().split() for text in references]
    idf = torch.tensor([math.log((1 + n) / max(1, sum(w in bag for bag in bags))) for w in letters])

    def row(text):
        return torch.tensor([float(text.lower().split().count(w)) for w in letters]) * idf

    want = [float(torch.cosine_similarity(row(a), row(b), dim=0)) for a, b in zip(texts, references, strict=True)]
    assert topic_cosines(texts, references) == pytest.approx(want, abs=1e-5)


def test_topic_cosines_refused():
    with pytest.raises(zkit.ZkitError, match="2 texts but 3 references"):
        topic_cosines(["a", "b"], REFERENCES)
    with pytest.raises(zkit.ZkitError, match="at least two"):
        topic_cosines(["a"], ["a"])


def test_surprise_is_minus_the_mean_log_probability():
    model = tiny.shared()
    prompts, written = ["Hi", "Explain what a mutex is.", "Hi", "Why"], ["a lock", "", "!", "because of the moon"]
    found = surprise(model, prompts, written)
    assert found[1] is None
    for i in (0, 2, 3):
        [ids] = reference.rows(model, [prompts[i]])
        tail = model.tokenizer(written[i])["input_ids"]
        log_p = reference.logits(model, ids + tail, len(ids)).log_softmax(-1)
        loop = [float(log_p[len(ids) + t - 1, token]) for t, token in enumerate(tail)]
        assert found[i] == pytest.approx(-sum(loop) / len(loop), abs=1e-4)
    assert surprise(model, ["Hi"], [""]) == [None]
    with pytest.raises(zkit.ZkitError, match="4 prompts but 1 texts"):
        surprise(model, prompts, ["a lock"])
    with steer(model, SteeringVector({1: reference.random_vector(model, 0, 9.0)})):
        assert surprise(model, prompts, written)[0] != pytest.approx(found[0], abs=1e-2)


def test_what_a_model_wrote_surprises_it_less_than_what_it_did_not():
    model = zkit.load()
    prompts = ["Explain what a mutex is.", "What is a volcano?"]
    own = model.generate(prompts, 40)
    other = surprise(model, prompts, own[::-1])
    assert all(a < b - 0.5 for a, b in zip(surprise(model, prompts, own), other, strict=True))
