"""One folder for all processes of a test run, in which what they share is made once (chain.py), and who runs what."""

import os
import shutil
import tempfile

import pytest
from chain import SHARED


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[SHARED] = tempfile.mkdtemp(prefix="zkit-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ[SHARED], ignore_errors=True)


FIRST = ("test_notebooks", "test_pages", "test_pages_runner")
"""Files that take longest, in this order; of the browser's, the others follow when the book is built."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file go to one process, which makes its fixtures once; those that run chapters go to any, first.

    They take longest, and none of them should be left for a single process at the end.
    """
    for item in items:
        if item.path.stem != FIRST[0] or not item.get_closest_marker("chain"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))

    def place(item: pytest.Item) -> tuple[int, bool]:
        return FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST), "browser" in item.keywords

    items.sort(key=place)
