"""``python -m zkit ledger``: results of any run become evidence, by the rules that the conjectures came with."""

import json
from dataclasses import replace

import numpy as np
import pytest

from zkbook.claims.conjectures import shipped
from zkbook.claims.ledger import Ledger
from zkbook.pages import results
from zkit.__main__ import main
from zkit.errors import ZkitError


def left(folder, name, model="mine", **stats):
    """A results file as a chapter leaves it."""
    file = folder / f"{name}.json"
    kept = {key: results.stat(key, value, 30, ci) for key, (value, ci) in stats.items()}
    results.save(file, {"parameters": {"model": model}, "model": None, "versions": {}, "stats": kept, "claims": []})
    return file


SHORT = {"words_ratio_middle": (0.3, (0.2, 0.4)), "topic_cosine_middle": (0.7, (0.6, 0.8))}
LONG = {"words_ratio_middle": (0.9, (0.8, 1.0)), "topic_cosine_middle": (0.7, (0.6, 0.8))}


def test_evidence_is_judged_by_the_shipped_rule_and_kept_over_runs(tmp_path, capsys):
    into = tmp_path / "ledger.json"
    one = left(tmp_path, "05_layers", "Qwen/Qwen3-0.6B", **SHORT)
    assert main(["ledger", str(one), "--into", str(into)]) == 0
    assert Ledger.read(into)["C-2"].status == "confirmed"
    two = left(tmp_path, "05_layers_again", "embedded", **LONG)
    assert main(["ledger", str(two), "--into", str(into)]) == 0
    record = Ledger.read(into)["C-2"]
    assert record.status == "confirmed" and record.analogues == {"embedded": "analogue fails"}
    assert Ledger.read(into)["C-1"].status == "open"  # its statistic is in neither file
    assert str(into) in capsys.readouterr().out


def test_the_same_results_twice_add_nothing(tmp_path):
    into, one = tmp_path / "ledger.json", left(tmp_path, "05_layers", **SHORT)
    main(["ledger", str(one), "--into", str(into)])
    once = into.read_text()
    main(["ledger", str(one), str(one), "--into", str(into)])
    assert into.read_text() == once


def test_a_smoke_run_is_no_evidence(tmp_path, capsys):
    file = left(tmp_path, "05_layers", "Qwen/Qwen3-0.6B", **SHORT)
    record = json.loads(file.read_text())
    record["parameters"]["profile"] = "smoke"
    file.write_text(json.dumps(record))
    assert main(["ledger", str(file), "--into", str(tmp_path / "ledger.json")]) == 2
    assert "smoke run" in capsys.readouterr().err and not (tmp_path / "ledger.json").exists()


def test_a_ledger_or_a_folder_are_no_results(tmp_path, capsys):
    into = tmp_path / "ledger.json"
    main(["ledger", str(left(tmp_path, "05_layers", **SHORT)), "--into", str(into)])
    for wrong in (into, tmp_path):
        assert main(["ledger", str(wrong), "--into", str(tmp_path / "other.json")]) == 2
        assert "results" in capsys.readouterr().err


GOOD = {"value": 0.3, "n": 30, "ci": [0.2, 0.4], "unit": None}
VERDICT = {"claim": {"id": "a", "sentence": "b", "says": "c"}, "model": "m", "status": "open", "findings": []}


def file_of(**changes):
    other = {"topic_cosine_middle": {"value": 0.7, "n": 30, "ci": [0.6, 0.8], "unit": None}}
    stats = {"words_ratio_middle": GOOD, **other}
    head = {"schema": 1, "parameters": {"model": "m"}, "model": None, "versions": {}}
    return json.dumps({**head, "stats": stats, "claims": [], **changes})


def stat(**changes):
    return file_of(stats={"words_ratio_middle": {**GOOD, **changes}})


def lacking(name):
    return file_of(stats={"words_ratio_middle": {key: value for key, value in GOOD.items() if key != name}})


BAD = {
    "missing": None,
    "empty": "",
    "no JSON": "no json",
    "half of it": file_of()[:80],
    "a list": "[]",
    "a number": "3",
    "50,000 brackets": "[" * 50_000,
    "nested ninety deep": file_of(parameters={"a": eval("[" * 90 + "0" + "]" * 90)}),
    "a key twice": file_of()[:-1] + ', "schema": 1}',
    "more than a megabyte": file_of(parameters={"model": "m" * 2**20}),
    "schema 99": file_of(schema=99),
    "a schema that is true": file_of(schema=True),
    "a schema that is a decimal": file_of(schema=1.0),
    "no claims": file_of().replace('"claims"', '"claim"'),
    "claims that are numbers": file_of(claims=[3]),
    "a claim without a sentence": file_of(claims=[{**VERDICT, "claim": {"id": "a"}}]),
    "parameters that are a list": file_of(parameters=[]),
    "a model that is a number": file_of(parameters={"model": 5}),
    "a model that is true": file_of(parameters={"model": True}),
    "a model that is null": file_of(parameters={"model": None}),
    "a model that is a list": file_of(parameters={"model": ["m"]}),
    "a model without a name": file_of(parameters={"model": ""}),
    "a model of spaces": file_of(parameters={"model": " "}),
    "a profile that is a list": file_of(parameters={"model": "m", "profile": ["smoke"]}),
    "weights that are a text": file_of(model="m"),
    "a version that is a number": file_of(versions={"python": 3}),
    "stats that are a list": file_of(stats=[1]),
    "stats that are null": file_of(stats=None),
    "100,000 stats that are numbers": file_of(stats=dict.fromkeys(map(str, range(99_000)), 1)),
    "a stat that is a number": file_of(stats={"words_ratio_middle": 0.3}),
    "a stat under no key": file_of(stats={"words ratio\n": GOOD}),
    "a value of words": stat(value="0.3"),
    "a value that is true": stat(value=True),
    "a value that is null": stat(value=None),
    "a value that is a list": stat(value=[0.3]),
    "a value that is NaN": stat(value=float("nan")),
    "a value above all floats": stat(value=1).replace('"value": 1,', '"value": 1e999,'),
    "a value of 400 digits": stat(value=10**400),
    "no value": lacking("value"),
    "an interval the wrong way round": stat(ci=[0.4, 0.2]),
    "half an interval": stat(ci=[0.2]),
    "an interval of three": stat(ci=[0.2, 0.3, 0.4]),
    "an interval of words": stat(ci=["low", "high"]),
    "an interval of truths": stat(ci=[False, True]),
    "an interval with null": stat(ci=[None, 0.4]),
    "a count of words": stat(n="many"),
    "a negative count": stat(n=-1),
    "half a count": stat(n=1.5),
    "a count that is true": stat(n=True),
    "no count": lacking("n"),
    "a unit that is a number": stat(unit=3),
    "a unit of half a character": stat(unit="\ud800"),
    "an unknown entry": stat(more=1),
    "binary": b"\0\1\2",
    "Latin-1": '{"schema": "\xe9"}'.encode("latin-1"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_are_no_results_is_refused_and_the_ledger_stays(tmp_path, capsys, kind):
    content, into, bad = BAD[kind], tmp_path / "ledger.json", tmp_path / "bad.json"
    (tmp_path / "good.json").write_text(file_of())
    assert main(["ledger", str(tmp_path / "good.json"), "--into", str(into)]) == 0
    before = into.read_text()
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    capsys.readouterr()
    assert main(["ledger", str(bad), "--into", str(into)]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("zkit: ") and "bad.json" in said.err and len(said.err) < 1000 and said.out == ""
    assert into.read_text() == before and Ledger.read(into)["C-2"].analogues == {"m": "analogue holds"}


@pytest.mark.parametrize(
    ("stats", "model", "message"),
    [
        ({"n": "many"}, "m", "'n' must be a count, not 'many'"),
        ({"n": True}, "m", "'n' must be a count, not True"),
        ({"ci": [0.4, 0.2]}, "m", "write the lower end first"),
        ({"unit": 3}, "m", "'unit' must be a text, not 3"),
        ({}, 5, "its model and of its run, not 5 and 'a'"),
        ({}, True, "its model and of its run, not True"),
    ],
)
def test_evidence_of_ones_own_is_checked_as_that_of_a_file(tmp_path, stats, model, message):
    found = {"words_ratio_middle": GOOD | stats, "topic_cosine_middle": GOOD}
    with pytest.raises(ZkitError, match=message):
        shipped().append(found, model, "a")


def test_numbers_of_numpy_are_numbers_in_the_file(tmp_path):
    found = {"value": np.float64(0.3), "n": np.int64(30), "ci": (np.float32(0.2), 0.4), "unit": None}
    ledger = shipped().append({"words_ratio_middle": found, "topic_cosine_middle": GOOD}, "m", "a")
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.read(tmp_path / "ledger.json") == ledger


def test_a_ledger_that_could_not_be_read_again_is_not_written(tmp_path):
    path, [record, *_] = tmp_path / "ledger.json", shipped()
    shipped().save(path)
    before = path.read_text()
    for changes in ({"note": "\ud800"}, {"note": 5}, {"note": object()}, {"sentence": ("a", "b")}):
        claim = replace(record.claim, **changes)
        with pytest.raises(ZkitError, match=r"the ledger for .*ledger\.json"):
            Ledger((replace(record, claim=claim),)).save(path)
    assert path.read_text() == before
