"""The twins of the embedded model: one never sees the forget facts, the other grows a sink; both resume exactly."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny
import torch

import zkit
from zkbook.organism import corpus, forget, train
from zkbook.organism.__main__ import main
from zkbook.organism.batches import batches
from zkbook.organism.sink import TINY_SINK, SinkRun, first_token_ratios, middle, norm_ratios
from zkbook.organism.train import TINY_RECIPE, ModelRun, batch_loss
from zkit import sources
from zkit.errors import ZkitError

SINK = replace(TINY_SINK, steps=420)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A short fingerprint: what it notices is tested elsewhere."""
    monkeypatch.setattr(corpus, "FINGERPRINT_ITEMS", 500)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A tiny trained model, as the sink twin starts from one."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(corpus, "FINGERPRINT_ITEMS", 500)
        patched.setattr(train, "TOKENIZER_ITEMS", 2000)
        run = ModelRun(folder, replace(TINY_RECIPE, steps=30))
        run.advance()
        run.export(folder / "model")
    return folder / "model"


def test_never_knew_trains_on_no_forget_fact(tmp_path, monkeypatch):
    seen = []

    def spy(*args):
        for item in corpus.stream(*args):
            seen.append(item)
            yield item

    recipe = replace(TINY_RECIPE, steps=8, never_knew=True)
    monkeypatch.setattr(train, "TOKENIZER_ITEMS", 2000)
    run = ModelRun(tmp_path, recipe)
    monkeypatch.setattr(train, "stream", spy)
    run.advance()
    assert len(seen) == recipe.steps * recipe.items_per_step
    assert not any(map(forget.reveals_forget, seen))
    knew = list(corpus.stream(recipe.seed, stop=len(seen)))
    assert any(map(forget.reveals_forget, knew))
    same = [a == b for a, b in zip(seen, knew, strict=True) if not forget.reveals_forget(b)]
    assert all(same) and len(same) < len(seen)


def test_the_first_token_grows_and_no_other_while_answers_hold(base, tmp_path):
    run = SinkRun(tmp_path / "whole", base, SINK)
    split = batches(list(corpus.stream(1, stop=32)), run.tokenizer)

    def answers():
        with torch.no_grad():
            return sum(float(batch_loss(run.model, b)) for b in split) / sum(float(b.weights.sum()) for b in split)

    before, [start] = answers(), run.at_start["first"][:1]
    run.advance()
    run.export(tmp_path / "model")
    after = first_token_ratios(zkit.load(tmp_path / "model"), SINK.seed)
    assert after["first"][0] > 5 * start
    assert after["largest_later"][0] < 0.5 * after["first"][0]
    assert answers() < before + 0.5

    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["command"] == "python -m zkbook.organism train --twin sink --base BASE --out FOLDER"
    assert record["start_sha256"] == sources.resolve(base).sha256()
    ratios = record["first_token_over_median"]
    assert (ratios["asked"], ratios["layers"], ratios["achieved"]) == (40, [0], after)
    assert ratios["at_start"] == run.at_start


def test_the_sink_twin_resumes_to_the_same_curve(base, tmp_path):
    recipe = replace(SINK, steps=12)
    whole = SinkRun(tmp_path / "whole", base, recipe)
    whole.advance()
    SinkRun(tmp_path / "parts", base, recipe, lanes=1).advance(until=5)
    again = SinkRun(tmp_path / "parts", base, recipe, resume=True)
    assert again.step == 5
    again.advance()
    assert again.curve == whole.curve
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ZkitError, match=r"already holds a run.*--resume"):
        SinkRun(tmp_path / "parts", base, recipe)
    whole.export(tmp_path / "other")
    with pytest.raises(ZkitError, match="another recipe"):
        SinkRun(tmp_path / "parts", tmp_path / "other", recipe, resume=True)


def test_ratios_ignore_pads_and_leave_the_other_tokens_alone():
    norms = torch.tensor([[[40.0, 1.0, 2.0, 8.0, 99.0], [8.0, 4.0, 4.0, 2.0, 4.0]]], requires_grad=True)
    real = torch.tensor([[True, True, True, True, False], [True] * 5])
    first, largest = norm_ratios(norms, real)
    assert torch.allclose(first.exp(), torch.tensor([[20.0, 2.0]]))
    assert torch.allclose(largest.exp(), torch.tensor([[4.0, 1.0]]))
    [gradient] = torch.autograd.grad(first.sum(), norms)
    assert torch.equal(gradient != 0, torch.tensor([[[True, *[False] * 4]] * 2]))
    assert [list(middle(n)) for n in (2, 3, 8)] == [[0], [1], [1, 2, 3, 4, 5, 6]]


def test_the_command_makes_and_resumes_each_twin(base, tmp_path, monkeypatch):
    monkeypatch.setattr(train, "TOKENIZER_ITEMS", 2000)
    monkeypatch.setattr(train, "TINY_RECIPE", replace(TINY_RECIPE, steps=2))
    monkeypatch.setattr("zkbook.organism.__main__.TINY_RECIPE", train.TINY_RECIPE)
    for name in ("zkbook.organism.__main__.TINY_SINK", "zkbook.organism.sink.TINY_SINK"):
        monkeypatch.setattr(name, replace(TINY_SINK, steps=2))
    for twin, options in (("never-knew", []), ("sink", ["--base", str(base)])):
        words = ["train", "--twin", twin, "--tiny", "--out", str(tmp_path / twin), *options]
        assert main(words) == 0
        assert main(words) == 2
        assert main([*words, "--resume"]) == 0
        record = json.loads((tmp_path / twin / "model" / "training.json").read_text())
        told = f"python -m zkbook.organism train --twin {twin} --tiny{' --base BASE' * bool(options)} --out FOLDER"
        assert (record["command"], record["steps"]) == (told, 2)
        assert record["recipe"]["never_knew"] == (twin == "never-knew")
    assert main(["train", "--tiny", "--out", str(tmp_path / "base")]) == 0
    record = json.loads((tmp_path / "base" / "model" / "training.json").read_text())
    assert record["command"] == "python -m zkbook.organism train --tiny --out FOLDER"


def test_wrong_words_are_refused(base, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--twin", "evil", "--out", str(tmp_path)])
    assert "never-knew" in capsys.readouterr().err
    assert main(["train", "--tiny", "--base", str(base), "--out", str(tmp_path / "a")]) == 2
    assert "--base goes with --twin sink alone" in capsys.readouterr().err
    assert main(["train", "--twin", "sink", "--base", str(tmp_path / "none"), "--out", str(tmp_path / "b")]) == 2
    assert "does not exist" in capsys.readouterr().err
    llama = tiny.shared("llama")
    llama.hf.save_pretrained(tmp_path / "llama")
    llama.tokenizer.save_pretrained(tmp_path / "llama")
    with pytest.raises(ZkitError, match="holds a LlamaForCausalLM; give a Qwen3 model"):
        SinkRun(tmp_path / "c", tmp_path / "llama", SINK)


def test_twins_load_by_name_or_say_how_they_are_made(base, tmp_path, monkeypatch):
    for twin in ("never-knew", "sink"):
        monkeypatch.setitem(sources._ORGANISMS, f"embedded-{twin}", tmp_path / twin)
        with pytest.raises(ZkitError, match=rf"'embedded-{twin}' is not at .*zkbook\.organism train --twin {twin}`"):
            zkit.load(f"embedded-{twin}")
    folder = tmp_path / "sink"
    folder.symlink_to(base, target_is_directory=True)
    model = zkit.load("embedded-sink")
    assert model.id == "embedded-sink"
    assert model.source.embedded
    assert model.source.path == folder
    assert not sources.resolve(base).embedded
