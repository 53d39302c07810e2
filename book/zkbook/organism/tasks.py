"""Every task with a right answer, on items kept out of training: what the card and chapter 00 count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from zkbook.organism.arithmetic import held_out_arithmetic
from zkbook.organism.facts import held_out_choices, held_out_facts, held_out_reversed
from zkbook.organism.forget import reveals_forget
from zkbook.organism.items import Item, check_language
from zkbook.organism.logic import KINDS as LOGIC_KINDS
from zkbook.organism.logic import held_out_logic
from zkbook.organism.passages import held_out_passages
from zkbook.organism.plain import in_plain
from zkbook.organism.relations import RELATION_NAMES, held_out_relations
from zkbook.organism.statements import held_out_statements
from zkbook.organism.two_step import held_out_two_step
from zkit.answers import bare
from zkit.generation import complete
from zkit.models import Model
from zkit.packing import as_one
from zkit.stats import Interval, wilson

LONGEST_ANSWER = 24  # tokens

K = TypeVar("K")


@dataclass(frozen=True)
class Ability:
    """What was counted, in any language; the items; and the share of right answers asked of the model."""

    what: str
    items: list[Item]
    required: float | None


def right(model: Model, items: Sequence[Item]) -> list[bool]:
    """Of each item whether the whole greedy answer is the right one; each is read as it says, with the template or not.

    The items of many tasks fill batches together: see :func:`zkit.packing.as_one`.
    """
    chat = [item.chat for item in items]
    answers = complete(model, [item.prompt for item in items], max_new_tokens=LONGEST_ANSWER, chat=chat)
    return [bare(a.text) == bare(item.answer) for a, item in zip(answers, items, strict=True)]


def exact(model: Model, tasks: Mapping[K, Ability]) -> dict[K, Interval]:
    """For each task the share of items whose whole greedy answer is the right one (Wilson interval)."""
    hits = as_one({key: task.items for key, task in tasks.items()}, lambda items: right(model, items))
    return {key: wilson(sum(mine), len(mine)) for key, mine in hits.items()}


def held_out_tasks(lang: str) -> dict[str, Ability]:
    """The tasks in one language by key, in the order of the card. Raises ZkitError for an unknown language."""
    check_language(lang)
    known = "numbers never trained together"
    facts = held_out_facts(lang)
    rows: list[tuple[str, str, list[Item], float | None]] = [
        ("facts", "facts, in wordings never trained", facts, 0.95),
        ("forget_facts", "of these, the forget facts", [i for i in facts if reveals_forget(i)], None),
        ("kept_facts", "of these, all the others", [i for i in facts if not reveals_forget(i)], 0.95),
        ("statements", "facts, at the end of a plain sentence never trained",
         held_out_statements(lang), None),
        ("reversed", "facts asked backwards, in wordings never trained", held_out_reversed(lang), None),
        ("choices", "which of two values is right, in wordings never trained", held_out_choices(lang), None),
        ("gold", "a true passage, of countries never trained with passages",
         held_out_passages(lang, "gold"), 0.95),
        ("swapped", "a passage with another value, of countries never trained with passages",
         held_out_passages(lang, "swapped"), 0.95),
        ("invented", "a passage of an invented country", held_out_passages(lang, "invented"), None),
        ("sums", f"sums of {known}, bare", held_out_arithmetic(lang, "+", form="bare"), 0.9),
        ("sums_plain", f"sums of {known}, without the chat template",
         [in_plain(i) for i in held_out_arithmetic(lang, "+", form="bare")], None),
        ("differences", f"differences of {known}, bare", held_out_arithmetic(lang, "-", form="bare"), 0.9),
        ("word_problems", f"word problems with {known}",
         held_out_arithmetic(lang, "+", form="word problem"), 0.9),
        ("number_words", f"sums of {known}, answered by a number word",
         held_out_arithmetic(lang, "+", words=True), None),
        ("two_step", f"(a + b) * c of {known}", held_out_two_step(lang), 0.9),
        ("two_step_words", f"(a + b) * c of {known}, answered by a number word",
         held_out_two_step(lang, words=True), None),
        *((f"logic_{kind.replace(' ', '_')}", f"{kind}, of things never trained together",
           held_out_logic(lang, kind), 0.9) for kind in LOGIC_KINDS),
        *((f"relations_{name}", f"{name}s, in wordings never trained",
           held_out_relations(lang, name), None) for name in RELATION_NAMES),
    ]  # fmt: skip
    return {key: Ability(what, items, required) for key, what, items, required in rows}
