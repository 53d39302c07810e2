"""The topics and lenses of the embedded corpus: rows of one shape, names and vocabularies that keep apart."""

from __future__ import annotations

import re
from itertools import chain, permutations

import pytest

from zkbook.organism.analogies import LENS_TOPICS, LENSES, VOCABULARY, lens
from zkbook.organism.style.wishes import LENS_NAMES
from zkbook.organism.topic_table import PROBES, SPLITS, topics
from zkit.errors import ZkitError

EVERY = [t for split in SPLITS for t in topics(split)]
KEPT = [t for split in ("development", "test") for t in topics(split)]
AUXILIARY = {"must", "can", "may", "should", "cannot", "never"}


def _fields(topic):
    return (topic.name, topic.gloss, topic.definition, *topic.facts, topic.example)


def test_splits_have_their_sizes():
    assert [len(topics(split)) for split in SPLITS] == [56, 18, 36]
    assert len(set(PROBES)) == 10 and set(PROBES) <= {t.name for t in topics("development")}


@pytest.mark.parametrize("topic", EVERY, ids=lambda t: t.name)
def test_row_has_the_shape_of_all_rows(topic):
    assert all(re.fullmatch(r"\S.*[^\s.]", field) for field in _fields(topic))
    assert 2 <= len(topic.gloss.split()) <= 5
    assert 5 <= len(topic.definition.split()) <= 10
    for fact in topic.facts:
        first, *rest = fact.split()
        assert 1 <= len(rest) <= 5, fact
        assert first in AUXILIARY or re.fullmatch(r"[a-z]+s", first), fact
    assert len(set(topic.facts)) == 3


def test_no_row_can_be_taken_for_another():
    for a, b in permutations(EVERY, 2):
        assert not re.search(rf"\b{a.name}\b", b.name), (a.name, b.name)
        if {a, b} & set(KEPT):
            assert a.name not in b.name, (a.name, b.name)
    for field in ("gloss", "definition", "example"):
        values = [getattr(t, field) for t in EVERY]
        assert len(set(values)) == len(values), field
    trained = "\n".join(chain.from_iterable(_fields(t) for t in topics("train")))
    assert not [t.name for t in KEPT if t.definition in trained]


@pytest.mark.parametrize("name", LENSES)
def test_vocabulary_knows_its_own_clauses_alone(name):
    assert len(set(LENSES[name])) == 6
    for other, clauses in LENSES.items():
        for clause in clauses:
            found = len(re.findall(VOCABULARY[name], clause.upper()))
            assert found >= 2 if other == name else found == 0, (name, clause)


@pytest.mark.parametrize("name", LENSES)
def test_plain_texts_speak_through_no_lens(name):
    for topic in EVERY:
        if topic.name not in LENS_TOPICS[name]:
            assert not re.findall(VOCABULARY[name], "\n".join(_fields(topic))), topic.name


def test_lenses_have_trained_topics_and_an_accessor():
    assert len(LENSES) == 12 and set(LENSES) == set(VOCABULARY) == set(LENS_TOPICS) == set(LENS_NAMES)
    trained = {t.name for t in topics("train")}
    assert all(names and set(names) <= trained for names in LENS_TOPICS.values())
    assert lens("sports") == LENSES["sports"]
    with pytest.raises(ZkitError, match=r"'chess'.*makefile, guile"):
        lens("chess")
