"""Display text from a model or a file so that all of it is visible and none of it acts as markup.

:class:`Html` is the only kind of markup. Its template is written by an author; values that are put into it are escaped,
unless they are :class:`Html` themselves. :func:`bundle` makes all output and accepts nothing else.
"""

from __future__ import annotations

import html
from typing import Any

import regex
from markupsafe import Markup

# Without newline, tab and the zero-width joiner and non-joiner, which emoji, Persian and Indic scripts need.
_UNSEEN = regex.compile(r"(?V1)[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Noncharacter_Code_Point}]--[\n\t\u200c\u200d]]")
_MARKS = {ord(mark): f"\\{mark}" for mark in r"""!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"""} | {ord("\n"): " "}


class Html(Markup):
    """HTML written by an author; ``Html("<td>{}</td>").format(x)``, ``+`` and ``join`` escape the values put into it.

    Newlines in these values become character references, so that they do not break a line of surrounding Markdown.
    """

    __slots__ = ()

    @classmethod
    def escape(cls, value: Any, /) -> Html:
        if hasattr(value, "__html__"):
            return cls(value.__html__())
        return cls(html.escape(visible(value)).replace("\n", "&#10;"))


def visible(value: object) -> str:
    r"""``value`` as text in which characters that cannot be seen are written out: ``\x1b``, ``\u202e``, ``\ud800``.

    These are control characters except newline and tab, format characters (such as those that change the direction of
    writing) except the zero-width joiners, line separators, surrogates and noncharacters. ``\r\n`` becomes a newline.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value).replace("\r\n", "\n"))


def markdown(value: object) -> str:
    """``value`` escaped for use inside a line of Markdown or MyST."""
    return visible(value).translate(_MARKS)


def code(value: object) -> str:
    """``value`` as inline code in Markdown."""
    text = visible(value).replace("\n", " ")
    fence = "`" * (1 + max(map(len, regex.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}"


def bundle(page: Html, plain: str) -> dict[str, str]:
    """The display data: ``page`` for frontends that show HTML, ``plain`` for others. MathJax skips the page.

    Raises TypeError for a page that is not :class:`Html`.
    """
    if not isinstance(page, Html):
        raise TypeError("only Html is shown; write its template with Html(...) and put values in by format")
    return {"text/html": str(Html('<div class="mathjax_ignore">{}</div>').format(page)), "text/plain": visible(plain)}


def show(page: Html, plain: str) -> None:
    """Display :func:`bundle`. Raises TypeError for a page that is not Html."""
    from IPython.display import display

    display(bundle(page, plain), raw=True)
