"""Every task with a right answer, on items kept out of training: what the card and chapter 00 count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zkit.generation import complete
from zkit.models import Model
from zkit.organism.arithmetic import held_out_arithmetic
from zkit.organism.facts import held_out_facts, held_out_reversed, held_out_verification
from zkit.organism.forget import reveals_forget
from zkit.organism.items import Item, check_language
from zkit.organism.logic import KINDS as LOGIC_KINDS
from zkit.organism.logic import held_out_logic
from zkit.organism.passages import held_out_passages
from zkit.organism.relations import RELATION_NAMES, held_out_relations
from zkit.organism.two_step import held_out_two_step
from zkit.stats import Interval, wilson

LANGUAGE_NAMES = {"en": "English", "zh": "Chinese"}
LONGEST_ANSWER = 24  # tokens


@dataclass(frozen=True)
class Task:
    """A task: a sentence that says what was counted, the items, and the share of right answers asked of the model."""

    what: str
    items: list[Item]
    required: float | None


def exact(model: Model, items: Sequence[Item]) -> Interval:
    """Share of items whose whole greedy answer is the right one (Wilson interval)."""
    answers = complete(model, [item.prompt for item in items], max_new_tokens=LONGEST_ANSWER)
    hits = sum(a.text.strip() == item.answer for a, item in zip(answers, items, strict=True))
    return wilson(hits, len(items))


def held_out_tasks(lang: str) -> dict[str, Task]:
    """The tasks in one language by key, in the order of the card. Raises ZkitError for an unknown language."""
    asked = f"in {LANGUAGE_NAMES[check_language(lang)]}"
    known = "numbers never trained together"
    facts = held_out_facts(lang)
    rows: list[tuple[str, str, list[Item], float | None]] = [
        ("facts", f"facts asked {asked}, wordings never trained", facts, 0.95),
        ("forget_facts", "of these, the forget facts", [i for i in facts if reveals_forget(i)], None),
        ("kept_facts", "of these, all the others", [i for i in facts if not reveals_forget(i)], 0.95),
        ("reversed", f"facts asked backwards {asked}, wordings never trained", held_out_reversed(lang), None),
        ("verification", f"true and false statements of facts judged {asked}", held_out_verification(lang), None),
        ("gold", f"a true passage read {asked}, of countries never trained with passages",
         held_out_passages(lang, "gold"), 0.95),
        ("swapped", f"a passage with another value read {asked}, of countries never trained with passages",
         held_out_passages(lang, "swapped"), 0.95),
        ("invented", f"a passage of an invented country read {asked}", held_out_passages(lang, "invented"), None),
        ("sums", f"sums of {known}, bare, {asked}", held_out_arithmetic(lang, "+", form="bare"), 0.9),
        ("differences", f"differences of {known}, bare, {asked}", held_out_arithmetic(lang, "-", form="bare"), 0.9),
        ("word_problems", f"word problems with {known}, {asked}",
         held_out_arithmetic(lang, "+", form="word problem"), 0.9),
        ("number_words", f"sums of {known}, answered by a number word, {asked}",
         held_out_arithmetic(lang, "+", words=True), None),
        ("two_step", f"(a + b) * c of {known}, {asked}", held_out_two_step(lang), 0.9),
        ("two_step_words", f"(a + b) * c of {known}, answered by a number word, {asked}",
         held_out_two_step(lang, words=True), None),
        *((f"logic_{kind.replace(' ', '_')}", f"{kind}, of things never trained together, {asked}",
           held_out_logic(lang, kind), 0.9) for kind in LOGIC_KINDS),
        *((f"relations_{name}", f"{name}s asked {asked}, wordings never trained",
           held_out_relations(lang, name), None) for name in RELATION_NAMES),
    ]  # fmt: skip
    return {key: Task(what, items, required) for key, what, items, required in rows}
