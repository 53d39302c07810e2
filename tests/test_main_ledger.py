"""``python -m zkit ledger``: results of any run become evidence, by the rules that the conjectures came with."""

import json

import pytest

from zkit.__main__ import main
from zkit.claims.ledger import Ledger
from zkit.pages import results


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


BENT = json.dumps(
    {"schema": 1, "parameters": {}, "model": None, "versions": {}, "claims": []}
    | {"stats": {"words_ratio_middle": {"value": "0.3", "n": 30, "ci": None, "unit": None}}}
)


@pytest.mark.parametrize("content", [None, "no json", json.dumps({"schema": 99}), "[" * 9999, BENT])
def test_what_are_no_results_is_refused_and_the_ledger_stays(tmp_path, capsys, content):
    into = tmp_path / "ledger.json"
    main(["ledger", str(left(tmp_path, "05_layers", **SHORT)), "--into", str(into)])
    before, bad = into.read_text(), tmp_path / "bad.json"
    if content is not None:
        bad.write_text(content)
    assert main(["ledger", str(bad), "--into", str(into)]) == 2
    assert "bad.json" in capsys.readouterr().err and into.read_text() == before
