"""A steering vector and its GGUF control vector are the same thing; bad files are refused by name."""

import json
import os
import sys

import numpy as np
import pytest
import tiny
import torch
from gguf import GGMLQuantizationType, GGUFEndian, GGUFReader, GGUFWriter
from hypothesis import given
from hypothesis import strategies as st
from reference import TOLERANCE, Addition, few, logits, selector

import zkit
from zkit.steering import SteeringVector, read_gguf, write_gguf

ARCHITECTURE, HINT, COUNT = "general.architecture", "controlvector.model_hint", "controlvector.layer_count"
NOTE = {"method": "actadd", "model": "tiny-qwen3", "positive": "Be brief。"}


def vector(layers=(1, 3), seed=0, note=NOTE):
    generator = torch.Generator().manual_seed(seed)
    return SteeringVector({l: torch.randn(32, generator=generator) for l in layers}, note)


def same(a, b):
    return a.layers == b.layers and all(torch.equal(a.vectors[l], b.vectors[l]) for l in a.layers)


def contents(path):
    """What the plain package reads: every key with its text or number, and the directions."""
    reader = GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return keys, {tensor.name: np.array(tensor.data) for tensor in reader.tensors}


def foreign(path, tensors, architecture="controlvector", texts=(), endian=GGUFEndian.LITTLE, **raw):
    """A GGUF as another program would write it."""
    writer = GGUFWriter(path, architecture, endianess=endian)
    for key, text in dict(texts).items():
        writer.add_string(key, text) if isinstance(text, str) else writer.add_uint32(key, text)
    for name, data in tensors.items():
        writer.add_tensor(name, data, **raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def one(width=4):
    return np.arange(1, width + 1, dtype=np.float32)


texts = st.text(st.characters(codec="utf-8"), max_size=9)


@few
@given(
    st.sets(st.integers(1, 60), min_size=1, max_size=4),
    st.floats(1e-38, 1e30, allow_subnormal=False),
    st.dictionaries(texts | st.sampled_from(["model", "model_hint"]), texts, max_size=3),
    texts,
)
def test_there_and_back_keeps_every_bit(tmp_path_factory, layers, scale, note, hint):
    first, second = (tmp_path_factory.mktemp("v") / "v.gguf" for _ in range(2))
    v = SteeringVector({l: scale * torch.randn(5) for l in layers}, note)
    write_gguf(v, first, hint)
    back = read_gguf(str(first))
    assert same(back, v)
    assert dict(back.note) == {**note, **({"model_hint": hint} if hint else {})}
    write_gguf(back, str(second))
    assert second.read_bytes() == first.read_bytes()
    assert os.listdir(first.parent) == [first.name]


def test_the_plain_package_reads_the_expected_keys(tmp_path):
    v = vector((11, 2, 5))
    write_gguf(v, tmp_path / "v.gguf")
    keys, directions = contents(tmp_path / "v.gguf")
    assert json.loads(keys.pop("zkit.note")) == NOTE
    assert keys == {ARCHITECTURE: "controlvector", HINT: "tiny-qwen3", COUNT: 3}
    assert list(directions) == ["direction.2", "direction.5", "direction.11"]
    for layer in v.layers:
        found = directions[f"direction.{layer}"]
        assert (found.dtype, found.shape) == (np.float32, (32,))
        assert np.array_equal(found, v.vectors[layer].numpy())


def test_the_hint_is_the_one_given_or_the_notes_or_empty(tmp_path):
    path = tmp_path / "v.gguf"
    for note, given_hint, expected in (
        ({}, "", ""),
        ({"model": "a"}, "", "a"),
        ({"model": "a", "model_hint": "b"}, "", "b"),
        ({"model": "a", "model_hint": "b"}, "qwen3", "qwen3"),
    ):
        write_gguf(vector(note=note), path, model_hint=given_hint)
        assert contents(path)[0][HINT] == expected  # there even if empty: repeng refuses a file without it
        write_gguf(read_gguf(path), path)
        assert contents(path)[0][HINT] == expected


def test_awkward_values_survive(tmp_path):
    """Zeros of both signs, subnormal and largest numbers; views, gradients and narrow floats."""
    edge = torch.tensor([0.0, -0.0, 1e-45, -3.4028234e38, 1.0])
    views = torch.arange(10.0).reshape(5, 2)[:, 1]
    narrow = torch.tensor([1.0, 2, 3, 4, 0.1]).bfloat16()
    v = SteeringVector({1: edge, 2: views, 3: views.clone().requires_grad_(), 4: narrow})
    write_gguf(v, tmp_path / "v.gguf")
    back = read_gguf(tmp_path / "v.gguf")
    assert back.vectors[1].numpy().tobytes() == edge.numpy().tobytes()
    assert torch.equal(back.vectors[2], views)
    assert torch.equal(back.vectors[3], views)
    assert torch.equal(back.vectors[4], narrow.float())
    assert {t.dtype for t in back.vectors.values()} == {torch.float32}


def test_a_factor_is_baked_in(tmp_path):
    v = vector()
    write_gguf(2 * v, tmp_path / "v.gguf")
    assert np.array_equal(contents(tmp_path / "v.gguf")[1]["direction.3"], 2 * v.vectors[3].numpy())
    assert same(read_gguf(tmp_path / "v.gguf"), v + v)


def test_what_is_read_does_not_hang_on_the_file(tmp_path):
    v, path = vector(), tmp_path / "v.gguf"
    write_gguf(v, path)
    back = read_gguf(path)
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert torch.equal(back.vectors[3], v.vectors[3])


def test_direction_n_at_the_output_of_layer_n_is_steering_with_the_sink(tmp_path):
    """What llama.cpp does with the file, done by hand: direction.n after layer n, counted from 0, at every token."""
    model = tiny.shared()
    write_gguf(vector(), tmp_path / "v.gguf")
    ids = model.tokenizer("Why are there tides", add_special_tokens=False)["input_ids"]
    everywhere = selector("all", first_token=True)
    by_hand = [
        Addition(int(name.split(".")[1]), torch.from_numpy(direction), everywhere)
        for name, direction in contents(tmp_path / "v.gguf")[1].items()
    ]
    with zkit.steer(model, read_gguf(tmp_path / "v.gguf"), first_token=True):
        steered = model.hf(input_ids=torch.tensor([ids])).logits[0]
    assert torch.allclose(steered, logits(model, ids, len(ids), by_hand), atol=TOLERANCE, rtol=0)
    assert not torch.allclose(steered, logits(model, ids, len(ids)), atol=TOLERANCE, rtol=0)


def test_a_foreign_control_vector(tmp_path):
    """As repeng writes one: no note, and the directions in any order."""
    tensors = {"direction.12": one(), "direction.3": -one()}
    v = read_gguf(foreign(tmp_path / "v.gguf", tensors, texts={HINT: "mistral"}))
    assert v.layers == [3, 12]
    assert torch.equal(v.vectors[12], torch.tensor([1.0, 2, 3, 4]))
    assert torch.equal(v.vectors[3], -v.vectors[12])
    assert dict(v.note) == {"model": "mistral"}
    for odd in ({}, {HINT: 7, "zkit.note": 7}):
        assert dict(read_gguf(foreign(tmp_path / "bare.gguf", tensors, texts=odd)).note) == {}


def test_a_swapped_byte_order_is_read(tmp_path):
    foreign(tmp_path / "big", {"direction.1": one()}, endian=GGUFEndian.BIG)
    assert torch.equal(read_gguf(tmp_path / "big").vectors[1], torch.tensor([1.0, 2, 3, 4]))


def test_layer_0_cannot_be_exported(tmp_path):
    with pytest.raises(zkit.ZkitError, match=r"refuses a vector at layer 0; keep the others with \.at\(2, 5\)"):
        write_gguf(vector((0, 2, 5)), tmp_path / "v.gguf")
    with pytest.raises(zkit.ZkitError, match=r"layer 0; make the vector at a later layer"):
        write_gguf(vector((0,)), tmp_path / "v.gguf")
    assert os.listdir(tmp_path) == []
    write_gguf(vector((0, 2, 5)).at(2, 5), tmp_path / "v.gguf")


def test_missing_folders_and_files(tmp_path):
    with pytest.raises(zkit.ZkitError, match=r"there is no folder .*nowhere .*make it first"):
        write_gguf(vector(), tmp_path / "nowhere" / "v.gguf")
    for nothing in (tmp_path / "nothing.gguf", tmp_path):
        with pytest.raises(
            zkit.ZkitError, match=rf"no control vector at {nothing}; write one with zkit\.steering\.write_gguf"
        ):
            read_gguf(nothing)


def test_files_that_are_no_whole_gguf(tmp_path):
    vector().save(tmp_path / "safetensors")
    (tmp_path / "text").write_text("hello " * 100)
    (tmp_path / "empty").write_bytes(b"")
    for name in ("safetensors", "text", "empty"):
        with pytest.raises(zkit.ZkitError, match=rf"{name} is not a whole GGUF file .*again"):
            read_gguf(tmp_path / name)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "v.gguf"
    write_gguf(vector(), path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(zkit.ZkitError, match=r"v\.gguf"):
            read_gguf(path)


def quantised(path):
    return foreign(path, {"direction.1": np.zeros(34, np.uint8)}, raw_dtype=GGMLQuantizationType.Q8_0)


BAD = {
    "a model": (
        lambda p: foreign(p, {"token_embd.weight": one()}, "qwen3"),
        "architecture 'qwen3'.*a model is not one",
    ),
    "no architecture": (lambda p: foreign(p, {"direction.1": one()}, ""), "has no architecture"),
    "a foreign tensor": (lambda p: foreign(p, {"direction.1": one(), "bias.1": one()}), r"'bias\.1'.*direction\.1, "),
    "no number": (lambda p: foreign(p, {"direction.x": one()}), r"tensor 'direction\.x'"),
    "more than a number": (lambda p: foreign(p, {"direction.1.x": one()}), r"tensor 'direction\.1\.x'"),
    "a second name": (lambda p: foreign(p, {"direction.1": one(), "direction.01": one()}), r"tensor 'direction\.01'"),
    "layer 0": (lambda p: foreign(p, {"direction.0": one()}), r"direction\.0.*without layer 0"),
    "half": (lambda p: foreign(p, {"direction.1": one().astype(np.float16)}), r"direction\.1 as F16;.*not quantised"),
    "quantised": (quantised, r"direction\.1 as Q8_0;.*not quantised"),
    "a matrix": (lambda p: foreign(p, {"direction.1": np.ones((2, 3), np.float32)}), r"of shape \[3, 2\];.*one vector"),
    "two widths": (lambda p: foreign(p, {"direction.1": one(), "direction.2": one(5)}), "the same width.*one model"),
    "no direction": (lambda p: foreign(p, {}), "at least one layer"),
    "not finite": (lambda p: foreign(p, {"direction.7": one() / 0}), "layer 7 must be one finite vector"),
    "a damaged note": (
        lambda p: foreign(p, {"direction.1": one()}, texts={"zkit.note": "{"}),
        r"the zkit\.note is not JSON",
    ),
    "a list for a note": (lambda p: foreign(p, {"direction.1": one()}, texts={"zkit.note": "[]"}), "holds a list"),
}


@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.parametrize("kind", BAD)
def test_what_no_control_vector_holds_is_refused(tmp_path, kind):
    make, message = BAD[kind]
    make(tmp_path / "bad.gguf")
    with pytest.raises(zkit.ZkitError, match=rf"bad\.gguf.*{message}"):
        read_gguf(tmp_path / "bad.gguf")


@pytest.mark.parametrize("where", ["gguf.GGUFWriter.write_tensors_to_file", "zkit.writing.os.replace"])
def test_a_write_that_fails_keeps_the_old_file_and_leaves_no_scraps(tmp_path, monkeypatch, where):
    path, old = tmp_path / "v.gguf", vector(seed=1)
    write_gguf(old, path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, full)
    for target in (path, tmp_path / "new.gguf"):
        with pytest.raises(zkit.ZkitError, match=rf"no room on the disk for .*{target.name} \(No space left"):
            write_gguf(vector(seed=2), target)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["v.gguf"]
    assert same(read_gguf(path), old)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    write_gguf(vector(), tmp_path / "v.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    for use in (lambda: write_gguf(vector(), tmp_path / "w.gguf"), lambda: read_gguf(tmp_path / "v.gguf")):
        with pytest.raises(zkit.ZkitError, match=r'pip install "zkit\[gguf\]"'):
            use()
