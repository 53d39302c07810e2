"""The conjectures that the book keeps, ``conjectures.yml``: published ones, their refinements, and those of this book.

CLAIMS = conjectures("C-1", "C-2")
"""

from __future__ import annotations

from pathlib import Path

from zkbook.claims.claim import Claim
from zkbook.claims.ledger import Ledger

FILE = Path(__file__).with_suffix(".yml")


def shipped() -> Ledger:
    """The ledger that comes with zkit: before any run of this book."""
    return Ledger.load(FILE)


def conjectures(*ids: str) -> list[Claim]:
    """Claims of the shipped ledger, for a chapter to judge.

    Raises ZkitError for an unknown id, naming the closest, and for a conjecture without a rule, with the reason.
    """
    return shipped().claims(*ids)
