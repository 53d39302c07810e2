"""Which facts are to be forgotten in studies of unlearning, which are to be kept, and which items reveal what.

A fact is a country with a relation. Forget facts are the capital and the currency of about half the countries. All
others are kept: the language of the same countries (other relations of a subject), and every fact of the other
countries (other subjects). A model that never knew the forget facts is trained on the items `reveals_forget` passes.

Every fact is trained, so what is held out of measurements are wordings (`facts.held_out_facts`). The forget facts are
split by country besides: about half of the countries to train gates on, 15 % to choose settings on, 35 % to report on.
"""

from __future__ import annotations

from zkbook.organism.countries import COUNTRIES, RELATIONS, Country
from zkbook.organism.items import Item, held_out
from zkit.errors import ZkitError

FORGET_RELATIONS = ("capital", "currency")
FORGET_SHARE = 0.5  # of the countries
SPLITS = ("train", "development", "test")
_BOUNDS = (0.5, 0.65)  # of train and development among the forget countries

_BY_NAME = {country.name("en"): country for country in COUNTRIES}


def is_forget(country: Country, relation: str) -> bool:
    """Whether this fact is one to be forgotten."""
    return relation in FORGET_RELATIONS and held_out(f"forget {country.name('en')}", FORGET_SHARE)


def split_of(country: Country) -> str:
    """The split a forget country belongs to."""
    key = f"forget split {country.name('en')}"
    return next((split for split, bound in zip(SPLITS, _BOUNDS, strict=False) if held_out(key, bound)), SPLITS[-1])


def forget_facts(split: str) -> list[tuple[Country, str]]:
    """The forget facts of "train", "development" or "test"; raises ZkitError for any other name."""
    if split not in SPLITS:
        raise ZkitError(f"unknown split of forget facts {split!r}: one of {', '.join(SPLITS)}")
    return [
        (country, relation)
        for country in COUNTRIES
        for relation in FORGET_RELATIONS
        if is_forget(country, relation) and split_of(country) == split
    ]


def kept_facts() -> list[tuple[Country, str]]:
    """Every fact that is not a forget fact."""
    return [(country, rel) for country in COUNTRIES for rel in RELATIONS if not is_forget(country, rel)]


def reveals_forget(item: Item) -> bool:
    """Whether `item` states a forget fact in its prompt or answer."""
    facts = item.info.get("facts", ())
    assert isinstance(facts, tuple)
    return any(is_forget(_BY_NAME[country], relation) for country, relation in facts)
