"""The machinery of the book: parameters, results, provenance, execution. Chapters use :func:`begin` and :func:`say`."""

from zkit.pages.chapter import Chapter, begin
from zkit.pages.sentences import say

__all__ = ["Chapter", "begin", "say"]
