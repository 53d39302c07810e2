"""A stamp vouches for an execution until something that went into it changes, and for nothing else."""

import os
import sys

import pytest

from zkbook.pages import provenance, results
from zkbook.pages.places import results_file
from zkbook.pages.provenance import EDITED, Stamp
from zkit import sources

CELLS = [{"cell_type": "code", "source": "x = 1", "metadata": {"tags": ["parameters"]}}]


def left(value=None):
    """Results as a chapter leaves them."""
    stats = {} if value is None else {"x": results.stat("x", value)}
    return {"parameters": {}, "model": None, "versions": {}, "stats": stats, "claims": []}


@pytest.fixture
def now(tmp_path):
    """An execution and the world as it was then: (stamp, arguments of changes())."""
    for name, value in (("00_c", 1), ("01_d", 2)):
        results.save(results_file(tmp_path, name), left(value))
    stamp = Stamp(
        cells=provenance.cells_digest(CELLS),
        parameters={"alpha": 2.0},
        weights={"embedded": "w" * 64},
        inputs={"00_c": provenance.results_digest(tmp_path, "00_c")},
        modules={"zkit.errors": provenance.module_digest("zkit.errors")},
        results=provenance.results_digest(tmp_path, "01_d"),
        executed="2026-01-01T00:00:00+00:00",
    )
    world = {
        "cells": stamp.cells,
        "parameters": {"alpha": 2.0, "out": "/anywhere"},
        "out": tmp_path,
        "chapter": "01_d",
        "weights": lambda model: "w" * 64,
    }
    return stamp, world


def test_nothing_changed(now):
    stamp, world = now
    assert provenance.changes(stamp, **world) == []


def test_never_executed(now):
    assert provenance.changes(None, **now[1]) == ["never executed"]


def test_a_changed_cell(now):
    stamp, world = now
    assert provenance.changes(stamp, **world | {"cells": "other"}) == ["its code changed"]


@pytest.mark.parametrize("parameters", [{"alpha": 3.0}, {}, {"alpha": 2.0, "seed": 0}])
def test_a_changed_added_or_removed_parameter(now, parameters):
    stamp, world = now
    (why,) = provenance.changes(stamp, **world | {"parameters": parameters})
    assert why.startswith("parameters changed: ") and ("alpha" in why or "seed" in why)


def test_changed_weights(now):
    stamp, world = now
    assert provenance.changes(stamp, **world | {"weights": lambda model: "v"}) == ["weights of embedded changed"]


def test_weights_are_hashed_by_content(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"one")
    before = provenance.weights_digest(str(tmp_path))
    assert before == sources.resolve(str(tmp_path)).sha256()
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert provenance.weights_digest(str(tmp_path)) not in ("", before)
    assert provenance.weights_digest(str(tmp_path / "gone")) == ""


def test_files_that_parameters_name_count_by_content(now, tmp_path):
    stamp, world = now
    (folder := tmp_path / "gates").mkdir()
    (folder / "a").write_text("one")
    (file := tmp_path / "texts.jsonl").write_text("{}")
    parameters = {"gates": str(folder), "forget": str(file)}
    digests = {name: provenance.contents_digest(tmp_path / path) for name, path in parameters.items()}
    stamp = stamp.model_copy(update={"parameters": parameters, "files": digests})
    world |= {"parameters": parameters}
    assert provenance.changes(stamp, **world) == []
    os.utime(file, (1, 1))
    assert provenance.changes(stamp, **world) == []
    file.write_text("{ }")
    assert provenance.changes(stamp, **world) == [f"contents of forget changed ({file})"]
    file.unlink()
    (folder / "a").rename(folder / "b")
    assert [line.split(" (")[0] for line in provenance.changes(stamp, **world)] == [
        "contents of gates changed",
        "contents of forget changed",
    ]
    edited = stamp.model_copy(update={"files": {"gates": EDITED}})
    assert provenance.changes(edited, **world) == ["gates was changed while the chapter ran"]


def test_changed_or_lost_inputs(now, tmp_path):
    stamp, world = now
    results.save(results_file(tmp_path, "00_c"), left(9))
    assert provenance.changes(stamp, **world) == ["results of 00_c changed"]
    results_file(tmp_path, "00_c").unlink()
    assert provenance.changes(stamp, **world) == ["results of 00_c changed"]


def test_results_that_are_gone_or_of_another_execution(now, tmp_path):
    stamp, world = now
    results.save(results_file(tmp_path, "01_d"), left())
    assert provenance.changes(stamp, **world) == ["its results file is gone or is not of this execution"]


def test_a_changed_module_is_named(now):
    stamp, world = now
    for recorded, reason in (("old", "module zkit.errors changed"), (EDITED, "was edited while the chapter ran")):
        (why,) = provenance.changes(stamp.model_copy(update={"modules": {"zkit.errors": recorded}}), **world)
        assert reason in why
    (why,) = provenance.changes(stamp.model_copy(update={"modules": {"zkit.no_longer": "old"}}), **world)
    assert why == "module zkit.no_longer changed"


def test_digest_covers_what_went_in_and_not_what_came_out(now):
    stamp, _ = now
    assert stamp.model_copy(update={"executed": "later", "results": "other"}).digest == stamp.digest
    for change in (
        {"cells": "c"},
        {"parameters": {}},
        {"weights": {}},
        {"inputs": {}},
        {"modules": {}},
        {"files": {"forget": "f"}},
    ):
        assert stamp.model_copy(update=change).digest != stamp.digest


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ({"source": ["x = ", "1"]}, True),
        ({"outputs": ["anything"], "execution_count": 7}, True),
        ({"metadata": {"tags": ["parameters"], "papermill": {"status": "completed"}}}, True),
        ({"source": "x = 2"}, False),
        ({"cell_type": "markdown"}, False),
        ({"metadata": {"tags": ["parameters", "hide-input"]}}, False),
    ],
)
def test_code_cells_count_by_source_and_tags(cell, same):
    assert (provenance.cells_digest([CELLS[0] | cell]) == provenance.cells_digest(CELLS)) is same


def test_prose_does_not_count_and_the_order_of_code_does():
    other, text = CELLS[0] | {"source": "y = 2"}, {"cell_type": "markdown", "source": "# Text", "metadata": {}}
    digest = provenance.cells_digest([*CELLS, other])
    assert provenance.cells_digest([text, *CELLS, text, other]) == digest
    assert provenance.cells_digest([other, *CELLS]) != digest


def test_stamps_of_other_versions_are_no_stamps():
    assert provenance.read_stamp({}) is None
    assert provenance.read_stamp({"zkit": {"stamp": {"cells": "c", "parameters": {}, "novelty": 1}}}) is None
    stamp = Stamp(cells="c", parameters={})
    assert provenance.read_stamp({"zkit": {"stamp": vars(stamp)}}) == stamp


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A zkit of its own: a module with a script beside it, a package with a style sheet and a module with a table."""
    home = tmp_path / "zkit"
    (home / "plots").mkdir(parents=True)
    (home / "draw").mkdir()
    for file in (
        "__init__.py",
        "draw.py",
        "draw.js",
        "draw/lines.jsonl",
        "plots/__init__.py",
        "plots/line.py",
        "plots/line.yml",
        "plots/a.css",
    ):
        (home / file).write_text(file)
    monkeypatch.setattr(provenance, "PACKAGES", {"zkit": home})
    return home


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("draw.py", {"zkit.draw"}),
        ("draw.js", {"zkit.draw"}),
        ("draw/lines.jsonl", {"zkit.draw"}),
        ("plots/__init__.py", {"zkit.plots"}),
        ("plots/a.css", {"zkit.plots"}),
        ("plots/line.py", {"zkit.plots.line"}),
        ("plots/line.yml", {"zkit.plots.line"}),
    ],
)
def test_a_module_is_its_source_and_its_own_data(package, file, changed):
    names = ("zkit", "zkit.draw", "zkit.plots", "zkit.plots.line")
    before = {name: provenance.module_digest(name) for name in names}
    assert all(before.values())
    (package / file).write_text("other")
    assert {name for name in names if provenance.module_digest(name) != before[name]} == changed


def test_a_module_edited_during_the_run_is_never_current(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "zkit.draw", object())
    for file in package.rglob("*.*"):
        os.utime(file, (1000, 1000))
    assert provenance.imported_modules(since=2000)["zkit.draw"] == provenance.module_digest("zkit.draw")
    os.utime(package / "draw.js", (3000, 3000))
    assert provenance.imported_modules(since=2000)["zkit.draw"] == EDITED
