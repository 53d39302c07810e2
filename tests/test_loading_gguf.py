"""Models in GGUF files: dequantised once, kept under the file's hash, read from there; what spoilt files say."""

import hashlib
import json
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import tiny_gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import zkit
from zkbook.pages import inputs, provenance
from zkit import cache, gguf_model, sources
from zkit.sources import Source

PROMPTS = ["Hi", "Why are there tides?"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A cache of this module's own, so that the tiny file is dequantised once for all tests that only read it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(home, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(home))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("models") / "tiny model.gguf")


@pytest.fixture(scope="module")
def loaded(file, home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZKIT_CACHE", str(home))
        return zkit.load(file)


def test_it_is_the_model_that_the_file_holds(loaded, file):
    want = tiny.shared("qwen2")
    assert (loaded.n_layers, loaded.d_model, loaded.dtype, loaded.device.type) == (4, 32, torch.float32, "cpu")
    own = loaded.hf.state_dict()
    for name, tensor in want.hf.state_dict().items():
        assert torch.equal(own[name], tensor), name
    assert loaded.render(PROMPTS) == want.render(PROMPTS)
    assert loaded.tokenize(PROMPTS)["input_ids"].tolist() == want.tokenize(PROMPTS)["input_ids"].tolist()
    assert loaded.generate(PROMPTS, 6) == want.generate(PROMPTS, 6)
    assert loaded.end_tokens == [tiny.END]
    assert loaded.id == str(file)
    assert loaded.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_second_load_reads_the_cache_alone(loaded, file, home, monkeypatch, capsys):
    def refuse(*_):
        raise AssertionError("dequantised twice")

    monkeypatch.setattr(gguf_model, "_make", refuse)
    folder = home / "gguf" / loaded.sha256
    again = zkit.load(file)
    assert again.generate(PROMPTS, 6) == loaded.generate(PROMPTS, 6)
    assert capsys.readouterr().err == ""
    assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert sorted(path.name for path in (home / "gguf").glob(f"{loaded.sha256}*")) == [
        folder.name,
        f"{folder.name}.lock",
    ]
    assert zkit.load(folder).generate(PROMPTS, 6) == loaded.generate(PROMPTS, 6)  # a plain model folder


def test_a_copy_elsewhere_is_the_same_model(loaded, file, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_model, "_make", None)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("{not json")  # what lies beside the file is no part of it
    found = zkit.load(tmp_path, gguf="copy.gguf")
    assert (found.id, found.sha256) == (str(copy), loaded.sha256)


def test_size_and_place_are_told(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path / "new" / "cache"))
    sha256 = zkit.load(file).sha256
    told = capsys.readouterr().err
    assert f"(float32) in {tmp_path / 'new' / 'cache' / 'gguf' / sha256}" in told and "GB" in told
    record = json.loads((tmp_path / "new" / "cache" / "gguf" / sha256 / "made.json").read_text())
    assert (record["file"], record["sha256"], record["dtype"]) == (file.name, sha256, "float32")


def test_dtype_converts(file):
    assert zkit.load(file, dtype="bfloat16").dtype == torch.bfloat16


def test_what_fold_saves_is_the_same_model_in_plain_transformers(loaded, tmp_path):
    generator = torch.Generator().manual_seed(0)
    gates = zkit.gating.Gates(torch.randn(4, 48, generator=generator), {})
    with zkit.gate(loaded, gates, scale="energy"):
        want = loaded.generate(PROMPTS, 8)
    assert want != loaded.generate(PROMPTS, 8)
    zkit.gating.fold(loaded, gates, scale="energy").hf.save_pretrained(tmp_path)
    loaded.tokenizer.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert "quantization_config" not in config
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for prompt, text in zip(PROMPTS, want, strict=True):
        ids = tokenizer(loaded.render([prompt])[0], return_tensors="pt", add_special_tokens=False)
        new = plain.generate(**ids, max_new_tokens=8, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert tokenizer.decode(new, skip_special_tokens=True) == text


def test_what_was_not_finished_never_looks_whole(file, tmp_path, monkeypatch, loaded):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gguf_model, "_check_tokenizer", stop)  # the last step
        gguf_model.dequantised(file)
    assert [path.name for path in (tmp_path / "gguf").iterdir()] == [f"{loaded.sha256}.lock"]
    left = tmp_path / "gguf" / f"{loaded.sha256}.part"  # as of a process that was killed
    left.mkdir()
    (left / "model.safetensors").write_text("half of it")
    assert zkit.load(file).generate(PROMPTS, 6) == loaded.generate(PROMPTS, 6)
    assert not left.exists()


def test_two_at_once_make_it_once(file, tmp_path, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path))
    made, real = [], gguf_model._make
    monkeypatch.setattr(gguf_model, "_make", lambda *given: (made.append(given), real(*given)))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(gguf_model.dequantised(file))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and len(found) == 3 and len(set(found)) == 1


def test_a_cache_that_lost_a_part_is_made_again(file, tmp_path, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path))
    place = gguf_model.dequantised(file)
    for spoil in (
        lambda: os.truncate(place / "model.safetensors", 1000),
        lambda: (place / "tokenizer.json").unlink(),
        lambda: (place / "made.json").write_text("[]"),
    ):
        spoil()
        assert zkit.load(file).sha256 == place.name
        assert gguf_model._is_whole(place)


def spoilt(tmp_path, file, kind):
    target = tmp_path / "spoilt.gguf"
    data = file.read_bytes()
    if kind in ("architecture", "controlvector"):
        return tiny_gguf.write(target, architecture={"architecture": "zebra"}.get(kind, kind))
    if kind in ("tokenizer", "model.layers.1.mlp.up_proj.weight"):
        return tiny_gguf.write(target, leave_out=(kind,))
    if kind == "parts":
        return tiny_gguf.write(target, **{"split.count": 3})
    if kind == "unread tensor":
        return tiny_gguf.write(target, **{"rope_freqs.weight": np.ones(4, np.float32)})
    if kind == "scaled positions":
        return tiny_gguf.write(target, **{"qwen2.rope.scaling.type": "yarn"})
    if kind == "no tensors":
        return tiny_gguf.write(target, leave_out=tuple(tiny.shared("qwen2").hf.state_dict()))
    target.write_bytes(
        {
            "empty": b"",
            "text": b"hello",
            "zip": b"PK\3\4" + data[4:],
            "magic alone": b"GGUF",
            "half the header": data[:3000],
            "half the weights": data[: len(data) // 2],
            "one byte short": data[:-1],
            "vast count": data[:16] + b"\xff" * 8 + data[24:],
            "unknown version": data[:4] + b"\x63\0\0\0" + data[8:],
            "scrambled": data[:24] + bytes(255 - byte for byte in data[24:4000]) + data[4000:],
        }[kind]
    )
    return target


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is not a GGUF file; give a model folder, a .gguf file or a hub id"),
        ("text", "is not a GGUF file"),
        ("zip", "is not a GGUF file"),
        ("magic alone", "is not a whole GGUF file"),
        ("half the header", "is not a whole GGUF file"),
        ("half the weights", r"is not a whole GGUF file \(.*\); download it again"),
        ("one byte short", "is not a whole GGUF file"),
        ("vast count", "is not a whole GGUF file"),
        ("unknown version", "is not a whole GGUF file"),
        ("scrambled", "is not a whole GGUF file"),
        ("architecture", "transformers does not read .*zebra"),
        ("controlvector", r"control vector; read it with zkit\.steering\.read_gguf"),
        ("tokenizer", "has no tokenizer"),
        ("parts", r"is one of 3 parts; join them first"),
        ("no tensors", "holds no model"),
        ("model.layers.1.mlp.up_proj.weight", r"lacks 1 tensors .*the first 'model\.layers\.1\.mlp\.up_proj\.weight'"),
        ("unread tensor", "weights of which transformers makes"),
        ("scaled positions", r"scales its rotary positions \('yarn'\)"),
    ],
)
def test_spoilt_files(tmp_path, file, home, kind, message):
    target = spoilt(tmp_path, file, kind)
    before = set(home.glob("gguf/*"))
    with pytest.raises(zkit.ZkitError, match=message) as caught:
        zkit.load(target)
    assert str(target) in str(caught.value) and len(str(caught.value)) < 500
    assert all(path.suffix == ".lock" for path in set(home.glob("gguf/*")) - before)


def test_a_file_without_a_chat_template_reads_plain_text(tmp_path):
    bare = zkit.load(tiny_gguf.write(tmp_path / "bare.gguf", leave_out=("template",)))
    with pytest.raises(zkit.ZkitError, match=r"bare\.gguf' has no chat template; pass chat=False"):
        bare.generate(PROMPTS)
    want = tiny.shared("qwen2").generate(PROMPTS, 4, chat=False)
    assert bare.generate(PROMPTS, 4, chat=False) == want


def test_a_missing_package_is_named(tmp_path, file, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(zkit.ZkitError, match=r'pip install "zkit\[gguf\]"'):
        zkit.load(file)


def test_no_room_is_said_before_the_work(tmp_path, file, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr(gguf_model, "_converted", None)
    with pytest.raises(zkit.ZkitError, match=r"has room for 0\.0 GB and 0\.1 GB are needed; make room, or set Z"):
        zkit.load(file)


def test_a_cache_that_cannot_be_written(tmp_path, file, monkeypatch):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path / "taken"))
    with pytest.raises(zkit.ZkitError, match=r"cannot keep the dequantised .*set ZKIT_CACHE to a folder"):
        zkit.load(file)


def test_where_the_cache_is(tmp_path, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", "models")
    with pytest.raises(zkit.ZkitError, match="ZKIT_CACHE is 'models'; it must be an absolute path"):
        cache.folder()
    monkeypatch.delenv("ZKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "zkit"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "zkit"


def test_a_digest_is_taken_once_and_never_stale(tmp_path, monkeypatch):
    monkeypatch.setenv("ZKIT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "large"
    path.write_bytes(b"one")
    first, taken = cache.file_sha256(path), []
    assert not (tmp_path / "cache").exists()  # too fresh: a change within the clock's step would not show
    monkeypatch.setattr(cache, "_SETTLED", -1)
    real = hashlib.file_digest
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *given: taken.append(1) or real(*given))
    assert cache.file_sha256(path) == cache.file_sha256(path) == first == hashlib.sha256(b"one").hexdigest()
    assert len(taken) == 1
    state = path.stat()
    path.write_bytes(b"two")  # same size, and the time of change put back
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert cache.file_sha256(path) == hashlib.sha256(b"two").hexdigest() and len(taken) == 2
    [note] = (tmp_path / "cache" / "digests").iterdir()
    for text in ("", "[]", "null", '{"state": 1}'):
        note.write_text(text)
        assert cache.file_sha256(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "large"
    path.write_bytes(b"one")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.hashlib, "file_digest", refused)
    with pytest.raises(zkit.ZkitError, match=r"large cannot be read \(Permission denied\)"):
        cache.file_sha256(path)


def test_the_hash_is_that_of_the_file_that_was_loaded(file, tmp_path):
    moved = tmp_path / "moved.gguf"
    moved.write_bytes(file.read_bytes())
    model = zkit.load(moved)
    moved.unlink()
    assert model.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(zkit.ZkitError, match=r"moved\.gguf cannot be read"):
        model.source.sha256()


def test_what_names_a_gguf_file(file, tmp_path, monkeypatch):
    assert sources.resolve(file) == sources.resolve(str(file)) == Source(str(file), file.resolve(), gguf=True)
    assert sources.resolve(file.parent, gguf=file.name) == sources.resolve(str(file))
    hub = sources.resolve("Qwen/Some-GGUF", gguf="part/some-q4.gguf")
    assert hub == sources.resolve("Qwen/Some-GGUF/part/some-q4.gguf")
    assert hub == Source("Qwen/Some-GGUF/part/some-q4.gguf", None, gguf=True)
    assert hub.location == "Qwen/Some-GGUF"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(zkit.ZkitError, match=r"part/some-q4\.gguf of Qwen/Some-GGUF is not cached; .*`hf download"):
        hub.file()


def test_a_file_of_a_hub_repository_is_fetched_by_its_client(file, loaded, monkeypatch):
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *a, **k: asked.append((a, k)) or str(file))
    monkeypatch.setattr(Source, "offline", lambda self: False)
    found = zkit.load("org/name", gguf="file.gguf")
    assert asked[0] == (("org/name", "file.gguf"), {"local_files_only": False})
    assert (found.id, found.sha256) == ("org/name/file.gguf", loaded.sha256)
    assert found.generate(PROMPTS, 4) == loaded.generate(PROMPTS, 4)


@pytest.mark.parametrize(
    ("model", "gguf", "message"),
    [
        ("embedded", "x.gguf", "is neither"),
        ("org/name", "x.bin", "is no name of a GGUF file"),
        ("org/name", "../x.gguf", "is no name of a GGUF file"),
        ("org/name", "/x.gguf", "is no name of a GGUF file"),
        ("org/name", "", "is no name of a GGUF file"),
        ("org/name", 3, "is no name of a GGUF file"),
        ("name", "x.gguf", "is neither"),
        (".", "nothing.gguf", r"there is no file nothing\.gguf in \.; GGUF files there: none"),
        ("nothing.gguf", None, "there is no GGUF file 'nothing.gguf' here"),
        ("./nothing.gguf", None, "does not exist; give an existing folder or GGUF file"),
    ],
)
def test_wrong_names_of_gguf_files(model, gguf, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(zkit.ZkitError, match=message):
        zkit.load(model, gguf=gguf)


def test_chapters_take_a_file_wherever_they_are_run_from(file, loaded, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert inputs.model(file.name) == str(file.resolve())
    assert provenance.weights_digest(str(file)) == loaded.sha256
    assert provenance.weights_digest("missing.gguf") == ""


def test_the_command_line_takes_a_file(file, capsys):
    from zkit.__main__ import main

    common = ["--model", str(file), "--max-new-tokens", "3", "--prompt", "Hi"]
    assert main(["steer", *common, "--style", "terse", "--alpha", "0.1", "--layer", "1"]) == 0
    assert f"model   {file}, layers 0 to 3" in capsys.readouterr().out
    assert main(["steer", "--model", str(file) + "x", "--prompt", "Hi", "--style", "terse", "--alpha", "1"]) == 2
