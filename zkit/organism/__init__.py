"""The embedded model: a generated corpus, a training command, weights that ship with the library, and their card.

It is a positive control, not a finding. The items kept out of its training are `held_out_facts(lang)`,
`held_out_arithmetic(lang)`, `neutral_prompts(split)` and `prompted(split, wishes)`; each returns a list of
`Item` with `.prompt` and `.answer`. Topics are split into "train", "development" (choose on these) and "test"
(report on these).
"""

from zkit.organism.arithmetic import held_out_arithmetic
from zkit.organism.facts import held_out_facts
from zkit.organism.items import Item
from zkit.organism.topic_table import Topic, topics
from zkit.organism.wishes import HELD_OUT_WISHES, neutral_prompts, prompted

__all__ = [
    "HELD_OUT_WISHES",
    "Item",
    "Topic",
    "held_out_arithmetic",
    "held_out_facts",
    "neutral_prompts",
    "prompted",
    "topics",
]
