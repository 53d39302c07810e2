"""The scorecard: layer roles, norms, what becomes of texts, phases; preference; and the recommendation they lead to."""

import math
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
import reference
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from test_laws_sink import SIZE, direction, planted
from test_recording import row_states

import zkit
from zkit import steering
from zkit.generation import log_probs
from zkit.steering import (
    STYLES,
    SteeringVector,
    Style,
    actadd,
    alpha_for,
    bands,
    contrasts,
    diagnose,
    dose,
    edits,
    geometry,
    judge_texts,
    outcomes,
    phases,
    poles,
    preference,
    random_like,
    reference_norms,
    stability,
    steer,
    sweep,
)
from zkit.steering.apply import NEUTRAL
from zkit.steering.scorecard import QUESTIONS
from zkit.steering.texts import COLLAPSE, SAFE, surprise, topic_cosines

NEVER = math.inf


def test_the_published_model_has_the_published_bands():
    assert bands(28) == {
        "early": list(range(8)),
        "middle": [12, 13, 14, 15, 16, 17],
        "late": [18, 19, 20, 21, 22],
        "end": [23, 24, 25, 26, 27],
    }
    assert bands(10) == {"early": [0, 1, 2], "middle": [4, 5], "late": [6, 7], "end": [8, 9]}
    assert list(bands(1)) == ["early", "middle", "late", "end"]


@few
@given(st.integers(1, 120))
def test_each_layer_has_at_most_one_role_and_roles_follow_depth(n):
    found = bands(n)
    layers = [l for role in found.values() for l in role]
    assert layers == sorted(set(layers)) and set(layers) <= set(range(n))
    assert n < 4 or (0 in found["early"] and n - 1 in found["end"])
    edges = {"early": (0, 8), "middle": (12, 18), "late": (18, 23), "end": (23, 28)}
    for role, (low, high) in edges.items():
        assert found[role] == [l for l in range(n) if low * n <= 28 * (l + 0.5) < high * n]


def test_geometry_is_what_plain_hooks_say():
    model, v = tiny.shared(), actadd(tiny.shared(), "terse", [0, 2, 3])
    deltas = contrasts(model, ["a", "bc", "d"], ["e", "f", "gh"], v.layers)
    table = geometry(model, v, deltas)
    norms = [row_states(model, ids).norm(dim=-1) for ids in reference.rows(model, NEUTRAL)]
    before, after = model.template_width
    assert table["layer"].tolist() == [0, 2, 3]
    for i, row in enumerate(table.itertuples()):
        l = row.layer
        others = sorted(float(x) for rows in norms for x in rows[before:-after, l])
        firsts = sorted(float(rows[0, l]) for rows in norms)
        every = [float(x) for rows in norms for x in rows[:, l]]
        assert row.first_norm == pytest.approx(firsts[(len(firsts) - 1) // 2], rel=1e-4)
        assert row.usual_norm == pytest.approx(others[(len(others) - 1) // 2], rel=1e-4)
        assert row.mean_norm == pytest.approx(sum(every) / len(every), rel=1e-4)
        assert row.n_massive == 0
        assert row.vector_norm == pytest.approx(v.norms[l], rel=1e-6)
        assert row.snr == pytest.approx(row.vector_norm / row.mean_norm, rel=1e-6)
        assert row.dose_per_alpha == pytest.approx(dose(1.0, v.at(l), reference_norms(model)), rel=1e-5)
        assert row.stability == pytest.approx(float(stability(deltas)[i]), abs=1e-6)
    assert "stability" not in geometry(model, v)


def test_a_planted_sink_moves_the_published_norm_and_not_the_usual_one():
    model, v = tiny.shared(), actadd(tiny.shared(), "terse")
    plain = geometry(model, v)
    with planted(model, direction(model)):
        sunk = geometry(model, v)
    tokens = [len(ids) for ids in reference.rows(model, NEUTRAL)]
    assert (sunk["first_norm"] > 0.9 * SIZE).all()
    assert sunk["n_massive"].tolist() == [1.0] * model.n_layers
    assert (sunk["usual_norm"] < 2.5 * plain["usual_norm"]).all()
    assert sunk["usual_norm"][0] == plain["usual_norm"][0]
    share = SIZE * len(tokens) / sum(tokens)
    assert ((sunk["mean_norm"] - plain["mean_norm"]) / share).between(0.9, 1.1).all()
    assert (sunk["snr"] < 0.1 * plain["snr"]).all()


def frame_of(texts, prompts=(0, 1, 2), layer=1, alpha=1.0):
    return pd.DataFrame([{"layer": layer, "alpha": alpha, "dose": alpha, "prompt": p} for p in prompts]).assign(
        text=list(texts)
    )


ASKED = ["Explain what a mutex is.", "What is a volcano?", "What is gravity?"]


@pytest.fixture(scope="module")
def embedded():
    return zkit.load()


def test_judged_texts_have_their_measures_beside_the_unsteered_answers(embedded):
    unsteered = embedded.generate(ASKED, 40)
    assert not unsteered[2].endswith("!")
    gibberish = "lock volcano **zq** river the the of mutex"
    table = pd.concat(
        [
            frame_of(unsteered),
            frame_of([unsteered[0], "", gibberish], alpha=2.0),
            frame_of([unsteered[2], "go go go go go", unsteered[2][:-1] + "!"], (2, 1, 2), 4),
        ],
        ignore_index=True,
    )
    found = judge_texts(embedded, ASKED, table, unsteered)
    new = (
        "surprise surprise_gain reply answered broken changed sentences longest_repeat markdown distinct_2 topic_cosine"
    )
    assert list(found.columns) == [*table.columns, *new.split()] and "changed" not in table
    assert found["reply"].tolist() == ["answer"] * 4 + ["empty", "incoherent", "answer", "repetition", "answer"]
    assert found["broken"].tolist() == [False] * 4 + [True, True, False, True, False]
    assert found["answered"].tolist() == (~found["broken"]).tolist()
    assert found["changed"].fillna(False).tolist() == [False] * 8 + [True]
    assert found["changed"].isna().tolist() == found["broken"].tolist()
    own = surprise(embedded, ASKED, unsteered)
    assert found["surprise"][:3].tolist() == pytest.approx(own, abs=1e-4)
    assert found["surprise_gain"][:4].tolist() == pytest.approx([0] * 4, abs=1e-4)
    assert found["surprise"].isna().tolist() == [False] * 4 + [True] + [False] * 4
    assert found["surprise_gain"][5] > COLLAPSE and found["distinct_2"][5] == 1.0  # broken by surprise alone
    [gain] = surprise(embedded, ASKED[2:], [gibberish])
    assert found["surprise_gain"][5] == pytest.approx(gain - own[2], abs=1e-4)
    assert found["topic_cosine"][:3].tolist() == pytest.approx([1] * 3)
    assert found["topic_cosine"][4] == 0 and found["topic_cosine"][7] == 0
    assert found["topic_cosine"][3:6].tolist() == topic_cosines(found["text"][3:6].tolist(), unsteered)
    assert (found["longest_repeat"][7], found["markdown"][5], found["markdown"][0]) == (4, 1, 0)


def test_judged_texts_do_not_depend_on_the_index_of_the_frame(embedded):
    unsteered = embedded.generate(ASKED, 24)
    table = pd.concat([frame_of(unsteered[::-1]), frame_of(unsteered, alpha=2.0)], ignore_index=True)
    want = judge_texts(embedded, ASKED, table, unsteered)["topic_cosine"].tolist()
    for index in ([0] * 6, [9, 8, 7, 6, 5, 4]):
        assert judge_texts(embedded, ASKED, table.set_axis(index), unsteered)["topic_cosine"].tolist() == want
    assert want[3:] == pytest.approx([1, 1, 1]) and want[0] < 0.5


def test_judging_refuses_other_numbers_of_answers(embedded):
    with pytest.raises(zkit.ZkitError, match="3 prompts but 2 un-steered answers"):
        judge_texts(embedded, ASKED, frame_of(["a", "b", "c"]), ["a", "b"])
    with pytest.raises(zkit.ZkitError, match="at least two"):
        judge_texts(embedded, ASKED[:1], frame_of(["a"], [0]), ["b"])


def judged(rows):
    """Rows of layer, dose, prompt, changed, and whether it is broken or what other class it has."""
    table = pd.DataFrame(rows, columns=["layer", "dose", "prompt", "changed", "reply"])
    table["reply"] = table["reply"].replace({True: "repetition", False: "answer"})
    table["answered"], table["broken"] = table["reply"] == "answer", table["reply"] == "repetition"
    table["changed"] = table["changed"].astype("boolean").where(table["answered"])
    return table


def test_phases_of_a_frame_made_by_hand():
    doses, changes_at = [0.1, 0.2, 0.4], {0: 0.1, 1: 0.2, 2: 0.2, 3: NEVER}
    rows = [[3, d, p, d >= at, d >= 0.4 and p < 2] for d in doses for p, at in changes_at.items()]
    rows += [[3, 0.0, p, True, True] for p in changes_at]  # the un-steered model is no dose
    rows += [[3, -d, p, d == 0.4, False] for d in doses for p in changes_at]
    rows += [[5, d, p, False, d == 0.1] for d in doses for p in changes_at]
    found = phases(judged(rows)).set_index(["layer", "sign"])
    names = ["changes", "refuses", "collapses", "window", "safe"]
    assert list(found.columns) == [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    assert found.index.tolist() == [(3, -1), (3, 1), (5, 1)]
    up, down, other = (found.loc[key] for key in [(3, 1), (3, -1), (5, 1)])
    assert up[names].tolist() == [0.2, NEVER, 0.4, 2.0, 0.2]
    assert (up["changes_low"], up["changes_high"]) == (0.1, NEVER)
    assert (up["collapses_low"], up["collapses_high"]) == (0.4, NEVER)
    assert (up["safe_low"], up["safe_high"]) == (0.2, 0.4)
    assert down.tolist() == [0.4] * 3 + [NEVER] * 9 + [0.4] * 3
    assert other[names].tolist() == [NEVER, NEVER, NEVER, 1.0, 0.0]  # broken at the smallest dose alone


def test_a_collapse_is_for_good():
    for broken, collapse in [
        ([False, True, True], 0.2),
        ([True, False, True], 0.4),
        ([True, True, True], 0.1),
        ([True, True, False], NEVER),
    ]:
        rows = [[0, d, p, True, b] for d, b in zip([0.1, 0.2, 0.4], broken, strict=True) for p in range(3)]
        assert phases(judged(rows))["collapses"].tolist() == [collapse]
    halves = [[0, d, p, True, p < 2] for d in (0.1, 0.2) for p in range(4)]
    assert phases(judged(halves))["collapses"].tolist() == [0.1]
    with pytest.raises(zkit.ZkitError, match="doses other than zero"):
        phases(judged([[0, 0.0, 0, False, False]]))
    fewer = [[0, d, p, True, p < 1] for d in (0.1, 0.2) for p in range(4)]
    assert phases(judged(fewer))["collapses"].tolist() == [NEVER]


def test_a_tenth_of_the_texts_may_be_broken_at_a_safe_dose_and_at_all_below_it():
    rows = [[0, d, p, True, p < bad] for d, bad in ((0.1, 1), (0.2, 0), (0.3, 2), (0.4, 1)) for p in range(10)]
    assert phases(judged(rows))["safe"].tolist() == [0.2]


def test_refusals_are_neither_changed_nor_broken_nor_safe():
    doses = (0.1, 0.2, 0.4)
    no = {0.1: 1, 0.2: 2, 0.4: 4}  # of four texts so many are refusals, the others changed answers
    rows = [[0, d, p, True, "refusal" if p < no[d] else "answer"] for d in doses for p in range(4)]
    [found] = phases(judged(rows)).to_dict("records")
    assert (found["refuses"], found["collapses"], found["safe"]) == (0.2, NEVER, 0)
    assert found["changes"] == 0.1 and found["changes_high"] == NEVER  # the first prompt has no changed answer at all
    gone = judged([[0, d, p, True, "other language" if d > 0.1 else "answer"] for d in doses for p in range(4)])
    [found] = phases(gone).to_dict("records")
    assert (found["safe"], found["refuses"], found["collapses"]) == (0.1, NEVER, NEVER)


def test_outcomes_are_over_answers_with_the_shares_of_the_others_beside():
    table = judged([[0, 0.1, p, p < 3, kind] for p, kind in enumerate(["refusal", "answer", "answer", "answer"])])
    table = pd.concat([table, judged([[0, 0.2, 0, True, "refusal"], [0, 0.2, 1, True, True]])], ignore_index=True)
    table["words"], table["topic_cosine"] = [9, 50, 40, 30, 9, 4], [0.0, 0.5, 1.0, 0.6, 0.0, 0.0]
    table.loc[1, "reply"] = "cut off"
    found = outcomes(table, "dose").set_index("dose")
    row = found.loc[0.1]
    assert (row["texts"], row["answers"], row["words"]) == (4, 3, 40)
    assert (row["changed"], row["cut_off"]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert row["topic_cosine"] == pytest.approx(0.7)
    assert (row["refused"], row["broken"], row["other_language"]) == (0.25, 0, 0)
    none = found.loc[0.2]
    assert none["answers"] == 0 and none[["words", "changed", "topic_cosine"]].isna().all()
    assert (none["refused"], none["broken"]) == (0.5, 0.5)
    assert outcomes(table, ["layer", "dose"])[["layer", "dose", "answers"]].values.tolist() == [
        [0, 0.1, 3],
        [0, 0.2, 0],
    ]


def test_a_ragged_sweep_is_refused():
    rows = [[0, d, p, True, False] for d in (0.1, 0.2) for p in range(3)][:-1]
    with pytest.raises(zkit.ZkitError, match="layer 0 some prompts lack some doses"):
        phases(judged(rows))


def test_phases_do_not_depend_on_order_or_index():
    rows = [[l, d, p, d * l > 0.3, d > 0.3] for l in (1, 2) for d in (0.1, 0.2, 0.4, -0.4) for p in range(3)]
    table = judged(rows)
    mixed = table.sample(frac=1, random_state=0).set_axis([0] * len(table))
    assert phases(mixed).equals(phases(table))


def test_the_positive_vector_makes_the_positive_answers_likelier(embedded):
    usual = reference_norms(embedded)
    for name in ("terse", "formal", "socratic", "dry-wit"):
        given, v = poles(embedded, STYLES[name], QUESTIONS[:6], 32), actadd(embedded, name, 5)
        means, doses = [], (-0.3, 0.0, 0.3)
        arms = preference(embedded, given, [edits(embedded, v, alpha_for(size, v, usual)) for size in doses])
        for size, arm in zip(doses, arms, strict=True):
            with steer(embedded, v, alpha_for(size, v, usual)):
                found = preference(embedded, given)
            assert len(found) == len(given.questions) and found == pytest.approx(arm, abs=1e-4)
            means.append(sum(found) / len(found))
        assert means[0] + 0.1 < means[1] < means[2] - 0.05, name
    [rival] = random_like(v, 1)
    with steer(embedded, rival, alpha_for(0.3, v, usual)):
        found = preference(embedded, given)
    assert abs(sum(found) / len(found) - means[1]) < 0.5 * (means[2] - means[1])


def sides(given):
    return given.questions, given.positive, given.negative


def test_preference_is_the_difference_of_mean_log_probabilities():
    model = tiny.shared()
    given = poles(model, STYLES["terse"], ["Hi", "Why is there rain?", "What?"], 6)
    for question, yes, no, found in zip(*sides(given), preference(model, given), strict=True):
        [ids] = reference.rows(model, [question])
        means = []
        for text in (yes, no):
            tail = model.tokenizer(text)["input_ids"]
            log_p = reference.logits(model, ids + tail, len(ids)).log_softmax(-1)[len(ids) - 1 : -1]
            means.append(float(log_p[range(len(tail)), tail].mean()))
        assert found == pytest.approx(means[0] - means[1], abs=1e-4)


def test_poles_are_the_models_own_answers_and_agreeing_questions_are_left_out(embedded):
    terse = STYLES["terse"]
    given = poles(embedded, terse, ASKED, 24)
    for question, yes, no in zip(*sides(given), strict=True):
        assert [yes, no] == embedded.generate([f"{terse.positive} {question}", f"{terse.negative} {question}"], 24)
        assert yes != no
    agreed = [q for q in ASKED if q not in given.questions]
    for question in agreed:
        assert len(set(embedded.generate([f"{i} {question}" for i in (terse.positive, terse.negative)], 24))) == 1
    with pytest.raises(zkit.ZkitError, match=r"answers the same under 'Be kind' and 'Be kind'"):
        poles(embedded, Style("Be kind", "Be kind"), ASKED[:2], 8)
    with pytest.raises(zkit.ZkitError, match="is empty"):
        poles(embedded, terse, [], 8)


@pytest.fixture(scope="module", params=["terse", "dry-wit"])
def diagnosis(request, embedded):
    return request.param, diagnose(
        embedded, STYLES[request.param], QUESTIONS[:6], doses=(1.5, 0.1, 0.3), max_new_tokens=24
    )


def test_a_diagnosis_recommends_the_layer_that_moves_most(diagnosis, embedded):
    style, found = diagnosis
    table = found.table.set_index("layer")
    assert table.index.tolist() == list(range(10))
    assert table["effect"].idxmax() == found.layer and table.loc[found.layer, "effect"] > 0.1
    v, usual = actadd(embedded, style, found.layer), reference_norms(embedded)
    assert dose(found.alpha, v, usual) == pytest.approx(found.dose, rel=1e-4)
    given, means = poles(embedded, STYLES[style], QUESTIONS[:6], 24), []
    for sign in (1, -1):
        with steer(embedded, v, alpha_for(0.3 * sign, v, usual)):
            means.append(sum(preference(embedded, given)) / len(given.questions))
    assert means[0] - means[1] == pytest.approx(table.loc[found.layer, "effect"], abs=1e-3)
    assert {"stability", "snr", "first_norm", "usual_norm", "dose_per_alpha"} <= set(found.table.columns)


def test_a_diagnosis_never_recommends_a_dose_that_breaks_answers(diagnosis, embedded):
    style, found = diagnosis
    curve = found.curve.set_index("dose")
    assert curve.index.tolist() == [0.1, 0.3, 1.5]
    assert curve.loc[: found.dose, "broken"].max() <= SAFE < curve.loc[1.5, "broken"]
    larger = curve.loc[found.dose :, "broken"].tolist()[1:]
    assert larger[0] > SAFE
    questions, unsteered = list(QUESTIONS[:6]), embedded.generate(QUESTIONS[:6], 24)
    v = actadd(embedded, style, found.layer)
    texts = sweep(embedded, v, questions, alphas=[found.alpha], max_new_tokens=24)
    again = judge_texts(embedded, questions, texts, unsteered)
    assert again["broken"].mean() <= SAFE
    assert again["changed"].mean() == pytest.approx(curve.loc[found.dose, "changed"])
    assert found.collapses > found.dose and found.changes > 0
    assert str(found.layer) in found.reasons[0] and f"dose {found.dose:g}" in found.reasons[2]


def test_no_dose_above_one_that_breaks_answers_is_recommended(embedded, monkeypatch):
    module = import_module("zkit.steering.scorecard")  # the package's name is the function's

    def sound_again(*arguments):
        found = judge_texts(*arguments)
        lost = found["dose"].round(6) == 0.3
        changed = pd.Series(True, found.index, "boolean").where(~lost)
        kinds = lost.map({True: "empty", False: "answer"})
        return found.assign(broken=lost, answered=~lost, reply=kinds, changed=changed)

    monkeypatch.setattr(module, "judge_texts", sound_again)
    found = diagnose(embedded, STYLES["terse"], QUESTIONS[:4], doses=[0.1, 0.3, 0.6], max_new_tokens=12)
    assert found.curve["broken"].tolist() == [0, 1, 0]
    assert found.dose == 0.1


@pytest.mark.parametrize("seed", range(4))
def test_a_random_model_gets_no_recommendation(seed):
    with pytest.raises(zkit.ZkitError, match=r"nothing to recommend|does not follow these instructions"):
        diagnose(tiny.shared(seed=seed), STYLES["terse"], QUESTIONS[:4], doses=[0.1, 0.5], max_new_tokens=8)


def test_diagnoses_refused(embedded):
    terse = STYLES["terse"]
    calls = {
        "positive and the negative prompt are the same": lambda: diagnose(embedded, Style("Be kind", "Be kind")),
        "does not follow|nothing to recommend": lambda: diagnose(
            embedded, Style("Be kind today.", "Be kind now."), ASKED, doses=[0.1], max_new_tokens=12
        ),
        r"must be above zero, got \[0.1, 0": lambda: diagnose(embedded, terse, doses=[0.1, 0]),
        r"must be above zero, got \[nan": lambda: diagnose(embedded, terse, doses=[math.nan, 0.1]),
        r"must be above zero, got \[\]": lambda: diagnose(embedded, terse, doses=[]),
        "at least two": lambda: diagnose(embedded, terse, ASKED[:1]),
        "must be a list, got the string": lambda: diagnose(embedded, terse, ASKED[0]),
        "even at a dose of 5 .* are no answers": lambda: diagnose(
            embedded, terse, ASKED, doses=[9, 5], max_new_tokens=12
        ),
    }
    for message, call in calls.items():
        with pytest.raises(zkit.ZkitError, match=message):
            call()


def test_a_zero_vector_has_no_stable_direction():
    with pytest.raises(zkit.ZkitError, match="none of them zero"):
        geometry(tiny.shared(), SteeringVector({0: torch.ones(32)}), torch.zeros(2, 1, 32))


def test_an_effect_is_the_measure_at_one_strength_less_that_at_its_negative():
    model, v = tiny.shared(), actadd(tiny.shared(), "terse").at(0, 2)
    questions = ["Hi", "What is it?"]

    def lengths(model, arms):
        """A stand-in for a measure: the log-probability of a fixed answer."""
        return [[float(row.sum()) for row in rows] for rows in log_probs(model, questions, ["abc", "d"], arms)]

    found = steering.effect(model, v, 0.3, lengths)
    assert found.shape == (2, 2)
    for row, layer in zip(found, v.layers, strict=True):
        one = []
        for sign in (1, -1):
            with zkit.steer(model, v.at(layer), dose=sign * 0.3):
                one.append([float(p.sum()) for p in log_probs(model, questions, ["abc", "d"])])
        assert row.tolist() == pytest.approx([up - down for up, down in zip(*one, strict=True)], abs=1e-4)
    whole = steering.effect(model, [v], None, lengths, alpha=0.5)
    assert whole.shape == (1, 2) and not np.allclose(whole[0], found[0])
    for strengths in ({"dose": None}, {"dose": 0.3, "alpha": 0.5}):
        with pytest.raises(zkit.ZkitError, match="one of the two"):
            steering.effect(model, v, measure=lengths, **strengths)
    with pytest.raises(zkit.ZkitError, match="take one with"):
        steering.effect(model, [v], 0.3, lengths)
