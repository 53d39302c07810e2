"""Every chapter: its source is clean, it runs on profile smoke, and running it again gives the same outputs."""

import json
import re
import subprocess
import sys

import chain
import nbformat
import pytest
from tiny_book import write_chapter, zkit

from zkbook.pages import places, profiles, provenance, sourcebook, staging, vocabulary

CHAPTERS = places.chapters(chain.ROOT)
of_each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def stripped(path):
    return subprocess.run(
        [sys.executable, "-m", "nbstripout", "--verify", "--keep-id", path], capture_output=True, text=True
    )


@of_each_chapter
def test_sources_are_stripped_and_keep_their_kernel(path):
    done = stripped(path)
    assert done.returncode == 0, f"run: nbstripout --keep-id {path}\n{done.stdout}{done.stderr}"
    kernel = json.loads(path.read_text())["metadata"]["kernelspec"]
    assert kernel["name"] == "python3"


@of_each_chapter
def test_chapters_speak_the_books_vocabulary(path):
    clean = sourcebook.read(path)
    assert clean.parameters, "one cell must be tagged `parameters`"
    assert set(clean.parameters) <= set(vocabulary.VOCABULARY)
    assert {"profile", "out"} <= set(clean.parameters)
    code = ["".join(cell["source"]) for cell in clean.cells if cell["cell_type"] == "code"]
    assert f'pages.begin("{clean.name}", globals())' in code[1]
    assert code[-1].strip() == "chapter.finish()"


@of_each_chapter
@pytest.mark.parametrize("profile", profiles.names())
def test_every_profile_gives_valid_parameters(path, profile):
    plan = sourcebook.plan(sourcebook.read(path), profile, "embedded" if profile == "field" else None)
    assert plan.parameters["profile"] == profile


def test_profiles_speak_of_chapters_that_exist():
    named = set(profiles._table()) - {profiles.EVERY}
    assert named <= {path.stem for path in CHAPTERS}
    sourcebook.in_order([sourcebook.read(path) for path in CHAPTERS])


@pytest.mark.chain
@of_each_chapter
def test_it_runs_and_leaves_a_stamp_and_results(path):
    made = chain.smoke_run()
    assert made.done.returncode == 0, made.done.stderr
    executed = json.loads((made.folder / path.name).read_text())
    assert staging.complaint(executed) == ""
    stamp = provenance.read_stamp(executed["metadata"])
    assert stamp is not None and stamp.parameters["profile"] == "smoke"
    results = json.loads((made.folder / "results" / f"{path.stem}.json").read_text())
    if results["model"]:  # the last chapter loads none
        assert re.fullmatch("[0-9a-f]{64}", stamp.weights["embedded"])
        assert stamp.weights["embedded"] == results["model"]["sha256"] and "zkit.models" in stamp.modules
    assert results["stats"] and not {v["status"] for v in results["claims"]} & {"confirmed", "refuted"}


@pytest.mark.chain
@of_each_chapter
def test_nbval_finds_the_same_outputs(path, tmp_path):
    made = chain.smoke_run()
    assert made.done.returncode == 0, made.done.stderr
    copy = chain.throw_away(made.folder / path.name, tmp_path)
    done = chain.nbval(copy)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
    assert (copy.parent / "out" / "results" / path.name).with_suffix(".json").is_file()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """An executed chapter that prints what a rerun may change beside what it may not."""
    folder = tmp_path_factory.mktemp("tiny")
    first = 'import time\nchapter.stat("x", 41.5)\nprint(chapter.out, object())'
    said = 'print(time.strftime("%Y-%m-%dT%H:%M:%S"), f"took {time.time():.2f} s: {41 + 0.5} of 300")'
    path = write_chapter(folder, "00_tiny", first, said)
    done = zkit("run", path)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "embedded-embedded" / "00_tiny.ipynb"


def test_a_rerun_may_differ_in_paths_times_addresses_and_stamps(tiny, tmp_path):
    done = chain.nbval(chain.throw_away(tiny, tmp_path))
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out" / "results" / "00_tiny.json").is_file()
    assert "passed" in done.stdout


def test_a_rerun_may_not_differ_in_a_figure(tiny, tmp_path):
    copy = chain.throw_away(tiny, tmp_path)
    for wrong, right in (("41.6 of 300", "41.5 of 300"), ("alpha    2.5", "alpha    2.0")):
        content = copy.read_text()
        assert right in content
        copy.write_text(content.replace(right, wrong))
        done = chain.nbval(copy)
        assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout
        copy.write_text(content)


def test_outputs_left_in_a_source_are_found(tmp_path):
    path = write_chapter(tmp_path, "00_tiny", "print(1)")
    assert stripped(path).returncode == 0
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1]["outputs"] = [nbformat.v4.new_output("stream", text="1")]
    nbformat.write(notebook, path)
    assert stripped(path).returncode != 0


@pytest.mark.chain
@of_each_chapter
def test_every_figure_in_the_prose_exists_for_another_model_too(path):
    made = chain.another_run()
    assert made.done.returncode == 0, made.done.stderr
    executed = nbformat.read(made.folder / path.name, as_version=4)
    prose = "\n".join(cell.source for cell in executed.cells if cell.cell_type == "markdown")
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    shown = {output.get("metadata", {}).get("scrapbook", {}).get("name") for output in outputs}
    cited = set(re.findall(r"\{glue\}`([^`:]+)`", prose))
    assert cited and cited <= shown, cited - shown
