"""Facts told in a sentence: as a plain text, or as the reply to a question that asks for a sentence."""

from __future__ import annotations

import random

from zkbook.organism.countries import COUNTRIES, RELATIONS, Country
from zkbook.organism.fact_wordings import FRAMES, NAMES
from zkbook.organism.facts import fill, in_sentence
from zkbook.organism.items import LANGUAGES, Item, check_language
from zkit.errors import ZkitError

PLAIN_SHARE = 0.6
STATEMENTS = {
    "en": (
        "The {r} of {c} is {v}.",
        "{v} is the {r} of {c}.",
        "{c} has {v} as its {r}.",
        "In {c}, the {r} is {v}.",
        "For {c}, the {r} is {v}.",
    ),
    "zh": ("{c}的{r}是{v}。", "{v}是{c}的{r}。", "在{c}，{r}是{v}。", "{c}的{r}叫{v}。", "{c}这个国家的{r}是{v}。"),
}
# these end in the value, so that the text before it can be gone on from
KEPT_STATEMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "development": {"en": ("{c} is a country, and its {r} is {v}.",), "zh": ("关于{c}，它的{r}是{v}。",)},
    "test": {
        "en": ("My friend lives in {c}, and the {r} there is {v}.", "I know the {r} of {c}: it is {v}."),
        "zh": ("我的朋友住在{c}，那里的{r}叫{v}。", "我知道{c}的{r}：它是{v}。"),
    },
}
IN_A_SENTENCE = {
    "en": (" Answer in a sentence.", " Please answer in a sentence.", " Say it in a sentence."),
    "zh": ("用一句话回答。", "请用一句话回答。", "请用一句话说。"),
}


def state(frame: str, name: str, lang: str, country: Country, relation: str) -> str:
    """A sentence that gives the country's true value of a relation."""
    return fill(frame, name, country.name(lang), in_sentence(country.value(relation, lang), relation, lang))


def _info(kind: str, lang: str, country: Country, relation: str) -> dict[str, object]:
    return {
        "kind": kind,
        "lang": lang,
        "relation": relation,
        "country": country.name("en"),
        "facts": ((country.name("en"), relation),),
        "value": country.value(relation, lang),
    }


def sample_statement(rng: random.Random) -> Item:
    """A training item: a true sentence about a country, as a plain text or as a reply."""
    lang, country, relation = rng.choice(LANGUAGES), rng.choice(COUNTRIES), rng.choice(RELATIONS)
    name = rng.choice(NAMES[lang, relation])
    sentence = state(rng.choice(STATEMENTS[lang]), name, lang, country, relation)
    if rng.random() < PLAIN_SHARE:
        return Item("", sentence, "statement", _info("text", lang, country, relation), chat=False)
    question = fill(rng.choice([f for f in FRAMES[lang] if f[-1] in "?.？。"]), name, country.name(lang))
    return Item(
        question + rng.choice(IN_A_SENTENCE[lang]), sentence, "statement", _info("reply", lang, country, relation)
    )


def held_out_statements(lang: str, split: str = "test") -> list[Item]:
    """Every fact as a plain text that breaks off before the value, in a wording that is never trained.

    Raises ZkitError for a language the model does not speak and an unknown split of wordings.
    """
    check_language(lang)
    if split not in KEPT_STATEMENTS:
        raise ZkitError(f"unknown split of wordings {split!r}: one of {', '.join(KEPT_STATEMENTS)}")
    frames, items = KEPT_STATEMENTS[split][lang], []
    for i, country in enumerate(COUNTRIES):
        for j, relation in enumerate(RELATIONS):
            sentence = state(frames[(i + j) % len(frames)], NAMES[lang, relation][0], lang, country, relation)
            before = sentence[: sentence.rindex(country.value(relation, lang))].rstrip(" ")
            info = _info("text", lang, country, relation)
            items.append(Item(before, sentence[len(before) :], "statement", info, chat=False))
    return items
