"""What a chapter reads and where it writes: looked for in the right folder, refused before anything starts, and
counted by content."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_book import make_book, write_chapter, zkit

from zkbook.pages import begin, inputs, parameters, places, runner, sourcebook
from zkbook.pages.places import CHECKOUT
from zkit import sources
from zkit.__main__ import main
from zkit.errors import ZkitError

DECLARED = 'forget: str = ""\ngates: str = ""\nalpha: float = 1.0\ndevice: str = "auto"\nout: str = ""\n'
READ = 'chapter.stat("letters", len(open(forget).read()) if forget else 0)\nprint(forget)'


@pytest.fixture
def book(tmp_path):
    root = make_book(tmp_path / "book")
    write_chapter(root / "notebooks", "00_reads", READ, parameters=DECLARED)
    (tmp_path / "shell").mkdir()
    (tmp_path / "shell" / "texts.jsonl").write_text("one")
    return root


def clean(book):
    return sourcebook.read(book / "notebooks" / "00_reads.ipynb")


def test_paths_that_are_given_are_taken_from_the_callers_folder_and_defaults_from_the_notebooks(
    book, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path / "shell")
    monkeypatch.setenv("HOME", str(tmp_path))
    there = str(tmp_path / "shell" / "texts.jsonl")
    for typed in ("texts.jsonl", "../shell/texts.jsonl", "~/shell/texts.jsonl", there):
        plan = sourcebook.plan(clean(book), "embedded", None, {"forget": typed, "gates": "../shell"})
        assert plan.given["forget"] == plan.parameters["forget"] == there
        assert plan.given["gates"] == str(tmp_path / "shell")
    (book / "notebooks" / "own.jsonl").write_text("own")
    write_chapter(book / "notebooks", "00_reads", READ, parameters='forget: str = "own.jsonl"\nmine: "path" = "."')
    plan = sourcebook.plan(clean(book), "embedded")
    assert plan.parameters == {"forget": str(book / "notebooks" / "own.jsonl"), "mine": str(book / "notebooks")}
    assert sourcebook.plan(clean(book), "embedded", None, {"mine": "."}).parameters["mine"] == str(tmp_path / "shell")


def test_a_chapter_of_the_book_finds_its_own_default_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    declared = {"__annotations__": {"mine": "path", "out": "str"}, "out": str(tmp_path / "out")}
    default, given = (
        declared | {"mine": "../book/field"},
        declared | {"mine": "own", "In": ['# Parameters\nmine = "own"']},
    )
    begin("08_z_mask", default)
    begin("08_z_mask", given)
    assert (default["mine"], given["mine"]) == (str(CHECKOUT / "book" / "field"), str(tmp_path / "own"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"forget": "own.jsonl"}, r"00_reads: forget = 'own.jsonl' is not there: it was looked for in {shell} \(JSONL"),
        ({"forget": "/no/such.jsonl"}, r"forget = '/no/such.jsonl' is not there \(JSONL"),
        (
            {"forget": "~no-such-user/texts.jsonl"},
            "forget = '~no-such-user/texts.jsonl' is not there: it was looked for in",
        ),
        ({"forget": "{shell}"}, r"forget = '{shell}' is not a file"),
        ({"gates": "gates"}, r"gates = 'gates' is not there: it was looked for in {shell} \(folder or file"),
        ({"gates": "/dev/null"}, r"gates = '/dev/null' is not a file or folder"),
    ],
)
def test_what_is_not_there_is_named_with_the_folder_it_was_looked_for_in(book, tmp_path, monkeypatch, given, words):
    shell = str(tmp_path / "shell")
    (book / "notebooks" / "own.jsonl").touch()
    monkeypatch.chdir(shell)
    given = {name: value.replace("{shell}", shell) for name, value in given.items()}
    with pytest.raises(ZkitError, match=words.replace("{shell}", shell)):
        sourcebook.plan(clean(book), "embedded", None, given)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_what_may_not_be_read_or_written_is_refused(book, tmp_path):
    (secret := tmp_path / "secret.jsonl").touch(0o000)
    with pytest.raises(ZkitError, match="cannot be read: no permission"):
        sourcebook.plan(clean(book), "embedded", None, {"forget": str(secret)})
    (locked := tmp_path / "locked").mkdir(0o555)
    with pytest.raises(ZkitError, match="locked cannot be written to"):
        inputs.check({}, {}, locked / "out")


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A book of two chapters that read a file beside them, executed; the second one also writes to its file."""
    root = make_book(tmp_path_factory.mktemp("executed") / "book")
    for name, body in (("00_reads", READ), ("01_edits", 'open(forget, "a").write("!")')):
        own = DECLARED.replace('forget: str = ""', f'forget: str = "{name}.jsonl"')
        write_chapter(root / "notebooks", name, body, parameters=own)
        (root / "notebooks" / f"{name}.jsonl").write_text("one")
    done = zkit("book", "--root", root, "--no-build", cwd="/")
    assert done.returncode == 0, done.stderr
    return root


def test_check_says_that_contents_changed(executed, tmp_path, capsys):
    shutil.copytree(executed, book := tmp_path / "book")
    for chapter in ("00_reads", "01_edits"):  # the stamp holds the paths of the first place
        copy = book / "runs" / "embedded-embedded" / f"{chapter}.ipynb"
        copy.write_text(copy.read_text().replace(str(executed), str(book)))
    file = book / "notebooks" / "00_reads.jsonl"

    def reasons():
        assert main(["check", "--root", str(book)]) == 1
        return capsys.readouterr().out.splitlines()

    assert [line.partition(": ")[2] for line in reasons()] == [
        "it is not the copy in the book",
        "forget was changed while the chapter ran",
    ]
    file.write_text("other")
    assert reasons()[0] == f"00_reads: contents of forget changed ({file})"
    file.unlink()
    assert main(["check", "--root", str(book)]) == 2
    assert f"'00_reads.jsonl' is not there: it was looked for in {file.parent}" in capsys.readouterr().err


def test_the_foot_shows_the_hash_of_what_was_read(executed):
    file = executed / "notebooks" / "00_reads.jsonl"
    notebook = json.loads((executed / "book" / "executed" / "00_reads.ipynb").read_text())
    printed, foot = (cell["outputs"][-1] for cell in notebook["cells"][-2:])
    assert printed["text"] == [f"{file}\n"]
    assert f"{file} (sha256 7692c3ad3540)" in "".join(foot["data"]["text/html"])
    assert notebook["metadata"]["zkit"]["stamp"]["files"] == {"forget": hashlib.sha256(b"one").hexdigest()}


def test_a_run_takes_relative_paths_from_the_folder_it_is_called_in(book, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "shell")
    given = ["run", str(book / "notebooks" / "00_reads.ipynb"), "-p", "forget=texts.jsonl", "-p", "out=out"]
    assert main(given) == 0
    assert json.loads(Path("out/results/00_reads.json").read_text())["stats"]["letters"]["value"] == 3
    plan = sourcebook.plan(
        clean(book), "embedded", None, sourcebook.typed(["forget=texts.jsonl", "out=out"], clean(book))
    )
    assert runner.why_stale(plan) == []
    Path("texts.jsonl").write_text("three")
    assert runner.why_stale(plan) == [f"contents of forget changed ({tmp_path / 'shell' / 'texts.jsonl'})"]


# ------------------------------------------------------------------------------------------- plain papermill, Jupyter


def namespace(**values):
    space = {}
    exec(DECLARED + 'model: str = "embedded"\n', space)
    return space | values


def test_a_chapter_looks_in_the_kernels_folder_and_works_with_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "texts.jsonl").write_text("one")
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    space = namespace(forget="texts.jsonl", model="./weights", out=str(tmp_path / "out"))
    handle = begin("00_reads", space)
    assert space["forget"] == handle.parameters["forget"] == str(tmp_path / "texts.jsonl")
    assert space["model"] == handle.parameters["model"] == str(tmp_path / "weights") and space["gates"] == ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"forget": "texts.jsonl"}, "00_reads: forget = 'texts.jsonl' is not there: it was looked for in {cwd}"),
        ({"model": "./weights"}, "'./weights' does not exist"),
        ({"device": "cuda:99"}, 'device = "cuda:99" is not there: '),
        ({"out": "/dev/null/out"}, "out = /dev/null/out: /dev/null is a file, not a folder"),
    ],
)
def test_a_chapter_refuses_at_once_what_is_not_there(tmp_path, monkeypatch, values, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZkitError, match=words.replace("{cwd}", str(tmp_path))):
        begin("00_reads", namespace(**values))


def test_plain_papermill_takes_paths_from_the_callers_folder(book, tmp_path):
    shell = tmp_path / "shell"
    source = str(book / "notebooks" / "00_reads.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "papermill", source, "o.ipynb", "-p", "forget", "texts.jsonl", "-p", "out", tmp_path],
        cwd=shell,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results" / "00_reads.json").read_text())["stats"]["letters"]["value"] == 3


# ------------------------------------------------------------------------------------------------- what can be known


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-p", "device=cuda:99"], 'device = "cuda:99" is not there: '),
        (["-p", "out=/dev/null/out"], "/dev/null is a file, not a folder; choose another with -p out=FOLDER"),
        (["-p", "gates=/no/such"], "gates = '/no/such' is not there"),
        (["-p", "gates=.", "-p", "out=deep/out"], "lies inside gates = "),
    ],
)
def test_a_run_that_could_not_start_is_refused_before_a_kernel_does(book, tmp_path, monkeypatch, options, words):
    monkeypatch.setattr(runner, "_pool", None)
    monkeypatch.chdir(tmp_path / "shell")
    given = sourcebook.typed(options[1::2], clean(book))
    with pytest.raises(ZkitError, match=words.replace("(", r"\(")):
        runner.run([sourcebook.plan(clean(book), "embedded", None, given)], bar=False)
    assert not (book / "runs").exists() and not (tmp_path / "shell" / "deep").exists()


def test_cuda_without_cuda_is_one_message_of_the_command_line(book, monkeypatch, capsys):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["run", str(book / "notebooks" / "00_reads.ipynb"), "-p", "device=cuda"]) == 2
    assert capsys.readouterr() == (
        "",
        'zkit: device = "cuda" is not there: torch finds no CUDA here; use "auto" or "cpu"\n',
    )


def test_a_full_disk_and_a_model_out_of_reach_are_refused(tmp_path, monkeypatch):
    known = parameters.declared('model: str = "embedded"\n', "c")
    monkeypatch.setattr(sources.Source, "offline", lambda source: True)
    with pytest.raises(ZkitError, match="'org/nowhere' is neither a folder here nor in the local Hugging Face cache"):
        inputs.check(known, {"model": "org/nowhere"}, tmp_path)
    monkeypatch.setattr(sources.Source, "offline", lambda source: False)
    inputs.check(known, {"model": "org/nowhere"}, tmp_path)
    monkeypatch.setattr(inputs, "ROOM", 2**70)
    with pytest.raises(ZkitError, match="no room on the disk"):
        inputs.check(known, {"model": "embedded"}, tmp_path)


# ------------------------------------------------------------------------------------------------------ run folders


def test_every_model_has_a_run_folder_of_its_own(tmp_path):
    models = ["embedded", "embedded-sink", "a/x", "b/x", "x", "a-x", "/data/one/x", "/data/two/x", "/data/one/y"]
    models += ["/data/é", "/data/ü", "/data/模型", "/data/型模", "/data/a b", "/data/a-b", "/embedded", "/a--x", "a--x"]
    models += ["/long/" + "x" * 300, "/long/" + "x" * 301]
    folders = [places.run_folder(tmp_path / "n.ipynb", "smoke", model).name for model in models]
    assert len(set(folders)) == len(models) and all(len(name) < 100 and name.isascii() for name in folders)
    assert folders[:3] == ["smoke-embedded", "smoke-embedded-sink", "smoke-a--x"]
    assert folders[6].startswith("smoke-x@")


def test_two_models_of_one_last_name_do_not_share_results(tmp_path):
    path = write_chapter(tmp_path, "c", parameters='model: str = "embedded"')
    for name in ("one/é", "two/é", "two/ü"):
        (tmp_path / name).mkdir(parents=True)
    plans = [sourcebook.plan(sourcebook.read(path), "smoke", str(tmp_path / n)) for n in ("one/é", "two/é", "two/ü")]
    assert len({plan.executed for plan in plans}) == 3
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert sourcebook.plan(sourcebook.read(path), "smoke", str(tmp_path / "link" / "é")).out == plans[0].out
