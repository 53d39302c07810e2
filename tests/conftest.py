"""Where tests run in several processes, those that share one run of the chapters stay in one of them."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        chapters = any(item.get_closest_marker(name) for name in ("chain", "browser"))
        if chapters and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("book"))
