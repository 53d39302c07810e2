"""The real model that the tests of this folder need."""

import os

import pytest

import zkit

VARIABLE = "ZKIT_FIELD_MODEL"


@pytest.fixture(scope="session")
def field_file() -> str:
    """The file (or folder) that the environment names; without it the test is skipped."""
    if not (name := os.environ.get(VARIABLE)):
        pytest.skip(f"needs a real model: make field-test MODEL=file.gguf, or set {VARIABLE} to a GGUF file")
    return name


@pytest.fixture(scope="session")
def field_model(field_file):
    """The real model, loaded once for all tests; they must leave it as it was."""
    return zkit.load(field_file)
