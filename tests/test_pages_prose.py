"""New prose reaches the page without a kernel: code cells and outputs of the executed copy stay as they are."""

import json
import shutil
from contextlib import nullcontext

import nbformat
import pytest
from tiny_book import make_book, write_chapter

from zkbook.pages import prose, runner, staging
from zkit.__main__ import main

FIGURE = 'chapter.stat("x", 2 * alpha)\nchapter.glue("x")'


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    root = make_book(tmp_path_factory.mktemp("executed") / "book")
    write_chapter(root / "notebooks", "00_c", FIGURE, "print(2)")
    assert main(["book", "--root", str(root), "--no-build"]) == 0
    return root


class NoPool(nullcontext):
    def __enter__(self):
        return self

    def submit(self, *_):
        raise AssertionError("a kernel was started")


@pytest.fixture
def book(executed, tmp_path, monkeypatch):
    """A chapter that was executed and staged; from now on no kernel can be started."""
    monkeypatch.setattr(runner, "_pool", lambda count: NoPool())
    root = shutil.copytree(executed, tmp_path / "book")
    staged = staging.folder(root) / "00_c.ipynb"
    assert staged.read_bytes() == (root / "runs" / "embedded-embedded" / "00_c.ipynb").read_bytes()
    return root


def edit(root, change):
    path = root / "notebooks" / "00_c.ipynb"
    notebook = nbformat.read(path, as_version=4)
    change(notebook.cells)
    nbformat.write(notebook, path)


def text(source, **metadata):
    return nbformat.v4.new_markdown_cell(source, metadata=metadata)


def retitled(cells):
    cells[0].source = "# Another title: {glue}`x`"


def first_to_last(cells):
    cells.append(cells.pop(0))


EDITS = {
    "changed": retitled,
    "added": lambda cells: cells.insert(3, text("Between two code cells.")),
    "moved": first_to_last,
    "removed": lambda cells: cells.pop(0),
    "tagged": lambda cells: cells[0].metadata.update(tags=["remove-cell"]),
    "with a picture": lambda cells: cells[0].update(attachments={"a.png": {"image/png": "aaaa"}}),
}


def read(path):
    return json.loads(path.read_text())


def code(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def prose_of(notebook):
    cells = [c for c in notebook["cells"] if "injected-parameters" not in c["metadata"].get("tags", [])]
    return [None if c["cell_type"] == "code" else (c["source"], c["metadata"].get("tags")) for c in cells]


@pytest.mark.parametrize("change", EDITS.values(), ids=EDITS)
def test_edited_prose_is_on_the_page_and_nothing_was_executed(book, capsys, change):
    copy = book / "runs" / "embedded-embedded" / "00_c.ipynb"
    page = staging.folder(book) / "00_c.ipynb"
    before = read(copy)
    assert any("outputs" in cell and cell["outputs"] for cell in code(before))
    edit(book, change)
    capsys.readouterr()

    assert main(["check", "--root", str(book)]) == 1
    assert capsys.readouterr().out.strip() == "00_c: its prose changed: `make book` rebuilds the page"
    assert main(["book", "--root", str(book), "--no-build"]) == 0
    assert "new prose, nothing executed: 00_c" in capsys.readouterr().out

    after, wanted = read(page), read(book / "notebooks" / "00_c.ipynb")
    assert code(after) == code(before) and after["metadata"] == before["metadata"]
    assert prose_of(after) == prose_of(wanted) != prose_of(before)
    attached = [cell.get("attachments") for cell in wanted["cells"] if cell["cell_type"] == "markdown"]
    assert [cell.get("attachments") for cell in after["cells"] if cell["cell_type"] == "markdown"] == attached
    assert nbformat.validate(nbformat.read(page, as_version=4)) is None
    assert main(["check", "--root", str(book)]) == 0
    assert main(["book", "--root", str(book), "--no-build"]) == 0
    assert "unchanged: 00_c" in capsys.readouterr().out


def test_run_says_that_only_the_prose_is_new(book, capsys):
    edit(book, retitled)
    path = str(book / "notebooks" / "00_c.ipynb")
    assert main(["run", path]) == 0
    assert "00_c has new prose and was not executed again" in capsys.readouterr().out
    assert "Another title" in (book / "runs" / "embedded-embedded" / "00_c.ipynb").read_text()
    assert main(["run", path]) == 0
    assert "is unchanged" in capsys.readouterr().out


def test_changed_code_is_executed_whatever_the_prose(book):
    edit(book, lambda cells: cells[-2].update(source="print(3)"))
    with pytest.raises(AssertionError, match="a kernel was started"):
        main(["book", "--root", str(book), "--no-build"])


def test_a_copy_that_cannot_be_read_is_left_alone(tmp_path):
    (broken := tmp_path / "a.ipynb").write_text("{")
    assert not prose.refresh(broken, []) and not prose.refresh(tmp_path / "none.ipynb", [])
    assert broken.read_text() == "{"


def test_a_copy_whose_code_somebody_edited_is_refused_and_stays(book, capsys):
    copy = book / "runs" / "embedded-embedded" / "00_c.ipynb"
    copy.write_text(copy.read_text().replace("print(2)", "print(4)"))
    before = copy.read_bytes()
    edit(book, retitled)
    assert main(["book", "--root", str(book), "--no-build"]) == 2
    assert "its code is not that of its notebook; delete it and run it again" in capsys.readouterr().err
    assert copy.read_bytes() == before


def test_parameters_that_papermill_injected_stay_behind_their_cell(tmp_path):
    tagged = {"injected-parameters": "alpha = 3.0", "parameters": "alpha: float = 2.0"}
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": [tag]}) for tag, source in tagged.items()]
    injected, declared = cells
    notebook = nbformat.v4.new_notebook(cells=[text("# Old"), declared, injected, text("old")])
    nbformat.write(notebook, tmp_path / "c.ipynb")
    assert prose.refresh(tmp_path / "c.ipynb", [text("# New"), declared, text("new"), text("newer")])
    found = [cell.source for cell in nbformat.read(tmp_path / "c.ipynb", as_version=4).cells]
    assert found == ["# New", declared.source, injected.source, "new", "newer"]
