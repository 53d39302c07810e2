"""Text that a model or a file brought, on its way to a page: all of it is seen, and none of it acts.

:class:`Html` is the only markup there is. Its template is written by an author; whatever is put into it is escaped,
unless it is :class:`Html` itself. :func:`bundle` is the one way out, and lets nothing else through.
"""

from __future__ import annotations

import html
from typing import Any

import regex
from markupsafe import Markup

# Not newline and tab, and not the two that join and part letters: emoji, Persian and Indic scripts have them.
_UNSEEN = regex.compile(r"(?V1)[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}]--[\n\t\u200c\u200d]]")
_MARKS = {ord(mark): f"\\{mark}" for mark in r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"""} | {ord("\n"): " "}


class Html(Markup):
    """HTML of an author's; ``Html("<td>{}</td>").format(x)``, ``+`` and ``join`` escape what comes to it.

    Newlines become references, so that it stays one line where Markdown is around it.
    """

    __slots__ = ()

    @classmethod
    def escape(cls, value: Any, /) -> Html:
        if hasattr(value, "__html__"):
            return cls(value.__html__())
        return cls(html.escape(visible(value)).replace("\n", "&#10;"))


def visible(value: object) -> str:
    r"""``value`` as text in which characters that cannot be seen are written out: ``\x1b``, ``\u202e``, ``\ud800``.

    These are control characters except newline and tab, format characters (those that turn the direction of writing),
    surrogates and what is no character at all. ``\r\n`` is a newline.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value).replace("\r\n", "\n"))


def markdown(value: object) -> str:
    """``value`` for a place inside a line of Markdown, MyST's included."""
    return visible(value).translate(_MARKS)


def code(value: object) -> str:
    """``value`` as code in a line of Markdown."""
    text = visible(value).replace("\n", " ")
    fence = "`" * (1 + max(map(len, regex.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}"


def bundle(page: Html, plain: str) -> dict[str, str]:
    """What to display: ``page`` where there is HTML, ``plain`` elsewhere. MathJax leaves the page alone.

    Raises TypeError for a page that is not :class:`Html`.
    """
    if not isinstance(page, Html):
        raise TypeError("only Html is shown; write its template with Html(...) and put values in by format")
    return {"text/html": str(Html('<div class="mathjax_ignore">{}</div>').format(page)), "text/plain": visible(plain)}


def show(page: Html, plain: str) -> None:
    """Display :func:`bundle`. Raises TypeError for a page that is not Html."""
    from IPython.display import display

    display(bundle(page, plain), raw=True)
