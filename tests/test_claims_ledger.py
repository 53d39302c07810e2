"""The ledger: statuses follow from runs by the rules alone, survive a trip to disk, and nothing is counted twice."""

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import disks
import pytest
import yaml

from zkbook.claims import AllOf, AnyOf, Bound, Claim, Verdict, board, judge
from zkbook.claims.boards import side_by_side
from zkbook.claims.conjectures import conjectures, shipped
from zkbook.claims.ledger import Ledger
from zkbook.claims.records import Event, Record, Untested
from zkbook.pages import places
from zkit.errors import ZkitError

QWEN = "Qwen/Qwen3-0.6B"
SHIPPED = shipped()
C2 = {"words_ratio_middle": (0.3, [0.2, 0.4]), "topic_cosine_middle": (0.7, [0.6, 0.8])}


def stats(**given):
    return {name: {"value": value, "ci": ci, "n": 30, "unit": None} for name, (value, ci) in given.items()}


def judged(record):
    return [event for event in record.history if event.status]


# ----------------------------------------------------------------------------------------- what ships with zkit


def test_every_record_starts_as_a_conjecture_that_no_run_has_judged():
    for record in SHIPPED:
        assert record.history[0].kind == "conjecture"
        assert not judged(record) and record.status == "open"


def test_every_claim_with_a_rule_is_judged_by_one_chapter():
    asked = [id for path in places.chapters(places.CHECKOUT) for id in claims_of(path)]
    assert sorted(asked) == sorted(record.id for record in SHIPPED if isinstance(record.claim, Claim))


def claims_of(path):
    """The ids that a chapter passes to ``conjectures``."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        for node in ast.parse("".join(cell["source"])).body if cell["cell_type"] == "code" else ():
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CLAIMS":
                return eval(ast.unparse(node.value), {"conjectures": lambda *ids: list(ids)})
    return []


@pytest.mark.parametrize(
    ("id", "holds", "fails"),
    [
        ("C-1", {"topic_cosine_early": 0.4}, {"topic_cosine_early": 0.6}),
        ("C-2", {"words_ratio_middle": 0.4, "topic_cosine_middle": 0.6}, {"topic_cosine_middle": 0.4}),
        ("C-3", {"words_change_late": 0.1, "markdown_ratio_late": 3}, {"markdown_ratio_late": 1.9}),
        ("C-4", {"perplexity_ratio_end": 1.6, "words_change_end": 0.1}, {"perplexity_ratio_end": 1.29}),
        ("C-4r", {"perplexity_end_over_middle": 1.1}, {"perplexity_end_over_middle": 0.9}),
        ("C-5", {"smallest_norm_step": 0.0}, {"smallest_norm_step": -1}),
        ("C-6", {"score_gain_two_layers": 0.1}, {"score_gain_two_layers": -0.1}),
        ("C-6r", {"shift_two_minus_one_equal_dose": 0.1}, {"shift_two_minus_one_equal_dose": -0.1}),
        ("C-7", {"delta_norm_middle_over_rest": 1.1}, {"delta_norm_middle_over_rest": 0.9}),
        ("C-8", {"stability_best": 0.96, "snr_best": 0.04}, {"snr_best": 0.07}),
        ("C-8", {"stability_best": 0.96, "snr_best": 0.04}, {"snr_best": 0.02}),
        ("C-8r", {"effect_stability_correlation": 0.5, "effect_minus_norm_correlation": 0.2},
         {"effect_minus_norm_correlation": -0.2}),
        ("C-9", {"words_over_prompted": 1.1}, {"words_over_prompted": 0.7}),
        ("C-9", {"words_over_prompted": 0.9}, {"words_over_prompted": 1.3}),
        ("C-10", {"relation_stability": 0.6}, {"relation_stability": 0.4}),
        ("C-11", {"relation_cosine_first": 0.2}, {"relation_cosine_first": 0.4}),
        ("C-12", {"relation_cosine_second": 0.2}, {"relation_cosine_second": 0.4}),
        ("C-13", {"relation_stability_early": 0.2}, {"relation_stability_early": 0.4}),
        ("C-14", {"parity_alpha_difference": -0.1}, {"parity_alpha_difference": 0.0}),
        ("S-1", {f"sink_share_{s}": 0.6 for s in ("terse", "formal", "socratic", "dry-wit")},
         {"sink_share_formal": 0.4}),
        ("S-2", {"repaired_slope": 0.05}, {"repaired_slope": 0.2}),
        ("S-2", {"repaired_slope": -0.05}, {"repaired_slope": -0.2}),
        ("S-3", {"cosine_prediction_error": 0.05}, {"cosine_prediction_error": 0.2}),
        ("S-4", {"effect_swing_literal": 1.5, "effect_swing_repaired": 0.3}, {"effect_swing_literal": 0.8}),
        ("S-4", {"effect_swing_literal": 1.5, "effect_swing_repaired": 0.3}, {"effect_swing_repaired": 1.2}),
        ("V-4", {"unit_changed": 0.05, "raw_words_ratio": 0.3, "raw_kept": 0.8}, {"unit_changed": 0.2}),
        ("V-4", {"unit_changed": 0.05, "raw_words_ratio": 0.3, "raw_kept": 0.8}, {"raw_words_ratio": 0.6}),
        ("V-4", {"unit_changed": 0.05, "raw_words_ratio": 0.3, "raw_kept": 0.8}, {"raw_kept": 0.3}),
        ("X-1", {"largest_drag_p": 0.01}, {"largest_drag_p": 0.2}),
    ],
)  # fmt: skip
def test_a_shipped_rule_holds_and_fails_where_it_says(id, holds, fails):
    [claim] = conjectures(id)
    assert set(claim.rule.statistics()) == set(holds)
    for found, status in ((holds, "confirmed"), (holds | fails, "refuted")):
        record = stats(**{name: (value, None) for name, value in found.items()})
        assert judge(claim, record, claim.model).status == status


def test_asymmetry_needs_an_interval_that_leaves_zero_out():
    [claim] = conjectures("C-14")
    for ci, status in (([0.1, 0.3], "confirmed"), ([-0.3, -0.1], "confirmed"), ([-0.1, 0.3], "open")):
        assert judge(claim, stats(parity_alpha_difference=(sum(ci) / 2, ci)), QWEN).status == status


def test_a_refined_conjecture_says_so_and_its_successor_is_ours():
    refined = {record.id: record.successors for record in SHIPPED if record.successors}
    assert refined == {"C-4": ("C-4r",), "C-6": ("C-6r",), "C-8": ("C-8r",), "P-C-3": ("P-C-5",)}
    for id, (successor,) in refined.items():
        assert SHIPPED[id].history[-1].kind == "refinement" and successor in SHIPPED[id].history[-1].says
        assert SHIPPED[successor].claim.source == "this book"


def test_what_has_no_text_has_no_sentence_and_no_status_of_its_authors():
    silent = [record.claim for record in SHIPPED if isinstance(record.claim, Untested)]
    assert [claim.id for claim in silent] == [*(f"C-{i}" for i in range(15, 30)), "H-SV-1"]
    for claim in silent:
        assert claim.sentence is None and claim.published is None
        assert "text not available" in claim.reason
        with pytest.raises(ZkitError, match=f"{claim.id} has no rule.*text not available"):
            conjectures(claim.id)


def test_figures_quoted_in_histories_are_the_published_ones():
    path = Path(__file__).parents[1] / "book" / "published.yml"
    figures = yaml.safe_load(path.read_text(encoding="utf-8"))["figures"]
    text = " ".join(event.says for record in SHIPPED for event in record.history if record.id in ("C-2", "C-4", "C-7"))
    quoted = {float(number) for number in re.findall(r"\d+\.\d+", text)} - {1.5}
    values = [figures[f"steering.{key}"]["value"] for key in ("words_by_layer", "vector_norm")]
    assert {18.6, 1.29, 17.4, 70.8} == quoted <= {*values[0], *values[1], figures["steering.perplexity_ratio"]["value"]}


# --------------------------------------------------------------------------------------------------- evidence


@pytest.mark.parametrize(
    ("ratio", "on_qwen", "elsewhere", "kind"),
    [
        ((0.3, [0.2, 0.4]), "confirmed", "analogue holds", "evidence"),
        ((0.7, [0.6, 0.8]), "refuted", "analogue fails", "refutation"),
        ((0.45, [0.4, 0.6]), "open", "undecided", "evidence"),
        ((float("nan"), None), "open", "not testable", "evidence"),
    ],
)
def test_append_judges_as_judge_does_and_keeps_models_apart(ratio, on_qwen, elsewhere, kind):
    found = stats(**{**C2, "words_ratio_middle": ratio})
    ledger = SHIPPED.append(found, QWEN, "a").append(found, "embedded", "b")
    record = ledger["C-2"]
    assert (record.status, record.analogues) == (on_qwen, {"embedded": elsewhere})
    first, second = judged(record)
    assert first.findings == judge(record.claim, found, QWEN).findings
    assert (first.kind, first.model, first.run, first.status) == (kind, QWEN, "a", on_qwen)
    assert (second.kind, second.status) == ("evidence", elsewhere)  # an analogue refutes nothing but itself
    assert SHIPPED["C-2"].status == "open" and not judged(SHIPPED["C-2"])


def test_an_analogue_leaves_the_claim_open():
    record = SHIPPED.append(stats(**C2), "embedded", "a")["C-2"]
    assert (record.status, record.standing) == ("open", "analogue holds")
    undecided = stats(**{**C2, "words_ratio_middle": (0.45, [0.4, 0.6])})
    for ledger in (SHIPPED.append(undecided, QWEN, "b"), SHIPPED.append(stats(**C2), QWEN, "b")):
        record = ledger.append({**undecided, "topic_cosine_middle": stats(x=(0.1, None))["x"]}, "embedded", "a")["C-2"]
        assert record.analogues == {"embedded": "analogue fails"} and record.standing == record.status


def test_append_needs_all_statistics_of_a_rule_and_touches_no_other_record():
    assert SHIPPED.append(stats(words_ratio_middle=(0.3, None)), QWEN, "a") == SHIPPED
    assert SHIPPED.append(stats(**C2) | {"topic_cosine_middle": None}, QWEN, "a") == SHIPPED
    ledger = SHIPPED.append(stats(**C2, unrelated=(1.0, None)), QWEN, "a")
    assert [new.id for old, new in zip(SHIPPED, ledger, strict=True) if old != new] == ["C-2"]


def test_a_run_counts_once_and_is_never_overwritten():
    once = SHIPPED.append(stats(**C2), QWEN, "a")
    assert once.append(stats(**C2), QWEN, "a") == once
    twice = once.append(stats(**C2), QWEN, "b")
    assert len(judged(twice["C-2"])) == 2
    assert twice.append(stats(**C2), QWEN, "a") == twice
    assert len(judged(once.append(stats(**C2), "embedded", "a")["C-2"])) == 2
    with pytest.raises(ZkitError, match=r"C-2: run 'a' on Qwen.*other figures.*an id of its own"):
        once.append(stats(**{**C2, "words_ratio_middle": (0.31, [0.2, 0.4])}), QWEN, "a")


def test_the_latest_judgement_on_a_model_is_its_status():
    fails = stats(**{**C2, "topic_cosine_middle": (0.1, [0.0, 0.2])})
    ledger = SHIPPED.append(stats(**C2), QWEN, "a").append(fails, QWEN, "b")
    assert ledger["C-2"].status == "refuted"
    ledger = SHIPPED.append(stats(**C2), "m", "a").append(fails, "n", "b").append(fails, "m", "c")
    assert ledger["C-2"].analogues == {"m": "analogue fails", "n": "analogue fails"}
    ledger = SHIPPED.append(stats(**C2), "m", "a").append(fails, "n", "b").append(stats(**C2), "m", "c")
    assert ledger["C-2"].standing == "analogue holds"


def test_what_others_published_decides_nothing():
    assert any(event.kind == "refutation" for event in SHIPPED["C-5"].history)
    assert SHIPPED["C-5"].status == SHIPPED["C-1"].status == "open"
    assert SHIPPED.counts() == {"open": len(SHIPPED) - 16, "no rule": 16}


def test_a_claim_of_a_chapter_joins_the_ledger_and_one_of_the_ledger_keeps_its_rule():
    claim = Claim("own-1", "It shortens.", "this book", "embedded", Bound("ratio", "<", 0.5), "below one half")
    verdict = judge(claim, stats(ratio=(0.3, None)), "embedded")
    ledger = SHIPPED.add(verdict, "00_chapter")
    assert ledger["own-1"].status == "confirmed" and ledger.add(verdict, "00_chapter") == ledger
    assert ledger.counts() == {"open": len(SHIPPED) - 16, "no rule": 16, "confirmed": 1}
    [known] = conjectures("C-1")
    for other in (
        replace(known, rule=Bound("topic_cosine_early", "<", 0.6)),
        replace(claim, id="C-15"),
        replace(known, model="embedded"),
    ):
        with pytest.raises(ZkitError, match=f"{other.id} was judged by another rule, or for another model"):
            SHIPPED.add(judge(other, {}, "embedded"), "00_chapter")


# ------------------------------------------------------------------------------------------------------ files


def test_a_ledger_survives_json(tmp_path):
    ledger = SHIPPED.append(stats(**C2), QWEN, "a")
    ledger = ledger.append(stats(topic_cosine_early=(0.3, [float("nan"), 1.0])), "embedded", "a")
    path = tmp_path / "deep" / "ledger.json"
    ledger.save(path)
    assert Ledger.read(path) == ledger
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["statuses"]["C-2"] == {"status": "confirmed", "analogues": {}}
    assert found["statuses"]["C-1"] == {"status": "open", "analogues": {"embedded": "not testable"}}
    assert found["counts"] == ledger.counts()
    assert [file.name for file in path.parent.iterdir()] == ["ledger.json"]


def test_statuses_in_a_file_are_computed_and_not_believed(tmp_path):
    path = tmp_path / "ledger.json"
    SHIPPED.save(path)
    path.write_text(path.read_text(encoding="utf-8").replace('"status": "open"', '"status": "confirmed"'))
    assert Ledger.read(path) == SHIPPED


def test_a_failed_save_leaves_the_older_file(tmp_path):
    path = tmp_path / "ledger.json"
    SHIPPED.save(path)
    before = path.read_bytes()

    with disks.full(), pytest.raises(ZkitError, match=r"no room on the disk for .*ledger\.json .*still stands"):
        SHIPPED.append(stats(**C2), QWEN, "a").save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_verdicts_written_before_published_rules_were_kept_are_read():
    claim = Claim("C-2", "It halves.", "them", QWEN, AnyOf((AllOf((Bound("a", "<", 1),)),)), "halved", "open")
    record = judge(claim, {}, QWEN).to_dict()
    del record["claim"]["published_rule"], record["claim"]["note"]
    assert Verdict.from_dict(record) == judge(claim, {}, QWEN)


def test_a_board_shows_what_was_published_beside():
    html = board([judge(claim, {}, "embedded") for claim in conjectures("C-4", "C-4r")])
    assert "published: confirmed <em>(the evidence printed is 1.29)</em>" in html
    assert html.count("published rule: ") == 1


def test_models_stand_side_by_side_with_what_each_run_answers():
    ledger = SHIPPED.append(stats(**C2), QWEN, "sweep").append(
        stats(**C2 | {"words_ratio_middle": (0.45, [0.4, 0.6])}), "embedded", "05_layers"
    )
    records = [ledger["C-2"], ledger["C-1"], ledger["C-29"]]

    def links(event):
        return {"see": f"{event.run}.html"}

    page = side_by_side(records, {"embedded": "control", QWEN: "Qwen"}, links, "claims")
    rows = re.findall(r"<tr>(.*?)</tr>", page)[1:]
    cells = [[re.sub(r"<[^>]+>", " ", cell).split() for cell in re.findall(r"<td[^>]*>(.*?)</td>", r)] for r in rows]
    assert [row[1] for row in cells] == [["confirmed"], ["confirmed"], ["no", "status,", "qwen3-steering"]]
    assert cells[2][0][:2] == ["C-29", "text"]
    assert [row[2][:2] for row in cells] == [["undecided", "("], ["not", "run"], ["no", "rule"]]
    assert [row[3][:2] for row in cells] == [["holds", "("], ["not", "run"], ["no", "rule"]]
    assert 'href="05_layers.html"' in rows[0] and 'href="../ledger.html#claim-c-2"' in rows[0]


@pytest.mark.parametrize("model", [QWEN, "embedded"])
def test_a_run_answers_the_same_words_on_every_model(model):
    for ratio, answer in (((0.3, [0.2, 0.4]), "holds"), ((0.7, [0.6, 0.8]), "fails"), ((0.5, [0.4, 0.6]), "undecided")):
        given = stats(words_ratio_middle=ratio, topic_cosine_middle=(0.7, [0.6, 0.8]))
        [event] = judged(SHIPPED.append(given, model, "run")["C-2"])
        assert event.answer == answer
    verdict = judge(SHIPPED["C-2"].claim, stats(topic_cosine_middle=(0.7, [0.6, 0.8])), model)
    assert Event.of(verdict, "run").answer == "not testable"
    assert Event("conjecture", "us", "it is so").answer is None


# -------------------------------------------------------------------------------------------------- bad input

RECORD = """
records:
  - id: A-1
    sentence: It does.
    source: this book
    model: embedded
    says: a is positive
    rule: {statistic: a, op: ">", bound: 0}
    history:
      - {kind: conjecture, source: this book, says: Perhaps.}
"""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("records:", "record:", "'records'"),
        ("records:\n", "records: 3\nothers:\n", "'records'"),
        ('op: ">"', 'op: "~"', "A-1: a rule compares with"),
        ("{statistic: a, op", "{statistics: a, op", "A-1: not a rule"),
        ("    says: a is positive\n", "", "A-1: the key 'says' is missing"),
        ("    sentence: It does.\n", "    sentence: 3\n", "A-1: 'sentence' must be a text"),
        ("    source: this book\n", "    sorce: this book\n", "A-1: there is no key 'sorce'"),
        ('    rule: {statistic: a, op: ">", bound: 0}\n', "", "A-1: give it a 'rule'.*'reason'"),
        ("    says: a is positive\n", "    published: proved\n    says: b\n", "A-1: published status 'proved'"),
        ("    says: a is", "    added: 2026\n    says: a is", "A-1: 'added' has the keys 'day' and 'why'"),
        ("    says: a is", "    added: {day: soon, why: b}\n    says: a is", "A-1: the day on which .* not 'soon'"),
        ("bound: 0}", "bound: true}", "A-1: not a rule"),
        ("bound: 0}", f"bound: {10**400}}}", "has a number of 401 characters"),
        ("kind: conjecture", "kind: proof", "A-1: an event is one of .*not 'proof'"),
        ("says: Perhaps.", "", "A-1: an event: the key 'says' is missing"),
        ("says: Perhaps.", "says: Perhaps., status: confirmed", "A-1: conjecture: a judgement has a model"),
        ("says: Perhaps.", "says: P, model: m, run: r, status: true, findings: [1]", "A-1: not a finding: 1"),
        ("      - {kind", "      - 3\n      - {kind", "A-1: 'findings' must be|A-1: an event"),
        ("    history:\n", "    successors: [A-2]\n    history:\n", "A-1 has the successor 'A-2'.*did you mean A-1"),
        ("    history:\n", "    successors: A-1\n    history:\n", "A-1: 'successors' must be a list"),
        ("  - id: A-1", "  - id: 1", "with an 'id'"),
        ("  - id: A-1", "  - {id: A-1, source: b, model: m, reason: none}\n  - id: A-1", "2 records 'A-1'"),
        ("  - id: A-1", "  - {id: [", "is not YAML"),
    ],
)
def test_a_bad_record_is_named(tmp_path, old, new, named):
    path = tmp_path / "ledger.yml"
    path.write_text(RECORD)
    assert Ledger.load(path)["A-1"].claim.says == "a is positive"
    assert RECORD.count(old) >= 1
    path.write_text(RECORD.replace(old, new, 1))
    with pytest.raises(ZkitError, match=named) as error:
        Ledger.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda folder: SHIPPED["C-4R"], r"no record 'C-4R'; did you mean C-4r\?"),
        (lambda folder: conjectures("C-1", "c-13"), r"'c-13'; did you mean C-13\?"),
        (lambda folder: Ledger(())["A"], "the ledger is empty"),
        (lambda folder: Ledger.load(folder / "none.yml"), r"none\.yml cannot be read"),
        (lambda folder: Ledger.read(folder / "none.json"), r"none\.json cannot be read"),
        (lambda folder: Ledger.read(Path(__file__)), "is not JSON"),
        (lambda folder: SHIPPED.append({}, QWEN, ""), "its run"),
        (lambda folder: SHIPPED.append({}, "", "a"), "its model"),
        (
            lambda folder: SHIPPED.append({"topic_cosine_early": 0.3}, QWEN, "a"),
            "'topic_cosine_early' must be a record",
        ),
        (lambda folder: Ledger((SHIPPED.records[0],) * 2), "2 records 'E-1'"),
        (lambda folder: Event("conjecture", "", "a"), "'source'"),
        (lambda folder: Untested("U-1", "them", "m", ""), "U-1.*'reason'"),
        (lambda folder: Record.from_dict({"id": "U-1", "source": "a", "model": "m", "reason": ""}), "U-1"),
    ],
)
def test_bad_input_is_named(tmp_path, make, named):
    with pytest.raises(ZkitError, match=named):
        make(tmp_path)


def test_a_file_of_another_schema_is_refused(tmp_path):
    path = tmp_path / "ledger.json"
    path.write_text('{"schema": 2, "records": []}')
    with pytest.raises(ZkitError, match="no ledger of schema 1"):
        Ledger.read(path)
