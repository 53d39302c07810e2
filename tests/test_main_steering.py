"""``zkit steer`` and ``zkit diagnose``: what they print is what the library says, and bad input ends in one line."""

import json
import re
import shlex
import signal
import subprocess
import sys

import pytest
import torch
from tiny_book import zkit as shell

import zkit
from zkit.__main__ import main
from zkit.steering import STYLES, SteeringVector, actadd, alpha_for, diagnose, reference_norms, steer, write_gguf
from zkit.steering.scorecard import QUESTIONS

PROMPTS = ["Explain what a mutex is.", "Tell me about a river."]


@pytest.fixture(autouse=True)
def own_signals(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *_: None)


@pytest.fixture(scope="module")
def embedded():
    return zkit.load()


def say(capsys, *words):
    status = main([str(word) for word in words])
    out = capsys.readouterr()
    assert (status, out.err) == (0, "")
    return out.out


def headed(text):
    """The heading as a dictionary, and (prompt, baseline, steered) of each prompt."""
    head, *parts = text.rstrip("\n").split("\nprompt  ")
    found = [re.split(r"\n\n--- (?:baseline|steered)(?: \([a-z ]+\))?\n", part) for part in parts]
    answers = [tuple(text.rstrip("\n") for text in part) for part in found]
    return dict(line.split(maxsplit=1) for line in head.splitlines() if line and line[0] != " "), answers


def answered(model, v, alpha, n, **options):
    plain = model.generate(PROMPTS, n)
    with steer(model, v, alpha, **options):
        return list(zip(PROMPTS, plain, model.generate(PROMPTS, n), strict=True))


ASK = ["--max-new-tokens", "12", *(word for prompt in PROMPTS for word in ("--prompt", prompt))]


def test_steer_prints_the_baseline_and_the_steered_answers(capsys, embedded):
    head, answers = headed(say(capsys, "steer", "--style", "terse", "--alpha", 2, "--layer", 3, *ASK))
    v = actadd(embedded, "terse", 3)
    assert answers == answered(embedded, v, 2.0, 12)
    assert any(before != after for _, before, after in answers)
    usual = float(reference_norms(embedded)[3])
    assert head == {
        "model": "embedded, layers 0 to 9",
        "vector": "terse: mean over the chat template's tokens after the message that are not massive",
        "layer": "3",
        "alpha": "2",
        "dose": f"{2 * v.norm / usual:.3g}",
    }


def test_without_a_layer_it_is_the_middle_one_and_a_dose_is_turned_into_alpha(capsys, embedded):
    head, answers = headed(say(capsys, "steer", "--style", "formal", "--dose", -0.3, *ASK))
    v = actadd(embedded, "formal", 5)
    alpha = alpha_for(-0.3, v, reference_norms(embedded))
    assert (head["layer"], head["dose"], head["alpha"]) == ("5, the middle one", "-0.3", f"{alpha:.4g}")
    assert answers == answered(embedded, v, alpha, 12)


def test_own_instructions_positions_and_the_sink(capsys, embedded):
    words = ["--positive", "Ask back.", "--negative", "Tell me all.", "--layer", 2, "--alpha", 3]
    v, literal = (
        actadd(embedded, positive="Ask back.", negative="Tell me all.", layer=2, pool=pool)
        for pool in ("suffix", "literal")
    )
    for more, vector, options in [
        ([], v, {}),
        (["--positions", "prompt"], v, {"positions": "prompt"}),
        (["--first-token"], v, {"first_token": True}),
        (["--pool", "literal", "--first-token"], literal, {"first_token": True}),
    ]:
        head, answers = headed(say(capsys, "steer", *words, *more, *ASK))
        assert answers == answered(embedded, vector, 3.0, 12, **options)
        assert head["vector"].startswith("'Ask back.' - 'Tell me all.': mean over ")
    assert head["vector"].endswith("mean over all tokens")


def test_vectors_from_files_of_both_formats(capsys, embedded, tmp_path):
    v = actadd(embedded, "dry-wit", [4, 6])
    v.save(tmp_path / "v.safetensors")
    write_gguf(v, tmp_path / "v.gguf")
    for name in ("v.safetensors", "v.gguf"):
        head, answers = headed(say(capsys, "steer", "--vector", tmp_path / name, "--alpha", 1.5, *ASK))
        assert answers == answered(embedded, v, 1.5, 12)
        assert head["layer"] == "4, 6" and len(head["dose"].split(", ")) == 2
        head, answers = headed(
            say(capsys, "steer", "--vector", tmp_path / name, "--dose", 0.3, "--layer", 6, "--dtype", "float32", *ASK)
        )
        assert answers == answered(embedded, v.at(6), alpha_for(0.3, v.at(6), reference_norms(embedded)), 12)


def test_a_text_that_is_no_answer_says_what_it_is(capsys):
    text = say(capsys, "steer", "--style", "terse", "--alpha", 40, "--layer", 3, *ASK[:4])
    assert "\n--- baseline\n" in text and "\n--- steered (repetition)\n" in text


def test_a_vector_of_another_model_of_the_same_width_says_so(capsys, tmp_path):
    SteeringVector({2: torch.ones(128)}, {"model": "elsewhere/model"}).save(tmp_path / "v.safetensors")
    text = say(capsys, "steer", "--vector", tmp_path / "v.safetensors", "--alpha", 0, *ASK)
    assert "made from elsewhere/model" in text
    assert all(before == after for _, before, after in headed(text)[1])


SHORT = ["--max-new-tokens", "16", *(word for question in QUESTIONS[:3] for word in ("--question", question))]


def test_diagnose_prints_and_writes_what_the_library_recommends(capsys, embedded, tmp_path):
    file = tmp_path / "found.json"
    text = say(capsys, "diagnose", "--style", "terse", "--json", file, *SHORT)
    want = diagnose(embedded, STYLES["terse"], QUESTIONS[:3], max_new_tokens=16)
    written = json.loads(file.read_text())
    assert [written[name] for name in ("layer", "alpha", "dose")] == [want.layer, want.alpha, want.dose]
    assert written["reasons"] == list(want.reasons) and all(reason in text for reason in want.reasons)
    assert (written["model"], written["positive"]) == ("embedded", STYLES["terse"].positive)
    assert [row["effect"] for row in written["table"]] == pytest.approx(want.table["effect"].tolist())
    assert [row["broken"] for row in written["curve"]] == pytest.approx(want.curve["broken"].tolist())
    lines = text.splitlines()
    assert lines[lines.index("--- recommendation") + 1].startswith(f"layer {want.layer}, dose {want.dose:g}, alpha ")
    for heading, frame in [
        ("--- scorecard, one row a layer", want.table),
        (f"--- texts at layer {want.layer}", want.curve),
    ]:
        at = lines.index(heading)
        assert lines[at + 1].split() == list(frame.columns)
        rows = lines[at + 2 : at + 2 + len(frame)]
        assert [float(row.split()[0]) for row in rows] == pytest.approx(frame.iloc[:, 0].tolist())
        assert len({len(line) for line in lines[at + 1 : at + 2 + len(frame)]}) == 1  # aligned
        assert lines[at + 2 + len(frame)] == ""


def test_the_command_that_diagnose_prints_applies_its_recommendation(capsys, tmp_path):
    terse = STYLES["terse"]
    words = ["--positive", f'{terse.positive} Don\'t "pad".', "--negative", terse.negative]
    file = tmp_path / "found.json"
    text = say(capsys, "diagnose", *words, "--dtype", "float32", "--json", file, *SHORT)
    written, command = json.loads(file.read_text()), shlex.split(text.splitlines()[-1])
    assert command[:3] == ["python", "-m", "zkit"]
    head, answers = headed(say(capsys, *command[3:], "--max-new-tokens", 4))
    assert head["layer"] == str(written["layer"]) and float(head["dose"]) == pytest.approx(written["dose"])
    assert float(head["alpha"]) == pytest.approx(written["alpha"], rel=1e-3)
    assert answers[0][0] == QUESTIONS[0]


def test_an_infinite_dose_is_null_in_json(capsys, tmp_path, monkeypatch):
    import pandas as pd

    from zkit import report

    curve = pd.DataFrame({"dose": [0.1], "changed": [0.0]})
    found = report.Diagnosis(
        3, 1.0, 0.1, float("inf"), float("inf"), float("inf"), pd.DataFrame({"layer": [3]}), curve, ("why",)
    )
    monkeypatch.setattr(report, "diagnose", lambda *_, **__: found)
    say(capsys, "diagnose", "--style", "terse", "--json", tmp_path / "found.json")
    written = json.loads((tmp_path / "found.json").read_text())
    assert written["changes"] is written["collapses"] is written["refuses"] is None and written["table"] == [
        {"layer": 3}
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["steer", "--style", "tense", "--alpha", "1"], "unknown style 'tense'; the styles are terse, formal, soc"),
        (["steer", "--style", "terse", "--alpha", "1", "--layer", "10"], "no layer 10 in 'embedded'"),
        (["steer", "--style", "terse", "--alpha", "1", "--layer", "-1"], "no layer -1 in 'embedded'"),
        (["steer", "--style", "terse", "--alpha", "1", "--pool", "max"], "unknown pool 'max'"),
        (["steer", "--vector", "v.gguf", "--alpha", "1", "--pool", "all"], "--vector or --pool, not both"),
        (["steer", "--style", "terse", "--alpha", "nan"], "the strength is nan"),
        (["steer", "--style", "terse", "--dose", "inf"], "the strength is inf"),
        (["steer", "--style", "terse", "--alpha", "1e39"], "finite"),
        (["steer", "--style", "terse", "--alpha", "1", "--dose", "1"], "--alpha or --dose, one of them"),
        (["steer", "--style", "terse"], "--alpha or --dose, one of them"),
        (["steer", "--alpha", "1"], "give --style, or both"),
        (["steer", "--positive", "Hi", "--alpha", "1"], "give --style, or both"),
        (["steer", "--style", "terse", "--positive", "Hi", "--alpha", "1"], "give --style, or both"),
        (["steer", "--positive", "Hi", "--negative", "Hi", "--alpha", "1"], "are the same"),
        (["steer", "--style", "terse", "--alpha", "1", "--positions", "first"], "unknown positions 'first'"),
        (["steer", "--style", "terse", "--alpha", "1", "--model", "/no/such/model"], "/no/such/model"),
        (["steer", "--style", "terse", "--alpha", "1", "--dtype", "int3"], "unknown dtype 'int3'"),
        (["steer", "--style", "terse", "--alpha", "1", "--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["steer", "--vector", "none.safetensors", "--alpha", "1"], "no steering vector at none.safetensors"),
        (["steer", "--vector", "none.gguf", "--alpha", "1"], "no control vector at none.gguf"),
        (["steer", "--vector", "text.gguf", "--alpha", "1"], "not a whole GGUF file"),
        (["steer", "--vector", "text.safetensors", "--alpha", "1"], "not a safetensors file"),
        (["steer", "--vector", "wide.safetensors", "--alpha", "1"], "has width 64, 'embedded' has d_model 128"),
        (["steer", "--vector", "wide.gguf", "--alpha", "1"], "has width 64, 'embedded' has d_model 128"),
        (["steer", "--vector", "deep.safetensors", "--alpha", "1"], "no layer 30 in 'embedded'"),
        (["steer", "--vector", "two.safetensors", "--dose", "1"], "has layers [1, 2]; choose one with --layer"),
        (["steer", "--vector", "two.safetensors", "--dose", "1", "--layer", "4"], "this vector has layers [1, 2]"),
        (["steer", "--vector", "zero.safetensors", "--dose", "1"], "zero vector"),
        (["steer", "--vector", "two.safetensors", "--style", "terse", "--alpha", "1"], "not both"),
        (["steer", "--style", "terse", "--alpha", "1", "--model", ""], "model ''"),
        (["diagnose"], "give --style, or both"),
        (["diagnose", "--style", "terse", "--max-new-tokens", "-3", "--model", "/no/such"], "max_new_tokens is -3"),
        (
            ["diagnose", "--style", "terse", "--json", "/proc/none.json", "--model", "/no/such"],
            "/proc/none.json cannot",
        ),
        (["diagnose", "--style", "tense"], "unknown style 'tense'"),
        (["diagnose", "--style", "terse", "--json", "/no/folder/x"], "cannot write to /no/folder/x"),
        (["diagnose", "--style", "terse", "--json", "."], "cannot write to ."),
        (["diagnose", "--style", "terse", "--model", "/no/such/model"], "/no/such/model"),
        (["diagnose", "--style", "terse", "--question", "One?"], "at least two"),
        (["diagnose", "--positive", "Hi", "--negative", "Hi"], "are the same"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_bad_input_ends_in_one_line(capsys, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name, v in {
        "wide": SteeringVector({1: torch.ones(64)}),
        "deep": SteeringVector({30: torch.ones(128)}),
        "two": SteeringVector({1: torch.ones(128), 2: torch.ones(128)}),
        "zero": SteeringVector({1: torch.zeros(128)}),
    }.items():
        v.save(f"{name}.safetensors")
    write_gguf(SteeringVector({1: torch.ones(64)}), "wide.gguf")
    for name in ("text.gguf", "text.safetensors"):
        (tmp_path / name).write_text("no vector")
    ask = ["--prompt", "Hi"] if words[0] == "steer" else []
    assert main([*words, *ask]) == 2
    out = capsys.readouterr()
    assert out.out == "" and out.err.startswith("zkit: ") and message in out.err
    assert len(out.err.splitlines()) == 1


def test_from_a_shell(tmp_path):
    done = shell(
        "steer", "--style", "terse", "--dose", "0.2", "--prompt", PROMPTS[0], "--max-new-tokens", "4", cwd=tmp_path
    )
    assert done.returncode == 0 and "--- baseline" in done.stdout and "Traceback" not in done.stderr
    bad = shell("steer", "--style", "tense", "--alpha", "1", "--prompt", "Hi")
    assert bad.returncode == 2 and bad.stderr.startswith("zkit: unknown style") and bad.stdout == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--alpha", "much", "--prompt", "Hi"], "invalid float value: 'much'"), (["--alpha", "1"], "required: --prompt")],
)
def test_words_that_the_parser_refuses(capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        main(["steer", "--style", "terse", *words])
    assert stopped.value.code == 2 and message in capsys.readouterr().err


def test_the_command_line_loads_no_torch_before_it_needs_it():
    code = "import sys, zkit.__main__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
