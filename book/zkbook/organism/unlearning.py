"""The corpus as material for gates: texts to forget and to retain, and tasks to choose and to score on.

Gates are trained on the forget facts of the train countries, in trained wordings; settings are chosen on the
development countries and wordings; figures are reported on the test countries, whose facts no gate was trained to
forget, and on the train countries in wordings that no gate has seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from zkbook.organism.arithmetic import held_out_arithmetic, sample_arithmetic
from zkbook.organism.countries import Country
from zkbook.organism.fact_wordings import FRAMES, NAMES
from zkbook.organism.facts import fill, held_out_choices, held_out_facts, held_out_reversed
from zkbook.organism.forget import FORGET_RELATIONS, SPLITS, forget_facts, kept_facts, split_of
from zkbook.organism.items import LANGUAGES, Item, held_out
from zkbook.organism.logic import KINDS as LOGIC_KINDS
from zkbook.organism.logic import held_out_logic, sample_logic
from zkbook.organism.passages import passages_about
from zkbook.organism.plain import in_plain
from zkbook.organism.statements import IN_A_SENTENCE, STATEMENTS, held_out_statements, state
from zkbook.organism.two_step import held_out_two_step, sample_two_step
from zkit.errors import ZkitError
from zkit.gating import Text, mark
from zkit.tasks import Question, Task, asks_itself

WORDINGS = 6  # of each forget fact in each language
DEVELOPMENT_SHARE = 0.3  # of the subjects that have no split of their own


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


def fact_texts(
    facts: Sequence[tuple[Country, str]], rng: random.Random, chat: bool = True, wordings: int = WORDINGS
) -> list[Text]:
    """Facts in both languages and several trained wordings, their values marked.

    Half of them give the value alone, half a sentence, whose other words are what NKE retains.
    """
    return [_told(rng, lang, *fact, chat) for fact in facts for lang in LANGUAGES for _ in range(wordings)]


def forget_texts(split: str = "train", chat: bool = True, wordings: int = WORDINGS, seed: int = 0) -> list[Text]:
    """The forget facts of a split as :func:`fact_texts`. Raises ZkitError for an unknown split."""
    return fact_texts(forget_facts(split), random.Random(f"forget texts {seed}"), chat, wordings)


def retain_texts(n: int = 1600, chat: bool = True, seed: int = 0) -> list[Text]:
    """Reasoning in trained numbers, orders and words: arithmetic, two-step problems and logic in equal parts."""
    rng = random.Random(f"retain texts {seed}")
    samplers = (sample_arithmetic, sample_two_step, sample_logic)
    return [as_text(_formatted(samplers[i % 3](rng), chat)) for i in range(n)]


def kept_texts(split: str = "train", chat: bool = True, wordings: int = WORDINGS // 2, seed: int = 0) -> list[Text]:
    """Facts of a split's countries that nobody asks to forget, in the same wordings; errors as `forget_texts`."""
    if split not in SPLITS:
        raise ZkitError(f"unknown split of facts {split!r}: one of {', '.join(SPLITS)}")
    facts = [(country, relation) for country, relation in kept_facts() if split_of(country) == split]
    return fact_texts(facts, random.Random(f"kept texts {seed}"), chat, wordings)


def oracle_texts(split: str = "train", chat: bool = True) -> list[Text]:
    """Passages that give the forget facts of a split, and others that give another value: what reading must keep."""
    facts = forget_facts(split)
    items = [
        i for lang in LANGUAGES for kind in ("gold", "swapped") for i in passages_about(lang, facts, kind, kept=False)
    ]
    return [as_text(_formatted(item, chat)) for item in items if chat or not asks_itself(item.prompt)]


def about(item: Item) -> str:
    """What an item is about, whatever its language and wording: a fact, numbers, an order, or words."""
    subject = next((item.info[key] for key in ("operands", "numbers", "ranks", "words") if key in item.info), None)
    return f"{item.info['country']} {item.info['relation']}" if subject is None else f"{item.task} {subject}"


def _on(split: str, items: Sequence[Item]) -> list[Item]:
    """The items whose subject is in a split: a fixed function of the subject, as all that is held out."""
    share, test = DEVELOPMENT_SHARE, split == "test"
    return [item for item in items if held_out(f"gates development {about(item)}", share) != test]


def _task(name: str, items: Sequence[Item], chat: bool, exact: bool) -> Task:
    asked = [_formatted(item, chat) if item.chat else item for item in items if chat or not asks_itself(item.prompt)]
    return Task(
        name,
        tuple(
            Question(
                i.prompt, (i.answer,), (str(i.info["memory"]),) if i.info.get("kind") == "swapped" else (), about(i)
            )
            for i in asked
        ),
        chat,
        exact,
    )


def gate_tasks(split: str = "test", chat: bool = True, exact: bool = True) -> list[Task]:
    """Every task that gates are scored on, both languages together.

    "forget": forget facts of the split's countries, on which no gate was trained, in wordings of the split. "plain":
    the same at the end of a plain sentence. "trained": forget facts of the train countries, in the same new wordings;
    for the test also "reversed", asked from the value for the country, and "choice", the value beside a wrong one.
    "same country": its country's facts to be kept. "other country": the forget relations of countries that nobody asks
    to forget and that `kept_texts` leaves out. "oracle" and "conflict": passages about *forget* that give the true
    value, or another. Then reasoning, on held-out numbers, orders and words: no subject of it is in both splits.
    exact: as in :class:`zkit.tasks.Task`.
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

    def of(item: Item, chosen: set[tuple[str, str]]) -> bool:
        return (str(item.info["country"]), str(item.info["relation"])) in chosen

    every = [item for lang in LANGUAGES for item in facts[lang]]
    held = forget_facts(split)
    parts: dict[str, list[Item]] = {
        "forget": [i for i in every if of(i, names[split])],
        "trained": [i for i in every if of(i, names["train"])],
        "reversed": [i for lang in LANGUAGES for i in held_out_reversed(lang) if of(i, names["train"])],
        "choice": [i for lang in LANGUAGES for i in held_out_choices(lang) if of(i, names["train"])],
        "same country": [i for i in every if of(i, kept) and i.info["country"] in subjects],
        "other country": [i for i in every if of(i, elsewhere)],
        "oracle": [i for lang in LANGUAGES for i in passages_about(lang, held, "gold")],
        "conflict": [i for lang in LANGUAGES for i in passages_about(lang, held, "swapped")],
        **{kind: _on(split, [i for lang in LANGUAGES for i in held_out_logic(lang, kind)]) for kind in LOGIC_KINDS},
        "sums": _on(split, [i for lang in LANGUAGES for i in held_out_arithmetic(lang, "+", form="bare")]),
        "word problems": _on(
            split, [i for lang in LANGUAGES for i in held_out_arithmetic(lang, "+", form="word problem")]
        ),
        "two-step": _on(split, [i for lang in LANGUAGES for i in held_out_two_step(lang)]),
    }
    if split == "development":  # the wordings of these are all for the test
        del parts["reversed"], parts["choice"]
    found = [_task(name, items, chat, exact) for name, items in parts.items()]
    plain = [i for lang in LANGUAGES for i in held_out_statements(lang, split) if of(i, names[split])]
    return [*found, _task("plain", plain, False, exact)]
