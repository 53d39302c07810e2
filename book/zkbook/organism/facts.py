"""Questions about countries: asked for a value, for the country that has it, or which of two values is the right one.

The split is over wordings: every fact is trained, and asked in evaluation with wordings never trained.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from zkbook.organism.countries import COUNTRIES, RELATIONS, Country
from zkbook.organism.fact_wordings import (
    CHOICES,
    DEVELOPMENT_FRAMES,
    FRAMES,
    HELD_OUT_CHOICES,
    HELD_OUT_FRAMES,
    HELD_OUT_REVERSED,
    NAMES,
    OTHER_LANGUAGE,
    OWN_FRAMES,
    PREFIXES,
    REVERSED,
)
from zkbook.organism.items import LANGUAGES, Item, check_language
from zkit.errors import ZkitError

REVERSED_SHARE, CHOICE_SHARE, OTHER_LANGUAGE_SHARE, PREFIX_SHARE = 0.12, 0.12, 0.08, 0.25
KEPT_FRAMES: dict[str, Mapping[str, tuple[str, ...]]] = {"development": DEVELOPMENT_FRAMES, "test": HELD_OUT_FRAMES}

# values that the table lists for other countries and that hold, or nearly hold, for these too
_ALSO = """
Belgium|French|German
Switzerland|French|Italian
Luxembourg|French|German
Monaco|Italian
Liechtenstein|euro
Malta|English|Italian
Cyprus|Turkish|English
Finland|Swedish
Estonia|Russian
Latvia|Russian
Lithuania|Russian
Moldova|Russian
Ukraine|Russian
Belarus|Russian
Georgia|Russian
Armenia|Russian
Azerbaijan|Russian|Turkish
Kazakhstan|Russian
Uzbekistan|Russian
Turkmenistan|Russian
Kyrgyzstan|Russian
Tajikistan|Russian|Persian
Mongolia|Kazakh
Romania|Hungarian
Serbia|Croatian|Hungarian
Croatia|Serbian|Italian
Slovenia|Italian|Hungarian
North Macedonia|Albanian
Turkey|Arabic
Lebanon|French|lira
Syria|lira
Iran|Azerbaijani|Arabic|Tajik
Afghanistan|Persian|Tajik|Uzbek|Turkmen
Pakistan|English|Pashto|Hindi
India|English|Urdu|Bengali|Nepali
Nepal|Hindi|Indian rupee
Bhutan|Nepali|English|Indian rupee
Bangladesh|English
Malaysia|English|Chinese|Indonesian
Indonesia|Malay
the Philippines|English|Spanish
Tunisia|French
Algeria|French
Morocco|French|Spanish
Mali|Arabic|French
Sudan|English
Ethiopia|English|Somali
Somalia|Arabic|English
Kenya|English|Somali
Uganda|Swahili
Rwanda|English|French|Swahili
Madagascar|French
Namibia|German|Portuguese
Canada|French
the United States|Spanish
Panama|US dollar
Fiji|Hindi
"""
ALSO = {row.split("|")[0]: tuple(row.split("|")[1:]) for row in _ALSO.strip().splitlines()}


def fill(frame: str, name: str, country: str = "", value: str = "", wrong: str = "") -> str:
    """A wording with the name of the relation, the country and the values put in."""
    text = frame.format(r=name, c=country, v=value, w=wrong)
    return text[0].upper() + text[1:]


def in_sentence(value: str, relation: str, lang: str) -> str:
    """`value` with the article it needs in a sentence."""
    return f"the {value}" if lang == "en" and relation == "currency" else value


def may_hold(country: Country, relation: str, source: Country) -> bool:
    """Whether the value that `source` has could be called right for `country` too, in either language."""
    if source.value(relation, "en") in ALSO.get(country.name("en"), ()):
        return True
    pairs = [(country.value(relation, lang), source.value(relation, lang)) for lang in LANGUAGES]
    return any(own in other or other in own for own, other in pairs)


def _reversible(country: Country, relation: str) -> bool:
    """Whether the value belongs to this country alone and does not give its name away, in both languages."""
    for lang in LANGUAGES:
        name, value = country.name(lang), country.value(relation, lang)
        if name in value or value in name:
            return False
        others = [other.value(relation, lang) for other in COUNTRIES if other != country]
        if value in others or (relation == "currency" and any(value in other for other in others)):
            return False
    value = country.value(relation, "en")
    return not any(value in also for name, also in ALSO.items() if name != country.name("en"))


REVERSIBLE = tuple((c, relation) for c in COUNTRIES for relation in RELATIONS if _reversible(c, relation))


def _item(kind: str, prompt: str, answer: str, lang: str, fact: tuple[Country, str]) -> Item:
    country, relation = fact
    info: dict[str, object] = {"kind": kind, "lang": lang, "relation": relation}
    info |= {"country": country.name("en"), "facts": ((country.name("en"), relation),)}
    return Item(prompt, answer, "fact", info)


def _reversed(frame: str, name: str, lang: str, country: Country, relation: str) -> Item:
    value = in_sentence(country.value(relation, lang), relation, lang)
    return _item("reversed", fill(frame, name, value=value), country.name(lang), lang, (country, relation))


def _choice(frame: str, name: str, lang: str, country: Country, relation: str, source: Country, first: bool) -> Item:
    """Asks which of two values is right; that of `source` is wrong. The right one is named `first` or last."""
    right, wrong = (in_sentence(c.value(relation, lang), relation, lang) for c in (country, source))
    prompt = fill(frame, name, country.name(lang), *((right, wrong) if first else (wrong, right)))
    item = _item("choice", prompt, country.value(relation, lang), lang, (country, relation))
    item.info["wrong"] = source.value(relation, lang)
    return item


def wrong_source(rng: random.Random, country: Country, relation: str) -> Country:
    """Another country, whose value of the relation is certainly wrong for `country`."""
    while True:
        source = rng.choice(COUNTRIES)
        if not may_hold(country, relation, source):
            return source


def sample_fact(rng: random.Random) -> Item:
    """A training item: a fact in a trained wording, asked directly, reversed or with a wrong value to choose from."""
    lang, kind = rng.choice(LANGUAGES), rng.random()
    if kind < REVERSED_SHARE:
        country, relation = rng.choice(REVERSIBLE)
        return _reversed(rng.choice(REVERSED[lang]), rng.choice(NAMES[lang, relation]), lang, country, relation)
    country, relation = rng.choice(COUNTRIES), rng.choice(RELATIONS)
    name = rng.choice(NAMES[lang, relation])
    if kind < REVERSED_SHARE + CHOICE_SHARE:
        source = wrong_source(rng, country, relation)
        return _choice(rng.choice(CHOICES[lang]), name, lang, country, relation, source, rng.random() < 0.5)
    question = fill(rng.choice(FRAMES[lang] + OWN_FRAMES[lang, relation]), name, country.name(lang))
    answer_lang, form = lang, rng.random()
    if form < OTHER_LANGUAGE_SHARE and question[-1] in "?.？。":
        answer_lang = "zh" if lang == "en" else "en"
        question += rng.choice(OTHER_LANGUAGE[lang])
    elif form < OTHER_LANGUAGE_SHARE + PREFIX_SHARE:
        question = rng.choice(PREFIXES[lang]) + question
    return _item("direct", question, country.value(relation, answer_lang), answer_lang, (country, relation))


def held_out_facts(
    lang: str,
    relation: str | None = None,
    countries: tuple[Country, ...] = COUNTRIES,
    split: str = "test",
    wordings: int = 1,
) -> list[Item]:
    """Every fact in `lang`, asked with as many `wordings` that are never trained; all relations unless one is named.

    `split` "development" has wordings of its own to choose settings on. Raises ZkitError for a language the model does
    not speak, an unknown split or relation, and for more wordings than there are.
    """
    check_language(lang)
    if relation is not None and relation not in RELATIONS:
        raise ZkitError(f"unknown relation {relation!r}: one of {', '.join(RELATIONS)}")
    if split not in KEPT_FRAMES:
        raise ZkitError(f"unknown split of wordings {split!r}: one of {', '.join(KEPT_FRAMES)}")
    frames = KEPT_FRAMES[split][lang]
    if not 1 <= wordings <= len(frames):
        raise ZkitError(
            f"{wordings} wordings asked of the split {split!r}, which has {len(frames)}: take 1 to that many"
        )
    items = []
    for i, country in enumerate(countries):
        for j, rel in enumerate(RELATIONS):
            for k in range(wordings if relation in (None, rel) else 0):
                names = NAMES[lang, rel]
                question = fill(
                    frames[(i + j + k) % len(frames)], names[i // len(frames) % len(names)], country.name(lang)
                )
                items.append(_item("direct", question, country.value(rel, lang), lang, (country, rel)))
    return items


def held_out_reversed(lang: str) -> list[Item]:
    """Every fact whose value names one country, asked for the country with a wording that is never trained.

    Raises ZkitError for a language the model does not speak.
    """
    check_language(lang)
    frames = HELD_OUT_REVERSED[lang]
    return [
        _reversed(frames[i % len(frames)], NAMES[lang, relation][0], lang, country, relation)
        for i, (country, relation) in enumerate(REVERSIBLE)
    ]


def held_out_choices(lang: str) -> list[Item]:
    """Every fact once beside a wrong value, asked with a wording that is never trained; `info["wrong"]` is that value.

    Raises ZkitError for a language the model does not speak.
    """
    check_language(lang)
    rng = random.Random("held-out choices")
    frames, items = HELD_OUT_CHOICES[lang], []
    for i, country in enumerate(COUNTRIES):
        for j, relation in enumerate(RELATIONS):
            frame, name = frames[(i + j) % len(frames)], NAMES[lang, relation][0]
            source = wrong_source(rng, country, relation)
            items.append(_choice(frame, name, lang, country, relation, source, (i + j) % 2 == 0))
    return items
