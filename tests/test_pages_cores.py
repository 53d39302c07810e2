"""Threads and workers by the size of the model; and where a bar of progress is shown."""

import io
import os

import nbclient
import nbformat
import pytest

from zkbook.pages import cores
from zkbook.pages.worker import limited
from zkit import progress
from zkit.errors import ZkitError

CORES = len(os.sched_getaffinity(0))


@pytest.fixture
def sized(tmp_path):
    """Make a model folder or file whose weights have so many bytes, without writing them."""

    def make(name, size, adapter=False):
        path = tmp_path / name
        file = path if path.suffix == ".gguf" else path / "model.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as stream:
            stream.truncate(size)
        if adapter:
            (path / "adapter_config.json").write_text("{}")
        return str(path)

    return make


def test_small_models_share_the_cores_and_a_large_one_has_them_all(sized):
    small, large = sized("small", cores.LARGE - 1), sized("large", cores.LARGE)
    assert cores.lanes(["embedded", small]) == (CORES, 1)
    assert cores.lanes(["embedded", large, small]) == (1, CORES)
    assert cores.lanes([large], workers=CORES) == (CORES, 1)
    assert cores.lanes(["embedded"], workers=1) == (1, CORES)
    assert cores.lanes(["embedded"], workers=2 * CORES) == (2 * CORES, 1)
    with pytest.raises(ZkitError, match="0 workers can run no chapter"):
        cores.lanes(["embedded"], workers=0)


def test_what_is_elsewhere_counts_as_large(sized, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert cores.is_large("nobody/has-this-model")
    assert cores.is_large(sized("adapter", 10, adapter=True))


def test_every_pool_of_threads_is_limited():
    assert {limited(3)[f"{pool}_THREADS"] for pool in ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM")} == {"3"}


def test_no_bar_where_nobody_watches(monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    with progress.progress(10, "row", "working") as bar:
        bar.update(5)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_goes_when_it_is_done(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr("sys.stderr", terminal)
    with progress.progress(10, "row", "working") as bar:
        bar.update(5)
    assert "working" in terminal.getvalue() and "row/s" in terminal.getvalue()
    monkeypatch.setattr(progress, "DELAY", 60)
    terminal.truncate(0)
    with progress.progress(10, "row", "working") as bar:
        bar.update(5)
    assert not terminal.getvalue().strip("\0\r ")


def test_an_executed_notebook_keeps_no_bar():
    """A program that executes a notebook answers no questions; a person before it could."""
    code = "from zkit import progress\nprogress.DELAY = 0\nbar = progress.progress(2, 'row', 'at work')\nbar.update(1)"
    ask = "get_ipython().kernel._allow_stdin = True\nprint(progress.watched())"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in (code, ask)])
    nbclient.NotebookClient(notebook, kernel_name="python3").execute()
    assert notebook.cells[0].outputs == []
    assert notebook.cells[1].outputs[0].text == "True\n"
