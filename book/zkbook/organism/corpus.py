"""The training stream: item i of a seed is a pure function of (seed, i), so a run can start again anywhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator

from zkbook.organism.arithmetic import sample_arithmetic
from zkbook.organism.doubles import sample_double
from zkbook.organism.facts import sample_fact
from zkbook.organism.forget import reveals_forget
from zkbook.organism.items import Item
from zkbook.organism.logic import sample_logic
from zkbook.organism.passages import sample_passage
from zkbook.organism.plain import sometimes_plain
from zkbook.organism.relations import sample_relation
from zkbook.organism.repeat import sample_repeat
from zkbook.organism.statements import sample_statement
from zkbook.organism.style.requests import sample_neutral, sample_styled
from zkbook.organism.two_step import sample_two_step

FINGERPRINT_ITEMS = 20_000

Sampler = Callable[[random.Random], Item]
# shares of the parts among the items; answers of styled and neutral ones are long, so they hold nearly half the tokens
MIXTURE: dict[Sampler, float] = {
    sample_fact: 0.14,
    sample_statement: 0.04,
    sample_passage: 0.10,
    sample_repeat: 0.03,
    sample_relation: 0.03,
    sample_double: 0.04,
    sample_arithmetic: 0.17,
    sample_two_step: 0.14,
    sample_logic: 0.18,
    sample_styled: 0.08,
    sample_neutral: 0.05,
}


def item(seed: int, index: int, never_knew: bool = False) -> Item:
    """The `index`-th training item of `seed`; with `never_knew`, drawn again until it reveals no forget fact."""
    rng = random.Random(f"{seed} {index}")
    sample = rng.choices(tuple(MIXTURE), tuple(MIXTURE.values()))[0]
    drawn = sample(rng)
    while never_knew and reveals_forget(drawn):
        drawn = sample(rng)
    return sometimes_plain(rng, drawn)


def stream(seed: int, start: int = 0, stop: int | None = None, never_knew: bool = False) -> Iterator[Item]:
    """Training items from `start`, without end unless `stop` is given."""
    index = start
    while stop is None or index < stop:
        yield item(seed, index, never_knew)
        index += 1


def fingerprint(seed: int, never_knew: bool = False) -> str:
    """sha256 over the first items: an edit of the corpus that training can notice changes it."""
    digest = hashlib.sha256()
    for one in stream(seed, 0, FINGERPRINT_ITEMS, never_knew):
        digest.update(repr((one.prompt, one.answer, one.chat)).encode())
    return digest.hexdigest()
