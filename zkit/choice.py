"""Which tokens of a prompt a recording pools."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from zkit.positions import Positions


@dataclass(frozen=True)
class Choice:
    """Which tokens are pooled.

    positions: where the tokens stand. part: which of these are used: ``"content"``, the tokens of messages and answers;
    ``"suffix"``, the tokens of the template after the last message; ``""``, all. massive: whether massive tokens are
    included.
    """

    positions: Positions
    part: str = ""
    massive: bool = False

    def own(self, content: Bool[Tensor, "batch prompt"], real: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
        """The tokens that belong to ``part``.

        content: the tokens of the messages, in the columns of the prompt. real: the tokens that are not padding.
        """
        found, width = real.clone(), content.shape[1]
        if self.part == "content":
            found[:, :width] = content
        else:
            found[:, :width] &= content.flip(1).cumsum(1).flip(1) == 0
            found[:, width:] = False
        return found

    def nothing(self, layer: int) -> str:
        """The error message for a prompt in which no token is chosen at ``layer``."""
        if self.part == "suffix":
            return (
                "no usual token of a chat template follows the message; take another pool, such as positions='content'"
            )
        kind = self.part or self.positions.kind
        usual = "" if self.massive else f" that is not massive at layer {layer}"
        return f"positions {kind!r} choose no token of a prompt{usual}; widen them or lengthen it"
