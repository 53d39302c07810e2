"""Topic lenses: the vocabularies of twelve topics, and whether a steering vector adds one that was not asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import regex

from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.models import Model
from zkit.positions import Positions
from zkit.prompts import Prompt, check_prompts
from zkit.reading import located
from zkit.stats import Interval, bootstrap_ratio, bootstrap_ratio_difference, wilson
from zkit.steering.apply import edits
from zkit.steering.texts import words
from zkit.steering.vectors import SteeringVector
from zkit.yaml_files import read_yaml

SECONDS = 1.0
"""Limit of processor time of a lens for one text. A text of a thousand words usually takes a thousandth of it."""
LONGEST_PATTERN = 10_000
"""Most characters of a pattern."""
# Four separators that re and str.split treat as white space, but regex does not.
_SPACES = dict.fromkeys(range(0x1C, 0x20), "\x85")
FILE = Path(__file__).with_name("topic_lenses.yml")
_HOW = "write `name: {about: ..., words: [...]}` or `name: {pattern: ...}`"
_ENDING = re.compile(r"\((\w+)\)(?=\s|$)")  # team(s): letters that may be absent at the end of a word


@dataclass(frozen=True)
class Lens:
    """A topic, recognised by its words: ``pattern`` matches one of them.

    about: the topic's name in a request ("": none, so that no positive control can ask for it).
    pattern: of the package regex, which has the syntax of re and supports a time limit. Its word characters also
    include combining marks, but not fractions or superscript digits. A pattern of re is compiled again.
    Raises ZkitError for a lens without a name, or with a pattern that matches the empty text.
    """

    name: str
    pattern: regex.Pattern[str]
    about: str = ""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ZkitError("a lens needs a name")
        if isinstance(self.pattern, re.Pattern):
            flags = self.pattern.flags & (re.I | re.M | re.S | re.X) | (regex.A if self.pattern.flags & re.A else 0)
            object.__setattr__(self, "pattern", regex.compile(self.pattern.pattern, flags))
        if self.pattern.search("", timeout=SECONDS) is not None:
            raise ZkitError(f"the pattern of lens {self.name!r} matches the empty text, so it would match anywhere")

    @classmethod
    def of_words(cls, name: str, words: Sequence[str], about: str = "") -> Lens:
        """A lens of whole words or phrases, in upper or lower case; at each place only the longest match counts.

        Letters in brackets at the end of a word are optional: ``team(s)`` matches team and teams. Other forms of a word
        do not match, nor do parts of a compound (``build`` is not found in build-up). Raises ZkitError for an empty
        vocabulary, an empty word, brackets elsewhere, and a lens without a name.
        """
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
            raise ZkitError(
                f"the words of lens {name!r} must be a list of texts; put 'yes', 'no' or a number in quotes"
            )
        if not words:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; give it at least one word")
        return cls._compiled(name, f"(?i:{_whole(name, words)})", about)

    @classmethod
    def of_pattern(cls, name: str, pattern: str, about: str = "") -> Lens:
        """A lens of a regular expression, which is used unchanged: begin it with ``(?i)`` to ignore case.

        Raises ZkitError for an empty pattern, one that does not compile, one that matches the empty text, and a lens
        without a name.
        """
        if not isinstance(pattern, str) or not pattern:
            raise ZkitError(f"lens {name!r} has an empty vocabulary; its pattern must be a regular expression")
        if len(pattern) > LONGEST_PATTERN:
            raise ZkitError(
                f"the pattern of lens {name!r} has {len(pattern):,} characters; write words, or several lenses"
            )
        return cls._compiled(name, pattern, about)

    @classmethod
    def _compiled(cls, name: str, pattern: str, about: str) -> Lens:
        try:
            compiled = regex.compile(pattern)
        except (regex.error, ValueError, OverflowError, RecursionError) as error:
            raise ZkitError(f"the pattern of lens {name!r} is no regular expression: {error}") from error
        return cls(name, compiled, about)


def count(text: str, lens: Lens) -> tuple[int, int]:
    """The numbers of matches and of words in a text. Raises ZkitError for a lens that takes longer than SECONDS."""
    try:
        return sum(1 for _ in lens.pattern.finditer(text.translate(_SPACES), timeout=SECONDS)), words(text)
    except TimeoutError as error:
        raise ZkitError(
            f"the pattern of lens {lens.name!r} takes more than {SECONDS:g} s for a text of {len(text):,} characters; "
            "write it without repeats that can match the same letters in many ways, such as (a|aa)+"
        ) from error


@cache
def shipped_lenses() -> Mapping[str, Lens]:
    """The twelve lenses that ship with the library, by name."""
    return read_lenses(FILE)


def read_lenses(path: str | Path) -> dict[str, Lens]:
    """The lenses of a YAML file, by name: ``name: {about: ..., words: [...]}``, or ``pattern: ...`` for ``words``.

    Raises ZkitError for a missing or unreadable file, one that holds no lenses, an unknown or missing field, a lens
    named twice, an empty vocabulary, and a word or pattern that is invalid or matches the empty text.
    """
    table = read_yaml(located(path, "file of lenses", _HOW))
    if not isinstance(table, dict) or not table:
        raise ZkitError(f"{path} holds no lenses; {_HOW}")
    return {name: _lens(name, entry, path) for name, entry in table.items()}


def _lens(name: str, entry: Any, path: str | Path) -> Lens:
    if not isinstance(entry, dict) or ("words" in entry) == ("pattern" in entry):
        raise ZkitError(f"lens {name!r} in {path} needs words or a pattern, one of them; {_HOW}")
    if unknown := set(entry) - {"about", "words", "pattern"}:
        raise ZkitError(f"lens {name!r} in {path} has the unknown field {sorted(map(str, unknown))[0]!r}; {_HOW}")
    about = entry.get("about", "")
    if not isinstance(about, str):
        raise ZkitError(f"what lens {name!r} in {path} is about must be a text, got {ascii(about)[:60]}")
    try:
        if "pattern" in entry:
            return Lens.of_pattern(name, entry["pattern"], about)
        return Lens.of_words(name, [] if entry["words"] is None else entry["words"], about)
    except ZkitError as error:
        raise ZkitError(f"{path}: {error}") from error


def _whole(name: str, words: Sequence[str]) -> str:
    """One pattern for whole words, the longest first, so that a phrase is matched before a word in it."""
    found = []
    for word in sorted(words, key=len, reverse=True):
        bare = _ENDING.sub("", word)
        if not bare.strip() or bare != bare.strip() or re.search(r"[()]", bare):
            raise ZkitError(
                f"lens {name!r} has the word {word!r}: a word has letters, no space around it, and brackets only about "
                "an ending that may be absent, as in team(s)"
            )
        found.append(
            re.sub(r"\s+", r"\\s+", _ENDING.sub(r"(?:\1)?", re.sub(r"[^\w\s()]", lambda m: re.escape(m[0]), word)))
        )
    return rf"(?<![\w-])(?:{'|'.join(found)})(?!-?\w)"


PROBES = (
    "What is bread made of?",
    "Why are there tides?",
    "Explain what a mutex is.",
    "How does a magnet work?",
    "Tell me about soap.",
    "How do rivers form?",
    "Why is there rain?",
    "How does a bicycle work?",
    "Tell me about glass.",
    "What is photosynthesis?",
)
"""Everyday questions, none of them on the topic of a shipped lens."""

UNSTEERED = "unsteered"
WISH = "Explain it in terms of {about}."
BANDS = {"clean": 0.01, "ambient": 0.03, "captured": 0.05, "contaminated": math.inf}
"""Name of a band -> the number of matches per word that is its upper bound (exclusive)."""
POINT = 0.01
"""Smallest drift that counts, in matches per word: one percentage point."""


def bleed(
    model: Model,
    v: SteeringVector | Mapping[str, tuple[SteeringVector, float]],
    alpha: float | None = None,
    lenses: Mapping[str, Lens] | None = None,
    probes: Sequence[Prompt] = PROBES,
    *,
    positions: str | Positions = "all",
    first_token: bool = False,
    max_new_tokens: int = 96,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Count the words of every lens in the answers to every probe, unsteered and steered (:func:`tally`).

    v: one vector with its ``alpha`` (the arm "steered"), or a mapping from the name of an arm to (vector, alpha); all
    arms share batches. lenses: None means the twelve shipped ones. probes: the prompts.
    positions, first_token: the tokens that are steered. max_new_tokens: of an answer. batch_size: see
    :func:`zkit.generation.complete`.
    Raises ZkitError for an alpha missing or given twice, no arms, an arm called "unsteered", no lenses or probes, and a
    vector of another width or layer than the model has.
    """
    if isinstance(v, SteeringVector) != (alpha is not None) or not isinstance(v, SteeringVector | Mapping):
        raise ZkitError("give a vector and its alpha, or a mapping from the name of an arm to (vector, alpha)")
    arms = {"steered": (v, alpha)} if isinstance(v, SteeringVector) and alpha is not None else v
    assert isinstance(arms, Mapping)  # for the type checker
    if UNSTEERED in arms or not arms:
        raise ZkitError(f"arms need names other than {UNSTEERED!r}, and there must be one; got {list(arms)}")
    every = [[], *(edits(model, w, strength, positions, first_token) for w, strength in arms.values())]
    answers = complete(model, probes, every, max_new_tokens=max_new_tokens, batch_size=batch_size)
    texts = {name: [a.text for a in arm] for name, arm in zip([UNSTEERED, *arms], answers, strict=True)}
    return tally(texts, lenses)


def ask_lenses(
    model: Model,
    lenses: Mapping[str, Lens] | None = None,
    probes: Sequence[str] = PROBES,
    *,
    wish: str = WISH,
    max_new_tokens: int = 96,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Count the words of every lens in answers to requests for a lens, with one arm for each lens requested.

    The table is the input of :func:`positive_control`. lenses: None means the twelve shipped ones. probes: the prompts.
    wish: put before each probe, with ``{about}`` replaced by the lens's ``about``; the arm "unsteered" has the probe
    alone. max_new_tokens: of an answer. batch_size: see :func:`zkit.generation.complete`.
    Raises ZkitError for a wish without ``{about}``, a lens without an ``about`` or called "unsteered", and no lenses or
    probes.
    """
    if "{about}" not in wish:
        raise ZkitError(f"the wish {wish!r} has no place for a lens; write {{about}} in it")
    known = shipped_lenses() if lenses is None else lenses
    if UNSTEERED in known:
        raise ZkitError(f"a lens cannot be called {UNSTEERED!r}: that is the arm without a wish; give it another name")
    if silent := [name for name, lens in known.items() if not lens.about]:
        raise ZkitError(f"lens {silent[0]!r} does not say what it is about, so none can ask for it; give it an about")
    check_prompts(probes)
    plain = list(probes)
    asked = [f"{wish.replace('{about}', lens.about)} {probe}" for lens in known.values() for probe in plain]
    found = [a.text for a in complete(model, plain + asked, max_new_tokens=max_new_tokens, batch_size=batch_size)]
    names = [UNSTEERED, *known]
    return tally({name: found[i * len(plain) :][: len(plain)] for i, name in enumerate(names)}, known)


def tally(texts: Mapping[str, Sequence[str]], lenses: Mapping[str, Lens] | None = None) -> pd.DataFrame:
    """Count the matches of lenses in ``texts``, the answers of each arm in the order of the probes.

    The table has a row for each lens, probe and arm: lens, probe (its index), arm, matches, words, text. lenses: None
    means the twelve shipped ones. Raises ZkitError for no texts, no lenses, and arms with different numbers of answers.
    """
    known = shipped_lenses() if lenses is None else lenses
    if not known or not texts or len({len(arm) for arm in texts.values()}) != 1:
        raise ZkitError("lens bleed needs lenses and, for every arm, one answer to each probe")
    rows = [
        {"lens": name, "probe": i, "arm": arm, "matches": matches, "words": words, "text": text}
        for name, lens in known.items()
        for arm, answers in texts.items()
        for i, text in enumerate(answers)
        for matches, words in [count(text, lens)]
    ]
    return pd.DataFrame(rows, columns=["lens", "probe", "arm", "matches", "words", "text"])


def score_bleed(table: pd.DataFrame, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Bleed of each lens in each arm, and its drift from the arm "unsteered": a row for each lens and arm.

    - matches, words: sums over probes.
    - bleed, bleed_low, bleed_high: matches / words, with a bootstrap interval over probes. band: its name in BANDS.
    - drift, drift_low, drift_high: bleed minus that of the same probes unsteered, drawn together; NaN when unsteered.
    - over_a_point: |drift| is more than one percentage point. excludes_0: the interval of the drift does not contain 0.
      seen: both, and the drift is positive.
    - hit, hit_low, hit_high: share of probes with any match (Wilson); unsteered it is the rate of false positives. If
      no text has a match, the intervals of bleed and drift have no width, but this one has.
    - silent: share of answers without words. If all answers of an arm are empty, its bleed and drift are NaN, its band
      is "collapsed" and it is not seen.

    Raises ZkitError without the arm "unsteered", with arms of different probes, and if the unsteered answers have no
    words.
    """
    rows = []
    for lens, part in table.groupby("lens", sort=False):
        arms = {str(arm): rows_of.set_index("probe") for arm, rows_of in part.groupby("arm", sort=False)}
        if UNSTEERED not in arms or any(set(arm.index) != set(arms[UNSTEERED].index) for arm in arms.values()):
            raise ZkitError(f"the table needs the same probes in every arm, and the arm {UNSTEERED!r} among them")
        base = arms[UNSTEERED]
        if base.words.sum() == 0:
            raise ZkitError("the unsteered answers have no words, so there is nothing to drift from; ask other probes")
        for name, arm in arms.items():
            against = None if name == UNSTEERED else base
            rows.append({"lens": lens, "arm": name} | _row(arm.loc[base.index], against, level, seed))
    return pd.DataFrame(rows)


def positive_control(table: pd.DataFrame, level: float = 0.95, seed: int = 0) -> pd.DataFrame:
    """Whether the model uses a lens's words when asked to, from the table of :func:`ask_lenses`: a row for each lens.

    - drift, drift_low, drift_high: from the unsteered answers. testable: the interval is above 0. If it is not, the
      model may have no words for the lens, and their absence under steering shows nothing.
    - own, own_low, own_high: bleed when asked for this lens minus bleed when asked for the others, paired over probes
      (NaN for a single lens). specific: the interval is above 0. If it is not, requests for other lenses produce these
      words just as well.

    Raises ZkitError for a table without the arm "unsteered", and if a lens was not asked for.
    """
    found = score_bleed(table, level, seed)
    rows = []
    for lens, arms in table.groupby("lens", sort=False):
        drift = found[(found.lens == lens) & (found.arm == lens)]
        if drift.empty:
            raise ZkitError(f"lens {lens!r} was not asked for; make the table by ask_lenses")
        asked = arms[arms.arm == lens].groupby("probe")[["matches", "words"]].sum()
        rest = arms[~arms.arm.isin([lens, UNSTEERED])].groupby("probe")[["matches", "words"]].sum()
        own = _drift(rest, asked.loc[rest.index], level, seed)
        row = {"lens": lens} | drift.iloc[0][["drift", "drift_low", "drift_high"]].to_dict()
        row |= {"testable": row["drift_low"] > 0} | _named("own", own) | {"specific": own[1] > 0}
        rows.append(row)
    return pd.DataFrame(rows)


Three = tuple[float, float, float]
_NONE: Three = (math.nan,) * 3


def _row(arm: pd.DataFrame, base: pd.DataFrame | None, level: float, seed: int) -> dict[str, Any]:
    words = int(arm.words.sum())
    rate = _three(bootstrap_ratio(*_pair(arm), level=level, seed=seed)) if words else _NONE
    drift = _NONE if base is None else _drift(base, arm, level, seed)
    over = abs(drift[0]) > POINT
    return {
        "matches": int(arm.matches.sum()),
        "words": words,
        "silent": float((arm.words == 0).mean()),
        **_named("bleed", rate),
        "band": next((name for name, end in BANDS.items() if rate[0] < end), "collapsed"),
        **_named("drift", drift),
        "over_a_point": over,
        "excludes_0": drift[1] > 0 or drift[2] < 0,
        "seen": over and drift[1] > 0,
        **_named("hit", _three(wilson(int((arm.matches > 0).sum()), len(arm), level))),
    }


def _drift(before: pd.DataFrame, after: pd.DataFrame, level: float, seed: int) -> Three:
    """The bleed of arm ``after`` minus that of ``before``, over the same probes; NaN if one of them has no words."""
    if before.words.sum() == 0 or after.words.sum() == 0:
        return _NONE
    return _three(bootstrap_ratio_difference(_pair(before), _pair(after), level=level, seed=seed))


def _pair(arm: pd.DataFrame) -> tuple[list[float], list[float]]:
    return arm.matches.tolist(), arm.words.tolist()


def _three(interval: Interval) -> Three:
    return interval.value, interval.low, interval.high


def _named(name: str, three: Three) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), three, strict=True))
