"""What begin() and finish() show on the page: banners and the foot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zkit import foreign
from zkit.foreign import Html

Bundle = dict[str, str]
"""A mime bundle: mime type -> text."""

UNSTAMPED = "none (not executed by python -m zkit)"


def banner(title: str, body: str) -> Bundle:
    page = Html('<div class="admonition warning zkit-banner"><p class="admonition-title">{}</p><p>{}</p></div>')
    return foreign.bundle(page.format(title, body), f"{title}: {body}")


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
    body = Html().join(
        Html('<tr><th scope="row">{}</th><td style="overflow-wrap:anywhere"{}>{}</td></tr>').format(
            name,
            Html(' class="zkit-stamp"') if name == "Stamp" else "",  # the one cell that differs between equal runs
            value,
        )
        for name, value in rows
    )
    page = Html(
        '<table class="table zkit-foot"><caption>What this page was made from</caption><tbody>{}</tbody></table>'
    )
    width = max(len(name) for name, _ in rows)
    return foreign.bundle(page.format(body), "\n".join(f"{name:<{width}}  {value}" for name, value in rows))
