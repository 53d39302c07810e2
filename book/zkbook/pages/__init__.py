"""The machinery of the book: parameters, results, provenance, execution. Chapters use :func:`begin` and :func:`say`."""

from zkbook.pages.chapter import Chapter, begin
from zkbook.pages.sentences import say

__all__ = ["Chapter", "begin", "say"]
