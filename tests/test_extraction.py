"""Cached states are those of a fresh pass bit for bit, and a file that is not what was written is never read."""

import pytest
import torch
from disks import full

import zkit
from zkbook import extraction
from zkbook.extraction import extract

PROMPTS = ["What is 3 + 4?", "Why are there tides?", "三加四等于几？"]


@pytest.fixture(scope="module")
def model():
    return zkit.load("embedded")


@pytest.fixture
def passes(monkeypatch):
    """The sites of each recording that is made."""
    made = []

    def counted(model, prompts, **options):
        made.append(options["site"])
        return zkit.token_states(model, prompts, **options)

    monkeypatch.setattr(extraction, "token_states", counted)
    return made


def same(a, b):
    return set(a) == set(b) and all(len(a[s]) == len(b[s]) and all(map(torch.equal, a[s], b[s])) for s in a)


def test_cached_is_fresh_bit_for_bit(model, passes, tmp_path):
    fresh = zkit.token_states(model, PROMPTS, site=["resid_post", "attn_out"])
    assert same(extract(model, PROMPTS, ["resid_post", "attn_out"], True, tmp_path / "new" / "states"), fresh)
    assert same(extract(model, PROMPTS, ["resid_post", "attn_out"], True, tmp_path / "new" / "states"), fresh)
    assert passes == [["resid_post", "attn_out"]]
    assert not [f for f in (tmp_path / "new" / "states").iterdir() if f.suffix != ".safetensors"]


def test_experiments_share_what_they_have_in_common(model, passes, tmp_path):
    """One that needs layers finds them where one that needs the parts has put them, and the other way round."""
    extract(model, PROMPTS, ["resid_post"], True, tmp_path)
    extract(model, PROMPTS, ["resid_post", "attn_out", "mlp_out"], True, tmp_path)
    extract(model, PROMPTS, ["mlp_out"], True, tmp_path)
    assert passes == [["resid_post"], ["attn_out", "mlp_out"]]


def test_what_the_states_depend_on_is_in_the_key(model, tmp_path):
    twin = zkit.load("embedded-sink")
    half = zkit.load("embedded", dtype="bfloat16")
    plain = (model, PROMPTS, "resid_post", True)
    others = [
        (twin, *plain[1:]),
        (half, *plain[1:]),
        (model, PROMPTS[::-1], "resid_post", True),
        (model, PROMPTS, "attn_out", True),
        (model, PROMPTS[:2], "resid_post", True),
        (model, PROMPTS, "resid_post", False),
        (model, model.render(PROMPTS), "resid_post", False),
    ]
    names = [extraction.key(*given) for given in (plain, *others)]
    assert len(set(names)) == len(names)
    assert extraction.key(*plain) == extraction.key(zkit.load("embedded"), *plain[1:])


def damages(content: bytes, other: bytes):
    yield "cut short", content[: len(content) // 2]
    yield "empty", b""
    yield "a bit in the numbers", content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    yield "a bit in the header", content[:20] + bytes([content[20] ^ 1]) + content[21:]
    yield "no tensors", b"not a file of tensors"
    yield "states of other prompts", other


def test_a_damaged_or_foreign_file_is_recorded_again(model, passes, tmp_path):
    extract(model, PROMPTS[:2], ["resid_post"], True, tmp_path / "other")
    [other] = (tmp_path / "other").iterdir()
    fresh = extract(model, PROMPTS, ["resid_post"], True, tmp_path / "own")
    [file] = (tmp_path / "own").iterdir()
    whole = file.read_bytes()
    for i, (what, content) in enumerate(damages(whole, other.read_bytes())):
        file.write_bytes(content)
        assert same(extract(model, PROMPTS, ["resid_post"], True, tmp_path / "own"), fresh), what
        assert same(extract(model, PROMPTS, ["resid_post"], True, tmp_path / "own"), fresh), what
        assert len(passes) == 3 + i, what  # once again for each damage: what was written is whole


def test_a_full_disk_leaves_no_half_of_a_file(model, tmp_path):
    with full(), pytest.raises(zkit.ZkitError, match="no room"):
        extract(model, PROMPTS, ["resid_post"], True, tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_states_of_an_edited_model_are_not_kept(model, tmp_path):
    from zkit.edits import add

    with (
        zkit.edit(model, [add("resid_post", 2, torch.ones(model.d_model))]),
        pytest.raises(zkit.ZkitError, match="block"),
    ):
        extract(model, PROMPTS, ["resid_post"], True, tmp_path)
    assert not list(tmp_path.iterdir())


def test_bad_input(model, tmp_path):
    with pytest.raises(zkit.ZkitError, match="sites must be a list"):
        extract(model, PROMPTS, "resid_post", True, tmp_path)
    with pytest.raises(zkit.ZkitError, match="list of prompts is empty"):
        extract(model, [], ["resid_post"], True, tmp_path)
    with pytest.raises(zkit.ZkitError, match="unknown site"):
        extract(model, PROMPTS, ["head"], True, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(zkit.ZkitError, match="cannot be written"):
        extract(model, PROMPTS, ["resid_post"], True, tmp_path / "file")
