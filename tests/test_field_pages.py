"""Pages kept from a run on a real model: they name the model, hold no path of the machine, say when they are old."""

import json
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from tiny_book import PARAMETERS, make_book, write_chapter, zkit

from zkbook import claims
from zkbook.pages import executions, keeping, results
from zkbook.site import kept, ledger
from zkit import sources

NAME = "00_tiny"


def chapter(root, *body):
    parameters = PARAMETERS + 'model: str = "embedded"\n'
    first = 'import sys\n\nnet = chapter.model()\nchapter.stat("x", 41.5)\nprint(net.id, chapter.out)\n'
    first += "print(sys.prefix, file=sys.stderr)"
    return write_chapter(root / "notebooks", NAME, first, *body, parameters=parameters)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A book whose chapter was run on a model in a folder, and what keeps it: its root, the arguments."""
    root = make_book(tmp_path_factory.mktemp("book"))
    path = chapter(root)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0]["source"] += "\n\nNext: {doc}`01_other`, {doc}`/book/ledger`."
    nbformat.write(notebook, path)
    model = shutil.copytree(sources.resolve("embedded").folder(), root / "elsewhere" / "real-model")
    arguments = (path, "--profile", "field", "--model", model)
    done = zkit("run", *arguments)
    assert done.returncode == 0, done.stderr
    return root, arguments


def test_a_kept_page_names_the_model_and_holds_no_path(run):
    root, arguments = run
    done = zkit("keep", *arguments)
    assert done.returncode == 0, done.stderr
    page = keeping.folder(root) / f"{NAME}.ipynb"
    assert done.stdout.strip() == str(page)
    notebook = nbformat.read(page, as_version=4)
    nbformat.validate(notebook)
    assert notebook.cells[0]["source"].startswith(f"# {NAME}, on real-model\n")
    assert "{doc}`/book/executed/01_other`, {doc}`/book/ledger`." in notebook.cells[0]["source"]
    assert notebook.cells[1]["source"] == f"```{{zk-kept}} {NAME}\n```"
    found = results.load(keeping.folder(root) / "results" / f"{NAME}.json")
    assert found["parameters"]["model"] == found["model"]["id"] == "real-model"
    assert found["stats"]["x"]["value"] == 41.5
    for file in keeping.folder(root).rglob("*.*"):
        assert str(root) not in file.read_text() and sys.prefix not in file.read_text()


def test_its_note_says_what_was_run_and_when_the_chapter_has_changed(run):
    root, arguments = run
    assert zkit("keep", *arguments).returncode == 0
    book = root / "book"
    said = "\n".join(kept.note(book, NAME))
    assert sources.resolve("embedded").sha256() in said and "` real-model `" in said
    assert kept.CHANGED not in said and kept.page(book, NAME) == "real-model"
    assert kept.page(book, "01_other") is None
    before = arguments[0].read_bytes()
    chapter(root, "1 + 1")
    try:
        assert kept.CHANGED in kept.note(book, NAME)
        done = zkit("keep", *arguments)
        assert done.returncode == 2 and "its code has changed since it was executed; run it first" in done.stderr
    finally:
        arguments[0].write_bytes(before)


def test_a_page_of_a_chapter_that_loads_no_model_is_about_the_model_of_its_run(tmp_path):
    root = make_book(tmp_path / "book")
    path = write_chapter(root / "notebooks", NAME, "1 + 1", parameters=PARAMETERS + 'model: str = "embedded"\n')
    model = shutil.copytree(sources.resolve("embedded").folder(), root / "real-model")
    for verb in ("run", "keep"):
        done = zkit(verb, path, "--profile", "field", "--model", model)
        assert done.returncode == 0, done.stderr
    assert kept.page(root / "book", NAME) == "real-model"
    assert "` real-model `" in "\n".join(kept.note(root / "book", NAME))


def test_an_executed_copy_tells_seconds_memory_and_the_figure_of_its_finding(run):
    root, (path, *_) = run
    [copy] = (root / "runs").glob(f"*/{NAME}.ipynb")
    found = executions.read(copy.parent, NAME)
    assert 0 < found.seconds < 600 and 2**26 < found.peak_bytes < 2**36 and found.figure == ""
    assert executions.read(copy.parent, "01_none") is None
    assert executions.read(path.parent, NAME) is None  # the notebook itself was not executed
    kept_before = copy.read_bytes()
    notebook = nbformat.reads(kept_before.decode(), as_version=4)
    shown = '<figure class="zk-figure" id="fig-tiny-finding">'
    notebook.cells.append(
        nbformat.v4.new_code_cell(
            "1", metadata={"tags": ["finding"]}, outputs=[nbformat.v4.new_output("display_data", {"text/html": shown})]
        )
    )
    nbformat.write(notebook, copy)
    assert executions.read(copy.parent, NAME).figure == "fig-tiny-finding"
    copy.write_bytes(kept_before)


def test_what_is_no_full_run_on_another_model_is_not_kept(run):
    root, (path, *_) = run
    for more, complaint in (
        (("--profile", "smoke"), "a full run on another model"),
        ((), "a full run on another model"),
        (("--profile", "qwen", "--model", root / "elsewhere" / "real-model"), "it was not executed; run it first"),
    ):
        done = zkit("keep", path, *more)
        assert done.returncode == 2 and complaint in done.stderr


def test_a_path_of_the_machine_that_is_left_is_shown_and_nothing_is_kept(run):
    root, arguments = run
    executed = next((root / "runs").glob(f"field-*/{NAME}.ipynb"))
    before = executed.read_text()
    content = json.loads(before)
    content["cells"][-2]["outputs"] = [nbformat.v4.new_output("stream", text=f"{root}/elsewhere/notes.txt")]
    executed.write_text(json.dumps(content))
    shutil.rmtree(keeping.folder(root), ignore_errors=True)
    try:
        done = zkit("keep", *arguments)
    finally:
        executed.write_text(before)
    assert done.returncode == 2 and "elsewhere/notes.txt" in done.stderr and not keeping.folder(root).exists()


def test_the_ledger_tells_the_models_of_a_claim_apart(tmp_path):
    [claim] = [record.claim for record in ledger.shipped() if record.id == "P-A-4"]
    for place, model, value in (("executed", "embedded", 0.9), ("field", "real-model.gguf", 0.1)):
        verdict = claims.judge(claim, {"language_turned": results.stat("x", value, 50, (value, value))}, model)
        file = tmp_path / place / "results" / "09_phase3a_patching.json"
        file.parent.mkdir(parents=True)
        parameters = {"model": model, "profile": "field"}
        made = {"parameters": parameters, "model": None, "versions": {}, "stats": {}, "claims": [verdict.to_dict()]}
        results.save(file, made)
    source = Path(__file__).resolve().parent.parent / "book" / "chapters.yml"
    shutil.copy(source, tmp_path / "chapters.yml")
    record = ledger.gather(tmp_path)["P-A-4"]
    assert record.status == "confirmed" and record.analogues == {"real-model.gguf": "analogue fails"}
