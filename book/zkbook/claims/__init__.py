"""Claims: what is said, the rule and when it was put down, and what the results say about it.

A rule is data, not code (:mod:`zkbook.claims.rules`). It can therefore be printed beside its verdict, stored with it
and judged again. :mod:`zkbook.claims.ledger` keeps claims with their history; :mod:`zkbook.claims.conjectures` holds
those of the book.
"""

from zkbook.claims.boards import board, expect, show
from zkbook.claims.claim import Added, Claim, Published, Status, Verdict, judge
from zkbook.claims.rules import ROUNDING, AllOf, AnyOf, Bound, Finding, Operator, Rule, rule_from_dict

__all__ = [
    "ROUNDING",
    "Added",
    "AllOf",
    "AnyOf",
    "Bound",
    "Claim",
    "Finding",
    "Operator",
    "Published",
    "Rule",
    "Status",
    "Verdict",
    "board",
    "expect",
    "judge",
    "rule_from_dict",
    "show",
]
