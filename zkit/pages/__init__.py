"""The machinery of the book: parameters, results, provenance, execution. Chapters use :func:`begin` alone."""

from zkit.pages.chapter import Chapter, begin

__all__ = ["Chapter", "begin"]
