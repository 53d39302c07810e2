"""Which tokens of a prompt a recording pools."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from zkit.positions import Positions


@dataclass(frozen=True)
class Choice:
    """Which tokens are pooled: those at some positions, massive ones among them or not.

    part: ``"content"``, of these only the tokens of messages and answers; ``"suffix"``, those of the template after
    the last message; ``""``, all of them.
    """

    positions: Positions
    part: str = ""
    massive: bool = False

    def own(self, content: Bool[Tensor, "batch prompt"], real: Bool[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
        """The tokens of the part, given the tokens of the messages in the prompt's columns and the real ones."""
        found, width = real.clone(), content.shape[1]
        if self.part == "content":
            found[:, :width] = content
        else:
            found[:, :width] &= content.flip(1).cumsum(1).flip(1) == 0
            found[:, width:] = False
        return found

    def nothing(self, layer: int) -> str:
        """What to say where no token is chosen."""
        if self.part == "suffix":
            return (
                "no usual token of a chat template follows the message; take another pool, such as positions='content'"
            )
        kind = self.part or self.positions.kind
        usual = "" if self.massive else f" that is not massive at layer {layer}"
        return f"positions {kind!r} choose no token of a prompt{usual}; widen them or lengthen it"
