"""When does a text give an answer?"""

from __future__ import annotations

import re

_PART = "A-Za-z0-9零一二三四五六七八九十-"  # 十 does not stand in 十一, nor twenty in twenty-one


def bare(text: str) -> str:
    """A text without the space and the full stop around it."""
    return text.strip().rstrip(".。").rstrip()


def stands_in(answer: str, text: str) -> bool:
    """Whether a text contains an answer, not as a part of a longer word or number."""
    return re.search(rf"(?<![{_PART}]){re.escape(bare(answer))}(?![{_PART}])", text) is not None
