"""The one exception for mistakes a user can mend."""

from __future__ import annotations


class ZkitError(ValueError):
    """Bad input or a broken environment; the message names the thing at fault and the remedy.

    The command line prints the message alone and exits with status 2.
    """


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, at most 200 characters, to stand in brackets."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
