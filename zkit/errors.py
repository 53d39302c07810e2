"""The one exception for mistakes a user can mend."""

from __future__ import annotations

LONGEST = 1_000
"""Characters of a message. What it quotes of a file may be of any length, and what matters stands at both ends."""
_GAP = " [...] "


class ZkitError(ValueError):
    """Bad input or a broken environment; the message names the thing at fault and the remedy.

    A message can always be printed and is never longer than LONGEST characters; of a longer one the middle is left out.
    The command line prints the message alone and exits with status 2.
    """

    def __init__(self, message: str = "") -> None:
        said = message.encode("utf-8", "backslashreplace").decode()  # half a character cannot be printed
        if len(said) > LONGEST:
            end = (LONGEST - len(_GAP)) // 3
            said = said[: LONGEST - len(_GAP) - end] + _GAP + said[-end:]
        super().__init__(said)


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says, at most 200 characters, to stand in brackets."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
