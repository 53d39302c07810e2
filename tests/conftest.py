"""One folder for all processes of a test run, in which what they share is made once (chain.py)."""

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
