"""The embedded model: a generated corpus, a training command, weights that ship with the library, and their card.

It is a positive control, not a finding. Items kept out of its training are given by the `held_out_...` functions and
`parallel_problems("test")`; each is an `Item` with `.prompt` and `.answer`. Topics are split into "train",
"development" (choose on these) and "test" (report on these); so are facts, by wording and, for unlearning, by country.
"""

from zkbook.organism.arithmetic import held_out_arithmetic
from zkbook.organism.facts import held_out_facts
from zkbook.organism.forget import forget_facts, kept_facts
from zkbook.organism.items import Item
from zkbook.organism.logic import held_out_logic
from zkbook.organism.passages import held_out_passages
from zkbook.organism.problems import Problem, parallel_problems
from zkbook.organism.relations import held_out_relations
from zkbook.organism.shipped_gates import REPAIRS, SCHEDULES
from zkbook.organism.style.requests import neutral_prompts, prompted
from zkbook.organism.style.wishes import HELD_OUT_WISHES
from zkbook.organism.tasks import Ability, held_out_tasks
from zkbook.organism.topic_table import PROBES, Subject, topics
from zkbook.organism.two_step import held_out_two_step
from zkbook.organism.unlearning import fact_texts, forget_texts, gate_tasks, kept_texts, oracle_texts, retain_texts

__all__ = [
    "HELD_OUT_WISHES",
    "PROBES",
    "REPAIRS",
    "SCHEDULES",
    "Ability",
    "Item",
    "Problem",
    "Subject",
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
    "topics",
]
