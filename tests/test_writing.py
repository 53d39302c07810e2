"""Writers: after a refusal of the operating system the old file stands, and one message names file and cause."""

import ast
import errno
import os
from functools import partial
from pathlib import Path

import disks
import pytest
import tiny
import torch

from zkbook.claims.conjectures import shipped
from zkbook.organism.checkpoint import Checkpoint
from zkbook.pages import results
from zkbook.pages.places import PACKAGES
from zkit import writing
from zkit.errors import ZkitError
from zkit.gating import Gates, Text, save, train
from zkit.gating.checkpoints import save_half
from zkit.gating.training import Progress
from zkit.steering import SteeringVector, write_gguf

V, GATES = SteeringVector({1: torch.ones(64)}), Gates(torch.zeros(2, 8))
LEFT = {"parameters": {}, "model": None, "versions": {}, "stats": {}, "claims": []}
WRITERS = {
    "a text": lambda path: writing.write(path, "new"),
    "a vector": V.save,
    "a control vector": partial(write_gguf, V),
    "a folder of gates": lambda path: save(GATES, path),
    "gates in float16": lambda path: save_half(GATES, path),
    "results": lambda path: results.save(path, LEFT),
    "a ledger": shipped().save,
    "a checkpoint of gates": lambda path: Progress({}, GATES.logits, {}, []).save(path.parent),
    "a checkpoint of the embedded model": Checkpoint({}, "", 0, 0.0, [], {}, {}).save,
}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_costs_nothing_that_was_there(tmp_path, kind, old):
    path = tmp_path / ("checkpoint.pt" if kind == "a checkpoint of gates" else "thing")
    if old:
        WRITERS[kind](path)
    before = contents(tmp_path)
    with disks.limited(), pytest.raises(ZkitError, match=rf"no room on the disk for .*{path.name} \(File too large\)"):
        WRITERS[kind](path)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name] * old
    WRITERS[kind](path)


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if "folder" not in kind])
def test_a_disk_that_fills_up(tmp_path, kind):
    path = tmp_path / "checkpoint.pt"
    path.write_text("old")
    with disks.full(), pytest.raises(ZkitError, match=r"no room on the disk for .*pt \(No space left on device\)"):
        WRITERS[kind](path)
    assert contents(tmp_path) == {"checkpoint.pt": b"old"}


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("kind", WRITERS)
def test_whatever_the_system_says_when_the_new_takes_the_place_of_the_old(tmp_path, monkeypatch, kind, number):
    path = tmp_path / "checkpoint.pt"
    WRITERS[kind](path)
    before, replace = contents(tmp_path), os.replace

    def refuse(source, target):
        if Path(target) == path and ".part" in str(source) and Path(source).name != "old":
            raise OSError(number, os.strerror(number), str(source))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ZkitError, match=rf"checkpoint.pt .*\({os.strerror(number)}\)"):
        WRITERS[kind](path)
    assert contents(tmp_path) == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["a text", "results", "a ledger", "gates in float16", "a folder of gates"])
def test_where_nothing_can_be_made(kind):
    with pytest.raises(ZkitError, match=r"/proc/nothing/thing cannot be written \(No such file or directory\)"):
        WRITERS[kind](Path("/proc/nothing/thing"))


def test_a_link_is_followed_a_device_is_written_to_and_modes_are_the_users(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    writing.write(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "there" / "file").read_text() == "new"
    (tmp_path / "plain").touch()
    assert (tmp_path / "there" / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
    writing.write("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(ZkitError, match=r"/dev/full \(No space left"):
        writing.write("/dev/full", "x")
    with pytest.raises(ZkitError, match=r"there cannot be written \(Is a directory\)"):
        writing.write(tmp_path / "there", "x")
    with pytest.raises(ZkitError, match="UnicodeEncodeError"):
        writing.write(tmp_path / "plain", "\ud800")


def test_a_place_is_tried_before_the_work_and_left_as_it_was(tmp_path):
    deep = tmp_path / "a" / "b"
    for check in (writing.check_place, writing.check_folder):
        check(deep)
        assert not list(tmp_path.iterdir())
        with disks.full(), pytest.raises(ZkitError, match=r"no room on the disk for .*b "):
            check(deep)
        with pytest.raises(ZkitError, match="cannot be written"):
            check("/proc/nothing/thing")
        assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(ZkitError, match="Not a directory"):
        writing.check_place(tmp_path / "file" / "below")


def test_what_killed_writers_left_is_swept(tmp_path):
    with pytest.raises(KeyboardInterrupt), writing.replacing(tmp_path / "x") as part:
        part.touch()
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    for name in (writing._beside(tmp_path / "x").name, "x", ".lock"):
        (tmp_path / name).touch()
    left = writing._beside(tmp_path / "folder")  # as a killed writing.folder leaves it
    (left / "new").mkdir(parents=True)
    (left / "new" / "file").touch()
    writing.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".lock", "x"]


def test_training_asks_for_its_place_before_it_computes(monkeypatch):
    monkeypatch.setitem(train.__globals__, "BaseLogits", None)  # a call of it would not be a ZkitError
    texts = [Text("Paris.", "Capital?", [(0, 5)])]
    with pytest.raises(ZkitError, match=r"/proc/run/checkpoint\.pt cannot be written"):
        train(tiny.shared(), texts, texts, "nke_w1p0", out="/proc/run")


WRITES = {"write_text", "write_bytes", "save_file", "rename", "mkstemp", "savetxt", "to_csv", "to_parquet"}
ELSEWHERE = {
    "gguf_model": "the cache, a folder of its own under a lock",
    "organism.train": "files that transformers writes, each put in its place when it is whole",
    "pages.build": "whole builds", "pages.worker": "a copy that is set aside",
    "site.vendor": "scripts of installed packages, as they are",
}  # fmt: skip


def test_files_are_written_in_one_place():
    found = set()
    for root, path in ((package, path) for package in PACKAGES.values() for path in package.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            whole = ast.unparse(call)
            opens = name == "open" and any(
                isinstance(a, ast.Constant)
                and isinstance(a.value, str)
                and set(a.value) & set("wx")
                and len(a.value) < 4
                for a in [*call.args, *[k.value for k in call.keywords]]
            )
            if name in WRITES or whole.startswith("os.replace(") or opens:
                found.add(".".join(path.relative_to(root).with_suffix("").parts))
    # a folder of gates is written file by file, within writing.folder
    assert found - {"writing", "gating.checkpoints"} == set(ELSEWHERE)
