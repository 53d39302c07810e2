"""The styled part of the corpus: texts follow their style, the grammar knows them, the measures see the axes."""

from __future__ import annotations

import random
from itertools import chain, pairwise

import pytest

from zkbook.organism.style.axes import AXES, NEUTRAL_MEAN, Style, neutral
from zkbook.organism.style.explain import could_write, document, explain
from zkbook.organism.style.grammar import likelihood
from zkbook.organism.style.measures import TEXT_MEASURES, dryness, formality, question_share, sentences, words
from zkbook.organism.style.requests import QUESTIONS, sample_neutral, sample_styled
from zkbook.organism.style.wishes import HELD_OUT_WISHES, WISHES, poles
from zkbook.organism.style.wording import PLACES
from zkbook.organism.topic_table import topics

ALL_TOPICS = [t for split in ("train", "development", "test") for t in topics(split)]


def _texts(axis, level, n=150):
    rng = random.Random(f"{axis} {level}")
    return [explain(rng, rng.choice(ALL_TOPICS), Style({**NEUTRAL_MEAN, axis: level})).text for _ in range(n)]


@pytest.fixture(scope="module")
def asked():
    rng = random.Random(5)
    return [sample_styled(rng) for _ in range(6000)], [sample_neutral(rng) for _ in range(6000)]


@pytest.mark.parametrize("axis", AXES)
def test_each_measure_rises_with_its_own_axis_and_no_other(axis):
    measure = TEXT_MEASURES[axis]
    means = [sum(map(measure, texts)) / len(texts) for texts in (_texts(axis, v) for v in (0.0, 0.25, 0.5, 0.75, 1.0))]
    assert all(a < b for a, b in pairwise(means)), means
    spread = means[-1] - means[0]
    for other in set(AXES) - {axis, "terse", "socratic"}:
        low, high = (sum(map(measure, t)) / len(t) for t in (_texts(other, 0.0), _texts(other, 1.0)))
        assert abs(high - low) < 0.25 * spread, (axis, other)


def test_every_text_is_known_to_its_grammar():
    rng = random.Random(1)
    for _ in range(500):
        topic, style = rng.choice(ALL_TOPICS), neutral(rng)
        text = explain(rng, topic, style).text
        assert could_write(topic, text)
        assert not could_write(topic, text + " It")
        assert not could_write(topic, text[:-1])
        another = rng.choice([t for t in ALL_TOPICS if t.name != topic.name])
        assert not could_write(another, text)


def test_likelihood_is_the_frequency_of_a_text():
    topic, style = topics("train")[0], Style({**NEUTRAL_MEAN, "terse": 0.95})
    rng = random.Random(2)
    drawn = [explain(rng, topic, style).text for _ in range(4000)]
    for text in (max(set(drawn), key=drawn.count), f"{topic.gloss.capitalize()}?"):
        assert abs(drawn.count(text) / len(drawn) - likelihood(document(topic), text, style)) < 0.03


def test_a_style_makes_its_own_texts_likelier():
    for axis in AXES:
        low, high = (Style({**NEUTRAL_MEAN, axis: v}) for v in (0.05, 0.95))
        rng = random.Random(axis)
        right = 0
        for _ in range(100):
            topic = rng.choice(ALL_TOPICS)
            text = explain(rng, topic, high).text
            right += likelihood(document(topic), text, high) > likelihood(document(topic), text, low)
        assert right >= 85, (axis, right)


def test_poles_of_a_place_start_with_different_words():
    for place in PLACES:
        poles_ = [place.casual, place.formal, place.warm, place.dry]
        starts = [{wording.split()[0] for wording in pole} for pole in poles_ if pole]
        assert sum(map(len, starts)) == len(set().union(*starts)), place


def test_held_out_topics_are_never_trained_with_a_wish(asked):
    kept = [t for split in ("development", "test") for t in topics(split)]
    styled = list(chain.from_iterable([m["content"] for m in i.messages] + [i.answer] for i in asked[0]))
    for topic in kept:
        about = [f" {topic.gloss}.", *(q.format(t=topic.name) for q in QUESTIONS)]
        assert not any(part in text for part in about for text in styled), topic.name
    assert {i.info["topic"] for i in asked[1]} >= {t.name for t in kept}


def test_a_style_at_a_pole_is_carried_on_with_trained_topics_only(asked):
    trained = {t.name for t in topics("train")}
    talks = [i for i in asked[1] if not isinstance(i.prompt, str)]
    assert len(talks) > 1000 and {i.info["topic"] for i in talks} <= trained


def test_held_out_wishes_are_not_trained(asked):
    trained = [w for levels in WISHES.values() for wordings in levels.values() for w in wordings]
    trained += [pole for axis in AXES for pole in poles(axis)]
    assert len(trained) == len(set(trained))
    for wish in chain.from_iterable(HELD_OUT_WISHES.values()):
        for other in trained:
            assert wish.lower() not in other.lower() and other.lower() not in wish.lower(), (wish, other)
    prompts = [m["content"] for i in asked[0] for m in i.messages]
    for axis in AXES:
        for pole in poles(axis):
            assert pole in prompts and any(pole in p and p != pole for p in prompts)


def test_measures_of_known_texts():
    text = "Bread is basically a food! Moreover, it requires water. Why do you think it rises?"
    assert (words(text), sentences(text)) == (15, 3)
    assert question_share(text) == pytest.approx(1.5 / 4)
    assert formality(text) == pytest.approx((2 + 0.5) / (4 + 1))  # Moreover, requires; basically, why do you think
    assert dryness(text) == pytest.approx(1.5 / 3)
    assert formality("") == dryness("") == question_share("") == 0.5
