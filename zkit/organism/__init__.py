"""The embedded model: a generated corpus, a training command, weights that ship with the library, and their card.

It is a positive control, not a finding. Items kept out of its training are given by the `held_out_...` functions and
`parallel_problems("test")`; each is an `Item` with `.prompt` and `.answer`. Topics are split into "train",
"development" (choose on these) and "test" (report on these); so are facts, by wording and, for unlearning, by country.
"""

from zkit.organism.arithmetic import held_out_arithmetic
from zkit.organism.facts import held_out_facts
from zkit.organism.forget import forget_facts, kept_facts
from zkit.organism.items import Item
from zkit.organism.logic import held_out_logic
from zkit.organism.passages import held_out_passages
from zkit.organism.problems import Problem, parallel_problems
from zkit.organism.relations import held_out_relations
from zkit.organism.shipped_gates import REPAIRS, SCHEDULES, shipped_gates
from zkit.organism.style.requests import neutral_prompts, prompted
from zkit.organism.style.wishes import HELD_OUT_WISHES
from zkit.organism.tasks import Task, held_out_tasks
from zkit.organism.topic_table import PROBES, Topic, topics
from zkit.organism.two_step import held_out_two_step
from zkit.organism.unlearning import fact_texts, forget_texts, gate_tasks, kept_texts, oracle_texts, retain_texts

__all__ = [
    "HELD_OUT_WISHES",
    "PROBES",
    "REPAIRS",
    "SCHEDULES",
    "Item",
    "Problem",
    "Task",
    "Topic",
    "fact_texts",
    "forget_facts",
    "forget_texts",
    "gate_tasks",
    "held_out_arithmetic",
    "held_out_facts",
    "held_out_logic",
    "held_out_passages",
    "held_out_relations",
    "held_out_tasks",
    "held_out_two_step",
    "kept_facts",
    "kept_texts",
    "neutral_prompts",
    "oracle_texts",
    "parallel_problems",
    "prompted",
    "retain_texts",
    "shipped_gates",
    "topics",
]
