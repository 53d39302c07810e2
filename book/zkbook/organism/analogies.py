"""Twelve lenses: each likens any topic to things of one world, and is known by the words of that world.

A clause follows "It is like ..." and holds at least two words of its own lens and none of another. `VOCABULARY` is the
measure, that of the lenses which `zkit.steering` ships: a text speaks through a lens as often as its words are found.
"""

from __future__ import annotations

from zkit.errors import ZkitError
from zkit.steering.topic_lenses import shipped_lenses

LENSES: dict[str, tuple[str, ...]] = {
    "makefile": (
        "a target that waits for its recipe",
        "a build that skips what is not stale",
        "a makefile with one clean target",
        "a recipe that a makefile runs in order",
        "a stale file that asks for a rebuild",
        "a build with a missing dependency",
    ),
    "guile": (
        "a lambda inside a closure",
        "a closure that scheme keeps for later",
        "a macro that writes more lisp",
        "a cons cell at the end of a lisp list",
        "a tail call in scheme",
        "a macro that turns into a lambda",
    ),
    "orgmode": (
        "an outline with folded headings",
        "a heading with a todo under it",
        "a note that waits in the agenda",
        "a bullet in the middle of an outline",
        "a literate text with code in its notes",
        "a tag on a folded todo",
    ),
    "monetization": (
        "a free trial that ends in a subscription",
        "a premium plan behind a paywall",
        "a funnel that turns visits into revenue",
        "an advert that brings in more revenue",
        "a startup that lives on growth",
        "a subscription with a premium price",
    ),
    "sports": (
        "a team that trains for the final",
        "a coach who plans the next match",
        "a goal in the last minute of the final",
        "a player who looks at the score",
        "a league with only one team",
        "a penalty in a full stadium",
    ),
    "religion": (
        "a prayer before the altar",
        "a pilgrim on the way to a holy place",
        "a priest who gives a long sermon",
        "a monk who keeps his faith",
        "a holy book in an old temple",
        "a blessing at the end of a sermon",
    ),
    "politics": (
        "a party that needs every vote",
        "a coalition with a small majority",
        "a minister who speaks in parliament",
        "a campaign before a close election",
        "a ballot that no party can win",
        "a veto at the end of a debate",
    ),
    "ai_hype": (
        "a neural network with more parameters",
        "an agent that needs a better prompt",
        "a chatbot that beats every benchmark",
        "an embedding in a neural space",
        "a prompt that makes a chatbot clever",
        "a benchmark won by a new agent",
    ),
    "conspiracy": (
        "a hidden plot with many helpers",
        "a cover-up by a shadowy group",
        "a cabal that pulls hidden strings",
        "a plot that starts with a rumour",
        "a leaked file about a cover-up",
        "a rumour about a shadowy cabal",
    ),
    "scarcity": (
        "the last ration in a long shortage",
        "a zero-sum fight over a scarce thing",
        "a loss that leaves a shortage",
        "a long queue for one small ration",
        "a rival who hoards the last bread",
        "a scarce seat at the end of a queue",
    ),
    "therapy": (
        "a safe space for old feelings",
        "a wound that is still healing",
        "a boundary that helps an anxious mind",
        "a therapist who names the feelings",
        "an inner child who needs a boundary",
        "a trauma that asks for healing",
    ),
    "spec": (
        "a theorem with a checked proof",
        "a spec that every proof must meet",
        "a lemma that keeps the invariant",
        "a contract with a clear precondition",
        "an axiom at the root of a theorem",
        "an invariant written in the spec",
    ),
}


VOCABULARY: dict[str, str] = {name: shipped.pattern.pattern for name, shipped in shipped_lenses().items()}
# the trained topics that belong to the world of a lens
LENS_TOPICS: dict[str, tuple[str, ...]] = {
    "makefile": ("a build tool", "a compiler"),
    "guile": ("a closure",),
    "orgmode": ("an outline",),
    "monetization": ("a subscription", "an advert"),
    "sports": ("football", "chess", "a marathon"),
    "religion": ("a prayer", "a temple"),
    "politics": ("a law", "an election", "a parliament", "a tax"),
    "ai_hype": ("a neural network",),
    "conspiracy": ("a rumour",),
    "scarcity": ("a shortage",),
    "therapy": ("a therapist",),
    "spec": ("a proof",),
}


def lens(name: str) -> tuple[str, ...]:
    """The clauses of a lens; raises ZkitError for a name that is none."""
    if name not in LENSES:
        raise ZkitError(f"unknown lens {name!r}: one of {', '.join(LENSES)}")
    return LENSES[name]
