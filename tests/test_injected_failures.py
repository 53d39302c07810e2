"""Two thousand failures at random places: after each the model is, bit for bit and hook for hook, what it was."""

import random

import pytest
import reference
import tiny
import torch
from torch import nn

import zkit
from zkit.edits import Edit
from zkit.models import SITES
from zkit.positions import Tracker

FAILURES = {"embedded": 1000, "qwen3": 500, "gemma3": 500}
ERRORS = (RuntimeError, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)


class Bomb:
    """Goes off at the n-th time that a wrapped function is called."""

    def __init__(self):
        self.left, self.error = 0, RuntimeError

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            raise self.error("injected")

    def before(self, function):
        def wrapped(*args, **kwargs):
            self()
            return function(*args, **kwargs)

        return wrapped


@pytest.mark.parametrize("which", FAILURES)
def test_failures_at_random_places_leave_the_model_as_it_was(monkeypatch, which):
    model = zkit.load() if which == "embedded" else tiny.model(which, num_hidden_layers=2, sliding_window=16)
    bomb, dice = Bomb(), random.Random(0)
    batch = model.tokenize(["Hi", "Why"], chat=False)
    for owner, name in (
        (nn.Module, "register_forward_hook"), (nn.Module, "register_forward_pre_hook"), (Tracker, "__init__"),
        (Tracker, "__call__"), (Tracker, "select"), (Tracker, "_compute"),
    ):  # fmt: skip
        monkeypatch.setattr(owner, name, bomb.before(getattr(owner, name)))

    def block(rows):
        places = [(site, layer) for site in SITES for layer in range(2) if dice.random() < 0.4]
        return zkit.edit(model, [Edit(*place, bomb.before(lambda h: h * 1.5), rows=rows) for place in places])

    def use():
        how = dice.random()
        rows = (
            None if how < 0.28 else dice.choice([None, slice(0, 1)])
        )  # recording and generation lay out their batches
        with block(rows), block(rows):
            bomb()
            if how < 0.2:
                zkit.record(model, ["Hi"], "last", chat=False)
            elif how < 0.28:
                model.generate(["Hi"], 1, chat=False)
            else:
                model.hf(**batch)
            bomb()

    with torch.no_grad():
        plain = model.hf(**batch).logits
        before, failed, rounds = reference.snapshot(model), 0, 0
        while failed < FAILURES[which]:
            rounds += 1
            bomb.left, bomb.error = dice.randint(1, 60), dice.choice(ERRORS)
            try:
                use()
            except ERRORS as error:
                assert "injected" in str(error)
                failed += 1
            bomb.left = 0
            assert reference.hook_tables(model) == before[0]
            assert torch.equal(model.hf(**batch).logits, plain)
        reference.assert_untouched(model, before)
        assert rounds < 3 * failed
