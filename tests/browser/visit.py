"""Visiting pages: what a visit asked of other hosts, what it complained about, and when a page is ready."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[2]
PHONE = 390
PATIENCE = 180_000  # milliseconds; these tests measure no time and may share a busy machine


def pages() -> list[str]:
    """Every page in the table of contents, as a path in the built book."""
    found: list[str] = []

    def walk(entry: Any) -> None:
        if isinstance(entry, dict):
            found.extend(f"{Path(v).with_suffix('')}.html" for k, v in entry.items() if k in ("file", "root"))
            for value in entry.values():
                walk(value)
        elif isinstance(entry, list):
            for item in entry:
                walk(item)

    walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    return found


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """The address of a server for a folder."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@dataclass
class Visit:
    """An open page, with the addresses on other hosts that it asked for and the errors it caused."""

    page: Page
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@contextmanager
def visit(
    chromium: Browser, address: str, *, width: int = 1280, theme: str = "light", javascript: bool = True
) -> Iterator[Visit]:
    """Open a page; requests that leave this machine are recorded and refused."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=theme,  # type: ignore[arg-type]
        java_script_enabled=javascript,
    )
    site = "/".join(address.split("/")[:3]) + "/"
    seen = Visit(context.new_page())

    def decide(route: Any) -> None:
        if route.request.url.startswith((site, "data:", "blob:")):
            route.continue_()
        else:
            seen.outside.append(route.request.url)
            route.abort()

    context.set_default_timeout(PATIENCE)
    context.route("**/*", decide)
    seen.page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
    seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
    try:
        seen.page.goto(address, wait_until="load")
        if javascript:
            _settle(seen.page)
        yield seen
    finally:
        context.close()


def _settle(page: Page) -> None:
    """Wait for formulas and plots."""
    page.evaluate("async () => { if (window.MathJax?.startup?.promise) await MathJax.startup.promise; }")
    page.wait_for_function(
        "[...document.querySelectorAll('.zk-plot, .zk-plotly')].every((box) => box.querySelector('.main-svg'))"
    )
