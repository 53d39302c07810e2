"""Whether a text contains an answer."""

from __future__ import annotations

import re

_PART = "A-Za-z0-9零一二三四五六七八九十-"  # so that 十 is not found in 十一, nor twenty in twenty-one


def bare(text: str) -> str:
    """A text without surrounding white space and without a full stop at its end."""
    return text.strip().rstrip(".。").rstrip()


def stands_in(answer: str, text: str) -> bool:
    """Whether a text contains an answer as a whole word or number, not as a part of a longer one."""
    return re.search(rf"(?<![{_PART}]){re.escape(bare(answer))}(?![{_PART}])", text) is not None
