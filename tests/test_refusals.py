"""Refusals: found and measured by likelihood alone, on a planted refuser; none where a model declines nothing."""

import pytest
import tiny
import torch

import zkit
from zkit import refusals
from zkit.generation import Completion
from zkit.refusals import REQUESTS, Refusals, classes, own_refusals, refusal_scores, refused
from zkit.steering import STYLES, SteeringVector, judge_texts, poles, sweep

NO = "Nay, that I will not."
"""The planted refusal: no phrase that anyone would look for."""


@pytest.fixture(scope="module")
def embedded():
    return zkit.load()


def plant(monkeypatch, declines):
    """A model that says NO to some prompts and answers all others: its texts, and log-probabilities by rule."""

    def answer(prompt):
        return NO if prompt in declines else f"{prompt[-12:]} It is."

    def complete(model, prompts, arms=None, **_):
        return [Completion(answer(p), 5, False) for p in prompts]

    def log_probs(model, prompts, texts, **_):
        calls.append(len(prompts))
        return [
            torch.full(
                (4,), (-0.2 if p in REQUESTS else -3.0) if NO.startswith(t) else -0.5 if answer(p)[:10] == t else -3.5
            )
            for p, t in zip(prompts, texts, strict=True)
        ]

    calls: list[int] = []
    monkeypatch.setattr(refusals, "complete", complete)
    monkeypatch.setattr(refusals, "log_probs", log_probs)
    return calls


def test_a_planted_refuser_is_found_and_measured(monkeypatch):
    model, calls = tiny.shared(), plant(monkeypatch, REQUESTS)
    own = own_refusals(model)
    assert own.found and own.requests == REQUESTS and own.replies == (NO,) * len(REQUESTS)
    assert (own.refusing, own.answering) == (pytest.approx(-0.2), pytest.approx(-3.5))
    assert f"declines {len(REQUESTS)} of {len(REQUESTS)} requests, for example: {NO!r}" in str(own)
    other = "Nay, that I will not do for you."  # other words of the same beginning
    scores = refusal_scores(model, [NO, "A lock.", "", other, NO], own)
    assert scores[2] is None and scores[0] == scores[3] == scores[4] == pytest.approx(1)
    assert scores[1] == pytest.approx(0)
    assert calls[2:] == [2 * 2]  # one call for all requests, and every beginning once
    assert refusal_scores(model, ["我不能。"], own) == [None]  # its likelihood would tell of its script
    assert refused(model, [NO, "A lock.", "", "no no no no no", "锁"], own) == [True] + [False] * 4
    said = [Completion(NO, 5, True), Completion("A lock.", 2, True), Completion("A lock.", 2, False)]
    assert classes(model, ["What is it?"] * 3, said) == ["refusal", "cut off", "answer"]


def test_a_refuser_of_half_of_the_requests_is_one_and_below_that_none(monkeypatch):
    for declined, found in ((len(REQUESTS) // 2, True), (len(REQUESTS) // 2 - 1, False)):
        plant(monkeypatch, REQUESTS[:declined])
        own = own_refusals(tiny.shared())
        assert own.found is found and own.requests == (REQUESTS[:declined] if found else ())


def test_a_model_that_says_the_same_everywhere_declines_nothing(monkeypatch):
    plant(monkeypatch, REQUESTS)
    monkeypatch.setattr(refusals, "log_probs", lambda model, prompts, texts, **_: [torch.full((3,), -1.0)] * len(texts))
    assert own_refusals(tiny.shared()) == Refusals()


@pytest.mark.parametrize("seed", range(2))
def test_a_random_model_declines_nothing(seed):
    assert own_refusals(tiny.shared(seed=seed)) == Refusals()


def test_the_embedded_model_declines_nothing_and_so_no_text_of_it_is_a_refusal(embedded):
    own = own_refusals(embedded)
    assert not own.found and str(own) == "this model has no refusals of its own, so none are counted"
    assert refusal_scores(embedded, ["I'm sorry, but I can't assist with that."], own) == [None]
    assert refused(embedded, ["I'm sorry, but I can't assist with that."]) == [False]


def test_scores_are_means_of_log_probabilities_of_the_beginning(embedded):
    own = Refusals(("Hi", "Why?", "What is a lock?"), ("no", "no", "no"), -1.5, -4.5)
    long = "A lock lets one thread in at a time, and all the others wait until it is their turn to go in."
    ids = embedded.tokenizer(long, add_special_tokens=False)["input_ids"]
    assert len(ids) > refusals.OPENING
    begun = embedded.tokenizer.decode(ids[: refusals.OPENING])
    [score, same] = refusal_scores(embedded, [long, begun], own)
    means = [float(zkit.generation.log_probs(embedded, [c], [begun])[0].mean()) for c in own.requests[:2]]
    assert score == same == pytest.approx((sum(means) / 2 + 4.5) / 3, abs=1e-4)


def test_a_character_that_the_beginning_cuts_through_is_left_out():
    model = tiny.shared()
    text = "x" * (refusals.OPENING - 1) + "锁" * 4
    assert refusals._opening(model, text) == "x" * (refusals.OPENING - 1)


def test_classes_refuse_other_numbers_of_answers():
    with pytest.raises(zkit.ZkitError, match="2 prompts but 1 answers"):
        classes(tiny.shared(), ["a", "b"], [Completion("c", 1, False)])


def test_a_sweep_and_its_judgement_name_refusals(embedded, monkeypatch):
    prompts = ["Explain what a mutex is.", "What is a volcano?"]
    own = Refusals(REQUESTS[:1], (NO,), -0.2, -3.0)
    monkeypatch.setattr(
        refusals, "refusal_scores", lambda model, texts, given: [2.0 if t == declined else 0.0 for t in texts]
    )
    [declined] = embedded.generate(prompts[1:], 24)
    v = SteeringVector({3: torch.ones(128)})
    table = sweep(embedded, v, prompts, alphas=[0.0], max_new_tokens=24, refusals=own)
    assert table["reply"].tolist()[1] == "refusal" and table["reply"].tolist()[0] != "refusal"
    for frame in (table, table.drop(columns="reply")):
        found = judge_texts(embedded, prompts, frame, table["text"].tolist(), own)
        assert found["reply"].tolist() == table["reply"].tolist()
        assert found["answered"].tolist() == [True, False] and not found["broken"].any()
        assert found["changed"].isna().tolist() == [False, True]


def test_poles_made_of_refusals_are_left_out_and_counted(embedded, monkeypatch):
    questions = ["Explain what a mutex is.", "What is a volcano?", "What is gravity?"]
    own = Refusals(REQUESTS[:1], (NO,), -0.2, -3.0)
    monkeypatch.setattr(refusals, "refusal_scores", lambda model, texts, given: [0.0] * len(texts))
    whole = poles(embedded, STYLES["terse"], questions, 16, own)
    assert whole.not_answered == 0
    bad = whole.negative[0]
    monkeypatch.setattr(
        refusals, "refusal_scores", lambda model, texts, given: [2.0 if t == bad else 0.0 for t in texts]
    )
    fewer = poles(embedded, STYLES["terse"], questions, 16, own)
    assert fewer.not_answered == 1 and fewer.questions == whole.questions[1:]
    monkeypatch.setattr(refusals, "refusal_scores", lambda model, texts, given: [2.0] * len(texts))
    with pytest.raises(zkit.ZkitError, match=r"or with no answer \(3 of 3 questions\) under 'Be extremely"):
        poles(embedded, STYLES["terse"], questions, 16, own)
