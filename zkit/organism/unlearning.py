"""The corpus as material for gates: texts to forget and to retain, and tasks to choose and to score on.

Gates are trained on the forget facts of the train countries, in trained wordings; settings are chosen on the
development countries and wordings; figures are reported on the test countries, whose facts no gate was trained to
forget, and on the train countries in wordings that no gate has seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from zkit.errors import ZkitError
from zkit.gating import Question, Task, Text, mark
from zkit.organism.arithmetic import held_out_arithmetic, sample_arithmetic
from zkit.organism.countries import Country
from zkit.organism.fact_wordings import FRAMES, NAMES
from zkit.organism.facts import fill, held_out_choices, held_out_facts
from zkit.organism.forget import FORGET_RELATIONS, SPLITS, forget_facts, kept_facts, split_of
from zkit.organism.items import LANGUAGES, Item
from zkit.organism.logic import KINDS as LOGIC_KINDS
from zkit.organism.logic import held_out_logic, sample_logic
from zkit.organism.passages import passages_about
from zkit.organism.plain import asks_itself, in_plain
from zkit.organism.statements import IN_A_SENTENCE, STATEMENTS, held_out_statements, state
from zkit.organism.two_step import held_out_two_step, sample_two_step

WORDINGS = 6  # of each forget fact in each language


def as_text(item: Item, *entities: str) -> Text:
    """An item as a text after its prompt, with entities marked."""
    return mark(item.prompt, item.answer, *entities)


def _formatted(item: Item, chat: bool) -> Item:
    return item if chat else in_plain(item)


def _told(rng: random.Random, lang: str, country: Country, relation: str, chat: bool) -> Text:
    """A fact in one of the trained wordings: half of the time its value alone, else a sentence."""
    name, value = rng.choice(NAMES[lang, relation]), country.value(relation, lang)
    sentence = state(rng.choice(STATEMENTS[lang]), name, lang, country, relation)
    asks = [frame for frame in FRAMES[lang] if frame[-1] in "?.？。"]
    question = fill(rng.choice(asks), name, country.name(lang))
    if rng.random() < 0.5:
        return as_text(_formatted(Item(question, value, "fact"), chat), value)
    written = next(v for v in (value, fill(value, "")) if v in sentence)  # a sentence may begin with it
    return mark(question + rng.choice(IN_A_SENTENCE[lang]), sentence, written) if chat else mark("", sentence, written)


def forget_texts(split: str = "train", chat: bool = True, wordings: int = WORDINGS, seed: int = 0) -> list[Text]:
    """Every forget fact of a split in both languages and several wordings, its value marked.

    Half of them give the value alone, half a sentence, whose other words are what NKE retains. Raises ZkitError for an
    unknown split.
    """
    rng = random.Random(f"forget texts {seed}")
    facts = forget_facts(split)
    return [_told(rng, lang, *fact, chat) for fact in facts for lang in LANGUAGES for _ in range(wordings)]


def retain_texts(n: int = 1600, chat: bool = True, seed: int = 0) -> list[Text]:
    """Reasoning in trained numbers, orders and words: arithmetic, two-step problems and logic in equal parts."""
    rng = random.Random(f"retain texts {seed}")
    samplers = (sample_arithmetic, sample_two_step, sample_logic)
    return [as_text(_formatted(samplers[i % 3](rng), chat)) for i in range(n)]


def kept_texts(split: str = "train", chat: bool = True, wordings: int = WORDINGS // 2, seed: int = 0) -> list[Text]:
    """Facts of a split's countries that nobody asks to forget, in the same wordings; errors as `forget_texts`."""
    if split not in SPLITS:
        raise ZkitError(f"unknown split of facts {split!r}: one of {', '.join(SPLITS)}")
    rng = random.Random(f"kept texts {seed}")
    facts = [(country, relation) for country, relation in kept_facts() if split_of(country) == split]
    return [_told(rng, lang, *fact, chat) for fact in facts for lang in LANGUAGES for _ in range(wordings)]


def oracle_texts(split: str = "train", chat: bool = True) -> list[Text]:
    """Passages that give the forget facts of a split, and others that give another value: what reading must keep."""
    facts = forget_facts(split)
    items = [
        i for lang in LANGUAGES for kind in ("gold", "swapped") for i in passages_about(lang, facts, kind, kept=False)
    ]
    return [as_text(_formatted(item, chat)) for item in items if chat or not asks_itself(item)]


def _task(name: str, items: Sequence[Item], chat: bool, exact: bool) -> Task:
    asked = [_formatted(item, chat) if item.chat else item for item in items if chat or not asks_itself(item)]
    return Task(
        name,
        tuple(
            Question(i.prompt, (i.answer,), (str(i.info["memory"]),) if i.info.get("kind") == "swapped" else ())
            for i in asked
        ),
        chat,
        exact,
    )


def gate_tasks(split: str = "test", chat: bool = True, exact: bool = True) -> list[Task]:
    """Every task that gates are scored on, both languages together.

    "forget": forget facts of the split's countries, which no gate was trained on, in wordings of the split. "trained":
    those of the train countries, in the same new wordings. "plain": the first, at the end of a plain sentence.
    "same country": its country's facts to be kept. "other country": the forget relations of countries that nobody asks
    to forget and that `kept_texts` leaves out. "oracle" and "conflict": passages about the first that give the true
    value, or another. "choice": the first beside a wrong value. Then reasoning, on held-out numbers.
    exact: as in :class:`zkit.gating.Task`.
    Raises ZkitError for any split but "development" and "test".
    """
    if split not in ("development", "test"):
        raise ZkitError(f"unknown split of tasks {split!r}: one of development, test")
    wordings = 3
    facts = {lang: held_out_facts(lang, split=split, wordings=wordings) for lang in LANGUAGES}
    names = {part: {(c.name("en"), r) for c, r in forget_facts(part)} for part in ("train", split)}
    kept = {(c.name("en"), r) for c, r in kept_facts()}
    elsewhere = {(c.name("en"), r) for c, r in kept_facts() if r in FORGET_RELATIONS and split_of(c) == split}
    subjects = {c.name("en") for c, _ in forget_facts(split)}

    def about(item: Item, chosen: set[tuple[str, str]]) -> bool:
        return (str(item.info["country"]), str(item.info["relation"])) in chosen

    every = [item for lang in LANGUAGES for item in facts[lang]]
    held = forget_facts(split)
    parts: dict[str, list[Item]] = {
        "forget": [i for i in every if about(i, names[split])],
        "trained": [i for i in every if about(i, names["train"])],
        "same country": [i for i in every if about(i, kept) and i.info["country"] in subjects],
        "other country": [i for i in every if about(i, elsewhere)],
        "oracle": [i for lang in LANGUAGES for i in passages_about(lang, held, "gold")],
        "conflict": [i for lang in LANGUAGES for i in passages_about(lang, held, "swapped")],
        "choice": [i for lang in LANGUAGES for i in held_out_choices(lang) if about(i, names[split])],
        **{kind: [i for lang in LANGUAGES for i in held_out_logic(lang, kind)[::2]] for kind in LOGIC_KINDS},
        "sums": [i for lang in LANGUAGES for i in held_out_arithmetic(lang, "+", form="bare")],
        "word problems": [i for lang in LANGUAGES for i in held_out_arithmetic(lang, "+", form="word problem")],
        "two-step": [i for lang in LANGUAGES for i in held_out_two_step(lang)[::3]],
    }
    found = [_task(name, items, chat, exact) for name, items in parts.items()]
    plain = [i for lang in LANGUAGES for i in held_out_statements(lang, split) if about(i, names[split])]
    return [*found, _task("plain", plain, False, exact)]
