"""One folder for all processes of a test run, in which what they share is made once (chain.py), and who runs what."""

import os
import shutil
import tempfile

import pytest
from chain import SHARED
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="zkit-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)


FIRST = ("tests/test_notebooks.py", "tests/browser/test_pages.py", "tests/test_pages_runner.py")
"""Files that take longest, in this order; the browser's others follow when the book is built."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return FIRST.index(_file(item.nodeid)) if _file(item.nodeid) in FIRST else len(FIRST)

    items.sort(key=place)


class Scheduling(LoadScopeScheduling):
    """The tests of a file go to one process, which makes its fixtures once; those that run chapters go to any."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if _file(nodeid) == FIRST[0] else _file(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return Scheduling(config, log)


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0]
