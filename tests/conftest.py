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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file go to one process, which makes its fixtures once; those that run chapters go to any, first.

    They take longest, and none of them should be left for a single process at the end.
    """
    chapters = {item.nodeid for item in items if item.get_closest_marker("chain") and "browser" not in item.keywords}
    for item in items:
        if item.nodeid not in chapters:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: (item.nodeid not in chapters, "browser" not in item.keywords))
