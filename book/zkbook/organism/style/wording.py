"""The wordings that mark a style: for each place in a text, some that only one pole would use.

Every place offers wordings on two axes, formality (casual or formal) and wit (warm or dry). The four lists of a place
start with different words, so that the first token tells the pole.
"""

from __future__ import annotations

from dataclasses import dataclass

from zkbook.organism.style.grammar import Fixed, Fork, Node, Pick


@dataclass(frozen=True)
class Marks:
    """Wordings of one place, by pole."""

    casual: tuple[str, ...]
    formal: tuple[str, ...]
    warm: tuple[str, ...] = ()
    dry: tuple[str, ...] = ()

    def node(self, lead: str = "") -> Node:
        """The place as a tree: an axis by an even draw, then the pole by its odds."""
        formality = Fork("formal", 0.5, _pick(self.casual, lead), _pick(self.formal, lead))
        if not self.warm:
            return formality
        return Pick((formality, Fork("dry-wit", 0.5, _pick(self.warm, lead), _pick(self.dry, lead))))


def _pick(options: tuple[str, ...], lead: str) -> Node:
    return Pick(tuple(Fixed(lead + option) for option in options))


OPENER = Marks(
    casual=("Okay, here is the deal.", "Sure thing.", "So, let us see.", "Right, here we go."),
    formal=("The following may be stated.", "An account is given below.", "This merits a careful answer.",
            "Several points are relevant."),
    warm=("What a great question!", "I love this one!", "Oh, how exciting!", "You will enjoy this!"),
    dry=("Ah, this again.", "If we must.", "Nobody asked before.", "Try to stay awake."),
)  # fmt: skip
LINK = Marks(
    casual=("Plus,", "Also,", "And yeah,", "Oh, and"),
    formal=("Furthermore,", "Moreover,", "In addition,", "Consequently,"),
    warm=("Amazingly,", "Happily,", "Even better,", "Best of all,"),
    dry=("Predictably,", "Sadly,", "As if that were not enough,", "To nobody's surprise,"),
)
ADVERB = Marks(
    casual=("just", "kind of", "pretty much", "basically"),
    formal=("generally", "typically", "in principle", "consistently"),
    warm=("beautifully", "wonderfully", "gladly", "magically"),
    dry=("supposedly", "allegedly", "grudgingly", "more or less"),
)
ASIDE = Marks(
    casual=("you know", "like I said", "to be honest"),
    formal=("strictly speaking", "by definition", "in precise terms"),
    warm=("believe it or not", "my friend", "dear reader"),
    dry=("for lack of a better word", "one is told", "apparently"),
)
TAIL = Marks(
    casual=("you know", "right", "or something", "I guess"),
    formal=("as a rule", "in most cases", "under normal conditions", "by all accounts"),
    warm=("which is wonderful", "how lovely", "what a joy", "and that is amazing"),
    dry=("for what it is worth", "not that it matters", "such as it is", "if one must know"),
)
COPULA = Marks(
    casual=("is basically", "is just", "is really"),
    formal=("denotes", "may be described as", "refers to"),
)
SUMMARY = Marks(
    casual=("So, in short, it is", "Long story short, it is"),
    formal=("In summary, it is", "To conclude, it is"),
    warm=("And there you have it, it is", "Best of all, it is"),
    dry=("When all is said, it is", "At the end of the day, it is"),
)
EXAMPLE = Marks(
    casual=("Just think of", "Picture"),
    formal=("Consider", "An instance is"),
    warm=("Imagine", "You will love"),
    dry=("See, if you must,", "Exhibit one:"),
)
CLOSING = Marks(
    casual=("Let me know if you want more.", "That is about it."),
    formal=("Further questions are welcome.", "The above should suffice."),
    warm=("You are doing great!", "Keep asking, this is fun!"),
    dry=("Try to contain your joy.", "Such are the thrills of life."),
)
# questions; each asks about the clause or noun that follows
ASK_WHY = Marks(
    casual=("Why do you think", "How come", "Did you know that", "Ever wonder why"),
    formal=(
        "For what reason would you say",
        "Might one ask why",
        "Can it be shown that",
        "On what grounds does one say",
    ),
)
ASK_WHAT = Marks(
    casual=("Do you mean", "You mean", "So is it"),
    formal=("Would it be correct to say", "May one call it", "Is it to be understood as"),
)
ASK_EXAMPLE = Marks(
    casual=("Have you seen", "What about"),
    formal=("Could one cite", "Is a suitable example"),
)
ASK_MORE = Marks(
    casual=("What else do you want to know?", "Got it?"),
    formal=("Which aspect should be examined next?", "Are further details required?"),
)
PLACES = (
    OPENER, LINK, ADVERB, ASIDE, TAIL, COPULA, SUMMARY, EXAMPLE, CLOSING, ASK_WHY, ASK_WHAT, ASK_EXAMPLE, ASK_MORE,
)  # fmt: skip
