"""A patch with a prompt's own state changes nothing, bit for bit; what breaks that is told."""

import pytest
import tiny
import torch

import zkit
from zkit import patching
from zkit.edits import add

PROMPTS = ["Hi", "Explain what a mutex is.", "Why"]


@pytest.mark.parametrize("chat", [True, False])
def test_a_prompts_own_state_changes_nothing(chat):
    assert patching.check_identity(tiny.shared(), PROMPTS, 1, chat=chat) == len(PROMPTS)


def test_a_patch_that_moves_the_state_is_told(monkeypatch):
    model = tiny.shared()
    monkeypatch.setattr(patching, "swap", lambda layer, *_: add("resid_post", layer, torch.ones(model.d_model)))
    with pytest.raises(zkit.ZkitError, match="a patch of layer 1 with the prompt's own state changed"):
        patching.check_identity(model, PROMPTS, 1)
    with pytest.raises(zkit.ZkitError, match="the list of prompts is empty"):
        patching.check_identity(model, [], 1)


def test_what_is_measured_once_is_measured_again_after_the_weights_change():
    model = tiny.model()
    calls = []

    def read():
        calls.append(1)
        return len(calls)

    assert model.once("a test", read) == model.once("a test", read) == 1
    with torch.no_grad():
        next(model.hf.parameters()).mul_(1.0)
    assert model.once("a test", read) == 2
