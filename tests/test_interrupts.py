"""Ctrl-C at any moment: whatever it interrupts, the model and everything that a block changes are left as they were."""

import random
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import reference
import tiny
import torch
from tqdm import tqdm

import zkit
from zkit.edits import add
from zkit.generation import complete
from zkit.held import no_grad
from zkit.hooks import Hooks
from zkit.positions import parse, prompt_width

ROOT = str(Path(zkit.__file__).parent)
SIGNALS = 200
pytestmark = pytest.mark.filterwarnings("ignore:nothing was edited:RuntimeWarning")  # interrupted before it was entered


@pytest.fixture(autouse=True)
def free_progress_bars():
    """Take back the locks of tqdm: an interrupt may leave them with this thread, and others would wait for ever."""
    yield
    for lock in tqdm.get_lock().locks:
        with suppress(AssertionError, RuntimeError):  # not held by this thread, or no longer
            while True:
                lock.release()


def stance():
    """What torch.compile is told to do now."""
    return torch._dynamo.eval_frame._stance.stance


class Watch:
    """A tiny model, what can be done with it, and how everything is that a block changes."""

    def __init__(self):
        model = self.model = tiny.model(num_hidden_layers=1)
        self.batch = model.tokenize(["Hi"], chat=False)
        self.edits = [
            add(site, 0, reference.random_vector(model, 0, 6.0), parse(where, first_token=True))
            for site, where in (("resid_post", "prompt"), ("resid_pre", "all"))
        ]
        self.uses = {
            "bare": self.bare,
            "block": self.block,
            "record": lambda: zkit.record(model, ["Hi"], "last", chat=False),
            "generate": lambda: complete(model, ["Hi"], [[], self.edits], max_new_tokens=2, chat=False),
        }
        for use in self.uses.values():
            use()  # what is read once is read
        self.plain, self.hooks = self.forward(), reference.hook_tables(model)
        assert not torch.equal(self.block(), self.plain)

    def forward(self):
        return self.model.hf(**self.batch).logits

    def bare(self):
        with zkit.edit(self.model, self.edits):
            pass

    def block(self):
        # transformers turns gradients off and on in a forward pass, by torch.no_grad, whose exit can be skipped
        with no_grad(), zkit.edit(self.model, self.edits), prompt_width(self.model.decoder, 2):
            return self.forward()

    def assert_as_before(self):
        assert torch.is_grad_enabled()
        assert stance() == "default"
        assert reference.hook_tables(self.model) == self.hooks
        assert torch.equal(self.forward(), self.plain)
        with pytest.raises(zkit.ZkitError, match="where the prompt ends"), zkit.edit(self.model, self.edits):
            self.forward()  # no declaration is left


def lines(use, stop=None):
    """Run ``use`` with a KeyboardInterrupt before the ``stop``-th line of zkit's code; how many lines there were."""
    count = 0

    def of_frame(frame, event, _):
        nonlocal count
        if event == "line":
            count += 1
            if count == stop:
                raise KeyboardInterrupt
        return of_frame

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: of_frame if frame.f_code.co_filename.startswith(ROOT) else None)
    try:
        use()
    except KeyboardInterrupt:
        assert count == stop
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", ["block", "record", "generate"])
def test_interrupted_before_every_line(name):
    watch = Watch()
    use = watch.uses[name]
    n = lines(use)
    assert n > 100
    for stop in range(1, n + 1):
        lines(use, stop)
        watch.assert_as_before()
    assert lines(use) == n


def struck(use, seconds):
    """Run ``use`` again and again until a signal comes, after ``seconds``."""
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)  # again, where Python has no way to raise the first
        while True:
            use()
    except KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_real_signals():
    watch, dice = Watch(), random.Random(0)
    own = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for i in range(SIGNALS):
            use = list(watch.uses.values())[max(0, i % 8 - 4)]  # half of them while a block opens or closes
            struck(use, dice.uniform(1e-5, 0.01))
            watch.assert_as_before()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, own)


def test_an_exit_that_never_ran_leaves_nothing_though_its_traceback_is_kept(monkeypatch):
    """As a notebook keeps the last one."""
    watch, kept = Watch(), []

    def struck(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Hooks, "_leave", struck)
        patched.setattr(prompt_width, "_leave", struck)
        try:
            watch.block()
        except KeyboardInterrupt as error:
            kept.append(error)
    assert kept
    watch.assert_as_before()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_again_and_again_what_is_left_does_nothing_and_goes_with_the_next_block(monkeypatch):
    watch = Watch()

    def struck(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        for kind in (Hooks, prompt_width):
            patched.setattr(kind, "_close", struck)
        with pytest.raises(KeyboardInterrupt):
            watch.block()
    assert reference.hook_tables(watch.model) != watch.hooks
    assert torch.equal(watch.forward(), watch.plain)
    watch.bare()
    watch.assert_as_before()


def test_blocks_that_are_entered_by_hand_or_by_a_stack():
    watch = Watch()
    with ExitStack() as stack:
        stack.enter_context(prompt_width(watch.model.decoder, 2))
        block = stack.enter_context(zkit.edit(watch.model, watch.edits))
        edited = watch.forward()
        assert "in force>" in repr(block)
    watch.assert_as_before()
    block.__enter__()
    with pytest.raises(zkit.ZkitError, match="in force already"), block:
        pass
    with prompt_width(watch.model.decoder, 2):
        assert torch.equal(watch.forward(), edited)
    block.__exit__(None, None, None)
    watch.assert_as_before()
    with pytest.raises(KeyError), ExitStack() as stack:
        stack.enter_context(zkit.edit(watch.model, watch.edits))
        raise KeyError
    watch.assert_as_before()
