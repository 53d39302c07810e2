"""Law 5: steering vectors are an algebra, and a file keeps them exactly."""

import json
import math
import os

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import TOLERANCE, few
from safetensors.torch import save_file

import zkit
from zkit.steering import SteeringVector

PROMPTS = ["Hi", "Why are there tides"]


def vector(layers=(1,), seed=0, width=32):
    generator = torch.Generator().manual_seed(seed)
    return SteeringVector({l: torch.randn(width, generator=generator) for l in layers}, {"seed": str(seed)})


def steered(v, alpha=1.0):
    model = tiny.shared()
    with zkit.steer(model, v, alpha):
        return model.hf(**model.tokenize(PROMPTS)).logits


def same(a, b):
    return a.layers == b.layers and all(torch.equal(a.vectors[l], b.vectors[l]) for l in a.layers)


layers = st.sets(st.integers(0, 3), min_size=1)


@few
@given(layers, st.floats(-20, 20, allow_subnormal=False), st.integers(0, 9))
def test_a_scaled_vector_is_a_scaled_alpha(where, a, seed):
    v = vector(where, seed)
    assert torch.equal(steered(a * v), steered(v, a))
    assert torch.equal(steered(20 * v), steered(v, 20))
    assert torch.allclose(steered(-v), steered(v, -1), atol=0)


@few
@given(layers, layers, st.floats(-3, 3, allow_subnormal=False))
def test_a_sum_is_both_at_once(one, two, alpha):
    v, w, model = vector(one, 1), vector(two, 2), tiny.shared()
    assert (v + w).layers == sorted(one | two)
    for total, sign in ((v + w, 1), (v - w, -1)):
        with zkit.steer(model, v, alpha), zkit.steer(model, w, sign * alpha):
            nested = model.hf(**model.tokenize(PROMPTS)).logits
        assert torch.allclose(steered(total, alpha), nested, atol=TOLERANCE, rtol=0)


@few
@given(layers, st.floats(0.1, 30, allow_subnormal=False), st.integers(0, 9))
def test_the_axioms(where, a, seed):
    v, w = vector(where, seed), vector(where, seed + 100)
    assert same(v + w, w + v)
    assert same(a * v, v * a)
    assert same(-1 * -v, v)
    assert same(v - w, v + -w)
    assert same(-v, -1 * v)
    assert same(v / 4, v * 0.25)
    assert not any((v - v).norms.values())
    assert all(math.isclose((a * v).norms[l], a * n, rel_tol=1e-5) for l, n in v.norms.items())
    assert all(math.isclose(n, 1, rel_tol=1e-5) for n in (a * v).unit().norms.values())


def test_numbers_of_every_kind_scale_on_both_sides():
    v = vector((0, 2))
    for two in (2, 2.0, np.float64(2), np.float32(2), np.int64(2), torch.tensor(2.0)):
        for product in (two * v, v * two):
            assert isinstance(product, SteeringVector)
            assert same(product, v + v)


def test_at_and_norm():
    v = vector((0, 2))
    assert v.at(2).layers == [2]
    assert v.at(2).norm == v.norms[2]
    assert same(v.at(2, 0), v)
    for wrong in (lambda: v.norm, lambda: v.at(1), lambda: v.at()):
        with pytest.raises(zkit.ZkitError, match=r"layers \[0, 2\]"):
            wrong()


@few
@given(layers, st.floats(1e-30, 1e30, allow_subnormal=False), st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_file_keeps_every_bit(tmp_path_factory, where, scale, note):
    path = tmp_path_factory.mktemp("v") / "v.safetensors"
    v = SteeringVector({l: scale * torch.randn(32) for l in where}, note)
    v.save(path)
    back = SteeringVector.load(path)
    assert same(back, v)
    assert dict(back.note) == note
    assert os.listdir(path.parent) == [path.name]
    assert same(SteeringVector.load(str(path)), v)


def test_a_vector_of_a_model_survives_the_file(tmp_path):
    model = tiny.shared()
    v = zkit.steering.actadd(model, "terse")
    v.at(1).save(tmp_path / "terse.safetensors")
    back = SteeringVector.load(tmp_path / "terse.safetensors")
    assert torch.equal(steered(back, 2), steered(v.at(1), 2))
    assert back.note["positive"] == zkit.steering.STYLES["terse"].positive


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(zkit.ZkitError, match=r"no steering vector at .*nothing\.safetensors"):
        SteeringVector.load(tmp_path / "nothing.safetensors")
    with pytest.raises(zkit.ZkitError, match="no steering vector"):
        SteeringVector.load(tmp_path)
    (tmp_path / "text").write_text("hello " * 100)
    (tmp_path / "empty").write_bytes(b"")
    save_file({"layer.1": torch.ones(4)}, tmp_path / "other")
    vector().save(tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-8])
    for name in ("text", "empty", "other", "cut"):
        with pytest.raises(zkit.ZkitError, match=name):
            SteeringVector.load(tmp_path / name)


def test_a_save_that_fails_keeps_the_old_file_and_leaves_no_scraps(tmp_path, monkeypatch):
    path, old = tmp_path / "v", vector(seed=1)
    old.save(path)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zkit.writing.os.replace", full)
    with pytest.raises(zkit.ZkitError, match=r"v .*No space|disk.* full"):
        vector(seed=2).save(path)
    assert same(SteeringVector.load(path), old)
    assert os.listdir(tmp_path) == ["v"]


def test_vectors_that_are_none_are_refused():
    one = torch.ones(4)
    for bad in ({}, {0: one, 1: torch.ones(5)}, {0: one * torch.nan}, {0: one / 0}, {0: torch.ones(2, 4)}):
        with pytest.raises(zkit.ZkitError):
            SteeringVector(bad)
    for wrong in (lambda: vector() / 0, lambda: vector() * math.nan, lambda: 1e38 * (1e38 * vector())):
        with pytest.raises(zkit.ZkitError, match="finite"):
            wrong()
    with pytest.raises(zkit.ZkitError, match="widths 32 and 8"):
        vector() + vector(width=8)
    with pytest.raises(zkit.ZkitError, match="no direction"):
        (vector() - vector()).unit()


def test_a_vector_is_not_saved_into_a_folder_that_does_not_exist(tmp_path):
    v = SteeringVector({0: torch.ones(3)})
    with pytest.raises(zkit.ZkitError, match="there is no folder"):
        v.save(tmp_path / "nowhere" / "v.safetensors")


def test_the_note_of_a_long_sum_grows_with_its_terms():
    total = sum((vector() for _ in range(39)), vector())
    terms = total.note["sum of"].split(" and ")
    assert terms == [json.dumps(dict(vector().note))] * 40
