"""The four style axes of the qwen3-steering project, each one positive and one negative instruction."""

from __future__ import annotations

from dataclasses import dataclass

from zkit.errors import ZkitError


@dataclass(frozen=True)
class Style:
    """One axis: the instruction that asks for the style and the one that asks for its opposite."""

    positive: str
    negative: str


STYLES = {
    "terse": Style(
        "Be extremely concise and technical. No filler words.",
        "Please explain thoroughly with lots of context and examples.",
    ),
    "formal": Style("Respond in precise, formal academic prose.", "Just chat with me casually."),
    "socratic": Style("Respond only with targeted clarifying questions.", "Give me the answer directly."),
    "dry-wit": Style(
        "Respond with dry understatement and laconic precision.", "Be enthusiastic, warm, and encouraging."
    ),
}


def find(name: str) -> Style:
    """The style called ``name``. Raises ZkitError for an unknown one."""
    if name not in STYLES:
        raise ZkitError(
            f"unknown style {name!r}; the styles are {', '.join(STYLES)}, or give positive=... and negative=..."
        )
    return STYLES[name]
