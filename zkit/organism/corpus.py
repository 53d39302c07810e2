"""The training stream: item i of a seed is a pure function of (seed, i), so a run can start again anywhere."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from itertools import chain

from zkit.organism.arithmetic import sample_arithmetic
from zkit.organism.facts import sample_fact
from zkit.organism.items import Item
from zkit.organism.wishes import sample_neutral, sample_styled

FINGERPRINT_ITEMS = 20_000
# items from here on draw on more wordings: a second, short stage of training
WIDE_FROM = 576_000

# upper bounds of the shares of each part among the items; lengths differ, so the shares of tokens do too
MIXTURE = ((0.28, sample_fact), (0.82, sample_arithmetic), (0.93, sample_styled), (1.0, sample_neutral))
WIDE_MIXTURE = ((0.25, sample_fact), (0.62, sample_arithmetic), (0.85, sample_styled), (1.0, sample_neutral))


def item(seed: int, index: int) -> Item:
    """The `index`-th training item of `seed`."""
    rng = random.Random(f"{seed} {index}")
    wide = index >= WIDE_FROM
    draw = rng.random()
    sample = next(sample for bound, sample in (WIDE_MIXTURE if wide else MIXTURE) if draw < bound)
    return sample(rng, wide)


def stream(seed: int, start: int = 0, stop: int | None = None) -> Iterator[Item]:
    """Training items from `start`, without end unless `stop` is given."""
    index = start
    while stop is None or index < stop:
        yield item(seed, index)
        index += 1


def fingerprint(seed: int) -> str:
    """sha256 over the first items of both stages: an edit of the corpus that training can notice changes it."""
    digest = hashlib.sha256()
    second = stream(seed, WIDE_FROM, WIDE_FROM + FINGERPRINT_ITEMS // 4)
    for one in chain(stream(seed, stop=FINGERPRINT_ITEMS), second):
        digest.update(repr((one.messages, one.answer)).encode())
    return digest.hexdigest()
