"""What a chapter says about its figures: sentences whose words are an author's and whose values may be anybody's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

from markdown_it import MarkdownIt

from zkit import foreign
from zkit.errors import ZkitError
from zkit.foreign import Html

_OPTIONS = {"html": False, "typographer": True}  # quotes as in the prose around
_HOLES = 0xE000  # private characters stand for the values while Markdown is read


def say(template: str, /, *values: object, **named: object) -> None:
    """Show Markdown with values in the places of ``template``, as ``str.format`` has them:
    ``pages.say("The gates `{variant}` leave **{share:.0%}** of the sums.", variant=..., share=...)``.

    The template alone is Markdown. Values are shown as they are: nothing in them is markup, a formula or a link.
    Raises ZkitError for a place without a value, and for a value that does not fit its format.
    """
    foreign.show(page(template, values, named), _fill(_Visible(), template, values, named))


def page(template: str, values: Sequence[object] = (), named: Mapping[str, object] | None = None) -> Html:
    """What :func:`say` shows where there is HTML."""
    holes = _Holes()
    source = _fill(holes, template, values, named or {})
    made = MarkdownIt("commonmark", _OPTIONS).enable("smartquotes").render(source)
    return Html(made.translate(holes.found))


class _Visible(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        return foreign.visible(super().format_field(value, format_spec))


class _Holes(Formatter):
    """Leaves a private character in the place of every value, and keeps what belongs there, escaped."""

    def __init__(self) -> None:
        self.found: dict[int, str] = {}

    def format_field(self, value: Any, format_spec: str) -> str:
        hole = _HOLES + len(self.found)
        shown = Html.escape(super().format_field(value, format_spec))
        # A text that is written from right to left must not turn its neighbours round.
        self.found[hole] = Html("<bdi>{}</bdi>").format(shown) if isinstance(value, str) else shown
        return chr(hole)


def _fill(formatter: Formatter, template: str, values: Sequence[object], named: Mapping[str, object]) -> str:
    try:
        return formatter.vformat(template, values, named)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
        raise ZkitError(
            f"{template!r} cannot be filled in: {type(error).__name__}: {error}; give every place its value"
        ) from error
