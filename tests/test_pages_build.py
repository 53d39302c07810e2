"""Staging and building: nothing half-made enters the book, and the last good build stands until a better one."""

import json
import re

import pytest
from tiny_book import make_book, write_chapter, zkit

from zkbook.pages import build, prose, results, runner, sourcebook, staging
from zkbook.pages.places import results_file
from zkit.errors import ZkitError

STAMP = {"cells": "c", "parameters": {}}


def cell(**changes):
    return {"cell_type": "code", "source": "1", "execution_count": 1, "metadata": {"tags": []}, "outputs": []} | changes


def notebook(*cells, exception=None, stamp=STAMP):
    metadata = {"papermill": {"exception": exception}, "zkit": {"stamp": stamp}}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": list(cells)}


@pytest.mark.parametrize(
    ("copy", "complaint"),
    [
        (notebook(cell()), ""),
        (notebook(cell(), cell(source="", execution_count=None)), ""),
        (notebook(cell(), {"cell_type": "markdown", "source": "text", "metadata": {}}), ""),
        (notebook(cell(), exception=True), "its execution failed"),
        (notebook(cell(), cell(metadata={"tags": ["papermill-error-cell-tag"]})), "its execution failed"),
        (notebook(cell(), cell(execution_count=None)), "one of its cells was not executed"),
        (notebook(cell(), stamp=None), "it carries no stamp"),
    ],
)
def test_only_whole_executions_may_enter_the_book(copy, complaint):
    assert staging.complaint(copy).startswith(complaint) and bool(staging.complaint(copy)) == bool(complaint)


@pytest.fixture
def run(tmp_path):
    """A book and a run of its two chapters, as if executed: (root, plans)."""
    root = make_book(tmp_path)
    plans = [sourcebook.plan(sourcebook.read(write_chapter(root / "notebooks", n)), "smoke") for n in ("a", "b")]
    for plan in plans:
        left = {"parameters": {}, "model": None, "versions": {}, "stats": {}, "claims": []}
        results.save(results_file(plan.out, plan.name), left)
        executed = [c if c["cell_type"] == "markdown" else cell(source=c["source"]) for c in plan.clean.cells]
        plan.executed.write_text(json.dumps(notebook(*executed)))
    return root, plans


def staged(root):
    return sorted(path.name for path in staging.folder(root).rglob("*.*"))


def test_staging_takes_the_run_and_removes_what_no_chapter_stands_for(run):
    root, plans = run
    staging.stage(plans, root)
    assert staged(root) == ["a.ipynb", "a.json", "b.ipynb", "b.json"]
    before = (staging.folder(root) / "a.ipynb").stat().st_mtime_ns
    assert [staging.why_not_staged(plan, root) for plan in plans] == [[], []]
    staging.stage(plans[:1], root)
    assert staged(root) == ["a.ipynb", "a.json"]
    assert (staging.folder(root) / "a.ipynb").stat().st_mtime_ns == before
    assert staging.why_not_staged(plans[1], root) == ["it is not the copy in the book"]


@pytest.mark.parametrize("broken", ["failed", "garbled", "missing", "no results"])
def test_a_broken_chapter_stages_nothing(run, broken):
    root, plans = run
    if broken == "failed":
        plans[1].executed.write_text(json.dumps(notebook(cell(), exception=True)))
    elif broken == "garbled":
        plans[1].executed.write_text("{")
    elif broken == "missing":
        plans[1].executed.unlink()
    else:
        results_file(plans[1].out, "b").unlink()
    with pytest.raises(ZkitError, match=r"b cannot go into the book: .*python -m zkit run"):
        staging.stage(plans, root)
    assert staged(root) == []


def page(root, text):
    (root / "book" / "intro.md").write_text(text)


def test_a_build_is_whole_and_made_once(tmp_path):
    root = make_book(tmp_path)
    assert build.build(root) is True
    assert (build.html(root) / "book" / "intro.html").is_file()
    assert build.build(root) is False
    page(root, "# A tiny book\n\nAnother text.\n")
    assert build.build(root) is True
    assert "Another text." in (build.html(root) / "book" / "intro.html").read_text()

    page(root, "# A tiny book\n\n[A link](nowhere.md)\n")
    with pytest.raises(ZkitError, match="the last good build still stands"):
        build.build(root)
    assert "Another text." in (build.html(root) / "book" / "intro.html").read_text()
    assert sorted(path.name for path in (root / "_build").iterdir()) == ["fingerprint", "html"]


def test_a_page_that_was_not_made_is_an_error_even_if_the_tool_is_content(tmp_path, monkeypatch):
    root = make_book(tmp_path)
    monkeypatch.setattr(build, "_sphinx", lambda root, room: None)
    with pytest.raises(ZkitError, match=re.escape("the build made no index.html, book/intro.html")):
        build.build(root)


@pytest.mark.parametrize("change", ["_config.yml", "_toc.yml", "book/intro.md", "book/new.css", "extra.md"])
def test_every_source_counts_for_a_build(tmp_path, change):
    root = make_book(tmp_path)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\nchapters:\n- file: extra\n")
    (root / "extra.md").write_text("# Extra\n")
    before = build.fingerprint(root)
    assert build.fingerprint(root) == before
    with (root / change).open("a") as file:
        file.write("\n# more\n")
    assert build.fingerprint(root) != before


def test_a_missing_tool_is_named(tmp_path, monkeypatch):
    root = make_book(tmp_path)
    monkeypatch.setattr(build, "_TOOLS", ("no-such-tool",))
    with pytest.raises(ZkitError, match=r"no-such-tool is not installed; pip install -r requirements\.txt"):
        build.build(root)


def test_a_failed_build_ends_the_command_with_one_message_after_the_warnings(tmp_path):
    root = make_book(tmp_path)
    page(root, "# A tiny book\n\n[A link](nowhere.md)\n")
    done = zkit("book", "--root", root)
    assert done.returncode == 2 and "nowhere.md" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("zkit: the book was not built")


def entries(item, path=()):
    yield path
    pairs = item.items() if isinstance(item, dict) else enumerate(item[:3]) if isinstance(item, list) else ()
    for key, inner in pairs:
        yield from entries(inner, (*path, key))


def changed(item, path, value):
    if not path:
        return value
    copy = json.loads(json.dumps(item))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copy


def test_a_notebook_with_anything_anywhere_is_read_or_refused(run):
    """A clean one, and an executed copy: of every entry a null, a number, a list and an object is tried."""
    root, [plan, _] = run
    clean, copy = json.loads(plan.clean.path.read_text()), json.loads(plan.executed.read_text())
    values = (None, 3, [1], {"a": 1}, "\ud800")
    refused = 0
    for path, value in ((path, value) for path in entries(copy) for value in values):
        plan.executed.write_text(json.dumps(changed(copy, path, value)))
        assert runner.why_stale(plan)
        for use in (
            lambda: staging.why_not_staged(plan, root),
            lambda: prose.refresh(plan.executed, [{"cell_type": "markdown", "source": "a", "metadata": {}}]),
            lambda: staging.stage([plan], root),
        ):
            try:
                use()
            except ZkitError:
                refused += 1
    for path, value in ((path, value) for path in entries(clean) for value in values):
        plan.clean.path.write_text(json.dumps(changed(clean, path, value)))
        try:
            sourcebook.plan(sourcebook.read(plan.clean.path), "smoke")
        except ZkitError:
            refused += 1
    assert refused > 300
