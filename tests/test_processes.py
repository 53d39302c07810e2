"""Processes end together, however the first one ends; an interruption is told once, and the status is 130."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from zkit import processes

ENVIRONMENT = dict(os.environ)


def started(code, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


DEAF = """
import sys, time
from zkit.processes import interruptible, GRACE
import zkit.processes
zkit.processes.GRACE = 0.2
def action():
    print("ready", flush=True)
    while True:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            {caught}
sys.exit(interruptible(action, "zkit: interrupted"))
"""


@pytest.mark.parametrize("signals", [1, 2, 20])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_one_sentence_and_130_however_often_it_is_asked_for(number, signals):
    process = started(DEAF.format(caught="time.sleep(0.1); raise"))
    assert process.stdout.readline() == "ready\n"
    for _ in range(signals):
        process.send_signal(number)
        time.sleep(0.02)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "zkit: interrupted\n")


def test_what_does_not_let_itself_be_interrupted_is_ended_by_a_later_signal():
    process = started(DEAF.format(caught="pass"))
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "zkit: interrupted\n")


def test_handlers_are_put_back_and_the_result_is_handed_on():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def interrupted():
        raise KeyboardInterrupt

    assert processes.interruptible(lambda: 7, "") == 7 and processes.interruptible(interrupted, "") == 130
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


BUILDER = """
import time
from zkit import processes
with processes.python("import time; print('up', flush=True); time.sleep(600)", stdout=-1) as process:
    assert process.stdout.readline() == "up\\n"
    print(process.pid, flush=True)
    time.sleep(600)
"""


def test_a_python_process_ends_with_the_one_that_started_it():
    parent = started(BUILDER)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.communicate()
    until(lambda: not alive(child))


def test_a_python_process_ends_with_its_block():
    with (
        pytest.raises(KeyError),
        processes.python("import time; time.sleep(600)", stdout=subprocess.PIPE) as process,
    ):
        raise KeyError
    assert process.returncode == -signal.SIGKILL
    with processes.python("import sys; print(sys.argv[1:])", "a", stdout=subprocess.PIPE) as process:
        assert process.stdout.read() == "['a']\n" and process.wait() == 0
