"""The ledger: what a rule may decide, what it must leave open, and that a verdict survives a trip to disk."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zkbook.claims import Added, AllOf, AnyOf, Bound, Claim, Verdict, board, judge, rule_from_dict
from zkit.errors import ZkitError

QWEN = "Qwen/Qwen3-0.6B"
RULE = Bound("words_ratio", "<", 0.5)


def claim(rule=RULE, model=QWEN, **changes):
    fields = {"id": "C-2", "sentence": "Steering halves the words.", "source": "qwen3-steering"}
    fields["says"] = "fewer than half the words"
    return Claim(**{**fields, "rule": rule, "model": model, "published": "confirmed", **changes})


def stat(value, ci=None, n=30, unit=None):
    return {"value": value, "ci": ci, "n": n, "unit": unit}


@pytest.mark.parametrize(
    ("record", "on_qwen", "elsewhere"),
    [
        (stat(0.3), "confirmed", "analogue holds"),
        (stat(0.3, [0.2, 0.4]), "confirmed", "analogue holds"),
        (stat(0.7), "refuted", "analogue fails"),
        (stat(0.7, [0.6, 0.8]), "refuted", "analogue fails"),
        (stat(0.45, [0.3, 0.6]), "open", "undecided"),
        (stat(math.nan), "open", "not testable"),
        (stat(None), "open", "not testable"),
        (stat(0.3, [math.nan, 0.4]), "open", "not testable"),
        (stat(0.5 - 1e-9), "open", "undecided"),
        (None, "open", "not testable"),
    ],
)
def test_status_follows_the_interval_and_the_model(record, on_qwen, elsewhere):
    stats = {} if record is None else {"words_ratio": record}
    assert judge(claim(), stats, QWEN).status == on_qwen
    assert judge(claim(), stats, "embedded").status == elsewhere


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (stat(0.45, [0.3, 0.6]), "interval contains the bound"),
        (stat(math.nan), "not a number"),
        (None, "missing"),
        (stat(0.5 - 1e-9), "within rounding"),
    ],
)
def test_an_open_verdict_says_why(record, said):
    verdict = judge(claim(), {} if record is None else {"words_ratio": record}, QWEN)
    assert not verdict.decided
    assert said in verdict.reason
    assert "words_ratio" in verdict.reason


def test_a_decided_verdict_prints_statistic_interval_and_n():
    reason = judge(claim(), {"words_ratio": stat(0.3, [0.2, 0.4], n=33)}, QWEN).reason
    assert reason == "words_ratio = 0.3 [0.2, 0.4], n = 33; < 0.5 holds"


@pytest.mark.parametrize(("op", "holds"), [("<", False), ("<=", True), (">", False), (">=", True)])
def test_equality_is_exact_for_counts(op, holds):
    truth, _ = Bound("misses", op, 0.0).judge({"misses": stat(0)})
    assert truth is holds


TRUTHS = {True: stat(1.0), False: stat(-1.0), None: stat(math.nan)}


@given(st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=4))
def test_joined_rules_follow_kleene(truths):
    stats = {f"s{i}": TRUTHS[truth] for i, truth in enumerate(truths)}
    rules = tuple(Bound(name, ">", 0.0) for name in stats)
    order = {False: 0, None: 1, True: 2}
    assert AllOf(rules).judge(stats)[0] is min(truths, key=order.__getitem__)
    assert AnyOf(rules).judge(stats)[0] is max(truths, key=order.__getitem__)


@given(
    value=st.floats(-5, 5, allow_subnormal=False),
    below=st.floats(0, 3, allow_subnormal=False),
    above=st.floats(0, 3, allow_subnormal=False),
    op=st.sampled_from(["<", "<=", ">", ">="]),
    bound=st.floats(-5, 5, allow_subnormal=False),
)
def test_a_verdict_holds_only_if_it_holds_all_over_the_interval(value, below, above, op, bound):
    low, high = value - below, value + above
    truth, _ = Bound("s", op, bound).judge({"s": stat(value, [low, high])})
    compare = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}[op]
    points = [low, value, high]
    if truth is True:
        assert all(compare(p, bound) for p in points)
    elif truth is False:
        assert not any(compare(p, bound) for p in points)


NESTED = AllOf((Bound("a", "<", 0.5), AnyOf((Bound("b", ">=", 1), Bound("c", ">", -2)))))


def test_rule_claim_and_verdict_survive_json():
    stats = {"a": stat(0.1, [0.0, 0.2], 12, "nats"), "b": stat(math.nan)}
    for verdict in (judge(claim(NESTED), stats, QWEN), judge(claim(NESTED, published=None), {}, "embedded")):
        text = json.dumps(verdict.to_dict(), allow_nan=False)
        assert Verdict.from_dict(json.loads(text)) == verdict
    assert rule_from_dict(NESTED.to_dict()) == NESTED


def test_undecided_is_not_missing():
    both, wide = AllOf((Bound("a", "<", 0.5), Bound("b", ">", 0))), stat(0.45, [0.3, 0.6])
    assert judge(claim(both), {"a": wide, "b": stat(1)}, "embedded").status == "undecided"
    assert judge(claim(both), {"a": wide}, "embedded").status == "not testable"
    assert judge(claim(both), {"a": stat(0.7)}, "embedded").status == "analogue fails"


def test_wording_and_statistics_of_a_nested_rule():
    assert NESTED.wording == "a < 0.5 and (b >= 1 or c > -2)"
    assert NESTED.statistics() == ("a", "b", "c")


def test_board_escapes_and_names_the_model():
    html = board([judge(claim(sentence="<script>alert(1)</script>"), {}, "embedded")])
    assert "<script>" not in html
    assert "not testable</strong> on embedded" in html
    assert "confirmed" in html


ADDED = Added("2026-11-21", "a reader asked for <it>")


def test_a_rule_that_came_after_first_results_never_stands_as_fixed_before_the_run():
    before, after = (judge(claim(added=added), {}, QWEN) for added in (None, ADDED))
    words = "as it is since 2026-11-21, after first results: a reader asked for"
    assert "<em>fixed before the run</em>" in board([before]) and words not in board([before])
    assert f"<em>{words} &lt;it&gt;</em>" in board([after]) and "fixed before" not in board([after])
    assert before.claim.stated == before.claim.says
    assert after.claim.stated == f"{after.claim.says} ({words} <it>)"


def test_when_a_rule_came_survives_json_and_older_records_have_none():
    verdict = judge(claim(added=ADDED), {}, QWEN)
    record = json.loads(json.dumps(verdict.to_dict()))
    assert record["claim"]["added"] == {"day": "2026-11-21", "why": "a reader asked for <it>"}
    assert Verdict.from_dict(record) == verdict
    del record["claim"]["added"]
    assert Verdict.from_dict(record) == judge(claim(), {}, QWEN)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Added("yesterday", "it"), "written like .2026-11-21., not 'yesterday'"),
        (lambda: Added("20261121", "it"), "not '20261121'"),
        (lambda: Added("2026-13-01", "it"), "2026-13-01"),
        (lambda: Added(20261121, "it"), "20261121"),
        (lambda: Added("2026-11-21", ""), "needs a text that says 'why'"),
        (lambda: Claim.from_dict(claim().to_dict() | {"added": "2026-11-21"}), "'added' has the keys 'day' and 'why'"),
        (lambda: Claim.from_dict(claim().to_dict() | {"added": {"day": "2026-11-21"}}), "'day' and 'why'"),
        (lambda: Bound("a", "<", True), "bound on 'a' must be a finite number, not True"),
        (lambda: Bound("a", "<", 10**400), "must be a finite number, not 1000"),
        (lambda: Bound("a", "<", "0.5"), "must be a finite number, not 0.5"),
        (lambda: rule_from_dict({"statistic": "a", "op": "<", "bound": True}), "not a rule"),
        (lambda: rule_from_dict({"statistic": "a", "op": "<", "bound": 10**400}), "finite number"),
        (lambda: judge(claim(), {"words_ratio": stat(True)}, QWEN), "'words_ratio'.*True"),
        (lambda: judge(claim(), {"words_ratio": stat("0.3")}, QWEN), "'words_ratio'.*'0.3'"),
        (lambda: judge(claim(), {"words_ratio": stat(0.3, [0.2])}, QWEN), r"'words_ratio'.*\[0.2\]"),
        (lambda: judge(claim(), {"words_ratio": stat(0.3, [None, 1])}, QWEN), r"'words_ratio'.*\[None, 1\]"),
        (lambda: judge(claim(), {"words_ratio": stat(0.3, "no")}, QWEN), "'words_ratio'.*'no'"),
        (lambda: judge(claim(), {"words_ratio": stat(10**400)}, QWEN), "'words_ratio'"),
        (lambda: Bound("a", "==", 1.0), "=="),
        (lambda: Bound("a", "<", math.inf), "finite"),
        (lambda: Bound("", "<", 1.0), "name"),
        (lambda: AllOf(()), "at least one"),
        (lambda: rule_from_dict({"predicate": "a"}), "predicate"),
        (lambda: claim(says=""), "says"),
        (lambda: claim(published="proved"), "proved"),
        (lambda: judge(claim(), {"words_ratio": 0.3}, QWEN), "words_ratio"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ZkitError, match=named):
        make()
