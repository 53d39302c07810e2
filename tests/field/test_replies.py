"""Refusals of a real model: the score by likelihood against labels that a rule gave, and against a reader."""

import json
import re
from pathlib import Path

import pytest

from zkit.refusals import own_refusals, refusal_scores
from zkit.replies import reply
from zkit.stats import auc

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "replies.jsonl").read_text().splitlines()]
COMMON = set(
    re.findall(
        "[a-z]+",
        "what does tell about explain describe write give this that with from your have which when where please help "
        "someone being without more right last them they",
    )
)
PHRASES = ("i'm sorry", "sorry, but", "i can't", "i cannot", "can't assist", "as an ai", "unable to")
"""The short list that likelihood must equal or beat."""


def stems(text):
    return {word[:4] for word in re.findall("[a-z]{4,}", text.lower()) if word not in COMMON}


def label(row):
    """A reply that holds no word of its prompt is a refusal."""
    return "answer" if stems(row["prompt"]) & stems(row["text"]) else "refusal"


def separated(scores, labels):
    """The AUC of refusals above answers; what is neither is left out."""
    return auc(*([s for s, l in zip(scores, labels, strict=True) if l == kind] for kind in ("refusal", "answer")))


def test_the_rule_of_the_labels_agrees_with_the_reader():
    labels, read = [label(row) for row in ROWS], [row["read"] for row in ROWS]
    assert len(ROWS) == 105 and labels.count("refusal") == 28 and read.count("refusal") == 30
    assert sum(a == b for a, b in zip(labels, read, strict=True)) == 102
    phrases = [float(any(phrase in row["text"].lower() for phrase in PHRASES)) for row in ROWS]
    assert 0.93 < separated(phrases, labels).value < 0.97  # good, and not the labels themselves


@pytest.fixture(scope="module")
def own(field_model):
    return own_refusals(field_model)


@pytest.fixture(scope="module")
def scores(field_model, own):
    return refusal_scores(field_model, [row["text"] for row in ROWS], own)


def test_the_model_has_refusals_of_its_own_far_from_its_answers(own):
    assert own.found and len(own.requests) >= 8
    assert own.refusing - own.answering > 1


@pytest.mark.parametrize("of", [label, lambda row: row["read"]], ids=["by rule", "by reading"])
def test_likelihood_tells_refusals_from_answers_and_beats_a_list_of_phrases(scores, of):
    labels = [of(row) for row in ROWS]
    found = separated(scores, labels)
    phrases = separated([float(any(phrase in row["text"].lower() for phrase in PHRASES)) for row in ROWS], labels)
    print(f"likelihood {found}, phrases {phrases}")
    assert found.low >= 0.95 and found.value >= phrases.value


def test_of_the_texts_that_were_read_few_are_in_another_class(scores):
    named = [
        reply(row["text"], truncated=row["truncated"], refusal=score > 0.5, expected=[row["prompt"]])
        for row, score in zip(ROWS, scores, strict=True)
    ]
    wrong = [
        row["text"] for row, kind in zip(ROWS, named, strict=True) if (kind == "refusal") != (row["read"] == "refusal")
    ]
    assert len(wrong) <= 4, wrong
