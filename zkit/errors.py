"""The exception for mistakes that a user can correct."""

from __future__ import annotations

LONGEST = 1_000
"""Most characters of a message. It may quote a long text of a file; its beginning and its end matter most."""
_GAP = " [...] "


class ZkitError(ValueError):
    """Bad input or a broken environment; the message names the cause and the remedy.

    A message can always be printed and has at most LONGEST characters; the middle of a longer one is left out.
    The command line prints the message alone and exits with status 2.
    """

    def __init__(self, message: str = "") -> None:
        said = message.encode("utf-8", "backslashreplace").decode()  # a lone surrogate cannot be printed
        if len(said) > LONGEST:
            end = (LONGEST - len(_GAP)) // 3
            said = said[: LONGEST - len(_GAP) - end] + _GAP + said[-end:]
        super().__init__(said)


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of its message, together at most 200 characters."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
