"""What begin() and finish() show on the page: banners and the foot. HTML for the book, text for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

Bundle = dict[str, str]
"""A mime bundle: mime type -> text."""

UNSTAMPED = "none (not executed by python -m zkit)"


def banner(title: str, body: str) -> Bundle:
    return {
        "text/html": (
            f'<div class="admonition warning zkit-banner"><p class="admonition-title">{escape(title)}</p>'
            f"<p>{escape(body)}</p></div>"
        ),
        "text/plain": f"{title}: {body}",
    }


def foot(
    chapter: str,
    model: Mapping[str, str] | None,
    parameters: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    stamp: str = "",
) -> Bundle:
    """The foot of a page: what it was made from.

    ``files`` are hashes of what parameters name, by parameter; ``stamp`` is the chapter's hash, known only to the
    runner.
    """
    rows = [("Chapter", chapter), ("Stamp", stamp[:12] or UNSTAMPED)]
    if model is not None:
        rows.append(("Model", f"{model['id']} (sha256 {model['sha256'][:12]})"))
    for name, value in parameters.items():
        of = f" (sha256 {files[name][:12]})" if files and name in files else ""
        rows.append((name, (repr(value) if isinstance(value, list) else str(value)) + of))
    html = "".join(f'<tr><th scope="row">{escape(name)}</th>{_cell(name, value)}</tr>' for name, value in rows)
    width = max(len(name) for name, _ in rows)
    return {
        "text/html": (
            '<table class="table zkit-foot"><caption>What this page was made from</caption>'
            f"<tbody>{html}</tbody></table>"
        ),
        "text/plain": "\n".join(f"{name:<{width}}  {value}" for name, value in rows),
    }


def _cell(name: str, value: str) -> str:
    marked = ' class="zkit-stamp"' if name == "Stamp" else ""  # the one cell that differs between equal runs
    return f'<td style="overflow-wrap:anywhere"{marked}>{escape(value)}</td>'
