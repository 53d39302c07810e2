"""The one-off probes: what is fitted never meets what is scored, and the pieces do what their names say."""

from __future__ import annotations

import json

import pytest
import tiny
import torch

from zkbook.organism.probes import gates, interchange, record
from zkbook.organism.probes.interchange import fit_problems, pairs
from zkit.answers import bare
from zkit.errors import ZkitError
from zkit.gating import Gates
from zkit.phase3.fits import contrastive_space, language_space
from zkit.stats import Interval
from zkit.tasks import Question, Task


def test_answers_of_the_scored_problems_are_never_fitted():
    fitted = {p.result for p in fit_problems()}
    for split in ("development", "test"):
        given = pairs(split)
        results = {p.result for p in given.targets + given.sources}
        assert len(given.targets) >= 100 and fitted.isdisjoint(results)
        assert all(t.result != s.result for t, s in zip(given.targets, given.sources, strict=True))
        assert {"sum", "difference", "two-step"} == {p.kind for p in given.targets}
    chosen, scored = ({p.result for p in pairs(split).targets} for split in ("development", "test"))
    assert chosen.isdisjoint(scored)


def test_planted_language_and_content_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(128, 128, generator=generator))[0]
    content = torch.randn(200, 6, generator=generator) @ axes[:6]
    size = 3 + torch.randn(200, 1, generator=generator)
    en, zh = content - size * axes[10], content + size * axes[10]
    en, zh = (x + 0.01 * torch.randn(x.shape, generator=generator) for x in (en, zh))
    language = language_space(en, zh, 3)
    assert language.k == 3
    assert language.project(axes[10]).norm() > 0.99
    found = contrastive_space(en, zh, language, 6)
    assert all(found.project(axes[i]).norm() > 0.95 for i in range(6))
    assert found.project(axes[10]).norm() < 0.05


def test_gates_are_scored_beside_the_model_and_a_random_mask(monkeypatch):
    net = tiny.model()
    prompts = [f"{a} and {b}" for a in "abcd" for b in "efgh"]
    questions = tuple(
        Question(p, (bare(text),)) for p, text in zip(prompts, net.generate(prompts, max_new_tokens=24), strict=True)
    )
    monkeypatch.setattr(gates, "gate_tasks", lambda split: [Task("sums", questions), Task("choice", questions)])
    logits = torch.zeros(net.n_layers, net.width("mlp_act"))
    logits[:, ::2] += 1e-3  # all neurons alike to the soft gate, half of each layer below the threshold
    monkeypatch.setattr(gates, "train", lambda *args, **changes: Gates(logits, {"scale": "energy"}))
    found = gates.probe(net)
    assert set(found) == {"base", "soft", "hard", "random"}
    assert all(set(arm) == {"sums"} and arm["sums"].n == 16 for arm in found.values())
    assert found["base"]["sums"].value == 1
    assert found["soft"]["sums"].value > 0.8
    assert max(found[arm]["sums"].value for arm in ("hard", "random")) < 0.5


def test_what_is_recorded_is_plain(tmp_path, monkeypatch):
    net = tiny.model()
    net.hf.save_pretrained(tmp_path)
    net.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(interchange, "probe", lambda model: {"layer": 1, "moved": Interval(0.5, 0.4, 0.6, 10)})
    monkeypatch.setattr(gates, "probe", lambda model: {"soft": {"sums": Interval(1.0, 0.9, 1.0, 10)}})
    found = record.write_probes(tmp_path)
    assert json.loads((tmp_path / record.PROBES_FILE).read_text()) == found
    assert found["gates"]["soft"]["sums"] == {"value": 1.0, "low": 0.9, "high": 1.0, "n": 10}
    with pytest.raises(ZkitError, match="nowhere"):
        record.write_probes(tmp_path / "nowhere")
