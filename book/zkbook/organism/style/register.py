"""Plain words and their formal counterparts: where a sentence of the table holds one, formality chooses."""

from __future__ import annotations

import hashlib
import re

from zkbook.organism.style.grammar import Fixed, Fork, Node, Seq

# plain | formal
_TABLE = """
takes place|occurs
gives off|emits
lets out|releases
comes from|originates from
is made of|consists of
looks like|resembles
turns into|becomes
looks for|seeks
goes up|ascends
goes down|descends
because of|owing to
around the world|across the globe
every year|annually
every day|daily
needs|requires
uses|employs
helps|assists
shows|reveals
gives|provides
starts|commences
ends|concludes
holds|retains
sends|transmits
tells|informs
lives|resides
works|operates
has|possesses
tries|attempts
fixes|repairs
changes|alters
can|is able to
must|is required to
and|as well as
that|which
things|objects
people|individuals
kids|children
big|large
many|numerous
enough|sufficient
often|frequently
buy|purchase
very|extremely
again|once more
"""
REGISTER = dict(row.split("|") for row in _TABLE.strip().splitlines())
_WORDS = re.compile(r" (" + "|".join(sorted(map(re.escape, REGISTER), key=len, reverse=True)) + r")(?= |$)")


def _threshold(word: str) -> float:
    """A fixed place for each word, spread over .35 to .65, so that a rising level changes one word after another."""
    return 0.35 + 0.3 * int.from_bytes(hashlib.sha256(word.encode()).digest()[:2], "big") / 65535


def in_register(text: str) -> Node:
    """`text` after a space, as a tree that chooses between each plain word of the table and its counterpart."""
    text = f" {text}"
    parts: list[Node] = []
    end = 0
    for match in _WORDS.finditer(text):
        if match.start() > end:
            parts.append(Fixed(text[end : match.start()]))
        word = match[1]
        parts.append(Fork("formal", _threshold(word), Fixed(f" {word}"), Fixed(f" {REGISTER[word]}")))
        end = match.end()
    if end < len(text):
        parts.append(Fixed(text[end:]))
    return Seq(tuple(parts))
