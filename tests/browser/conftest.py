"""The built book, a server on this machine for it, and Chromium.

Without Chromium these tests skip and say so; where the environment says CI, its absence is a failure.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import chain
import pytest
from playwright.sync_api import Browser, sync_playwright
from visit import serve

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="session")
def built_book() -> Path:
    """The folder of the HTML book, built from the smoke run."""
    made = chain.smoke_book()
    assert made.done.returncode == 0, f"the book was not built:\n{made.done.stdout}\n{made.done.stderr}"
    return made.html


@pytest.fixture(scope="session")
def site(built_book: Path) -> Iterator[str]:
    """Address of a server for the built book."""
    with serve(built_book) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        message = "no Chromium on this machine (Debian: apt install chromium fonts-noto-cjk)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        sandbox = [] if os.getuid() else ["--no-sandbox"]  # Chromium has none for root
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield browser
        browser.close()
