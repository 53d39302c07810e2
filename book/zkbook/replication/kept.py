"""What a run leaves: one JSON file of measurements, verdicts and what was looked at first. A later run goes on from it.

A measurement is kept under a stamp of all that went into it: weights, number format, records, gates and the library's
code. It counts as long as the stamp is what a new one would have.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from zkbook.pages import places, provenance, results
from zkbook.replication.host import Figures, Host
from zkbook.replication.verdicts import Measured, Status
from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import Checked, Count, Finite, check, read_json

FILE = "replication.json"
"""Its name in the folder of a run."""
_REMEDY = "remove the file, and `zkit replicate` measures again"


class Kept(Checked):
    """The measurements of one function."""

    stamp: str
    seconds: Finite
    found: dict[str, list[Measured | str]]
    """By figure and place; a text says why there is no value."""


class Massive(Checked):
    """A token with states far longer than the median of its prompt: over how many times, and where most."""

    prompt: str
    token: Count
    text: str
    template: bool
    layers: list[Count]
    times: Finite
    at_layer: Count


class Row(Checked):
    """One published number beside what was measured."""

    source: str
    key: str
    says: str
    note: str
    ours: str
    place: str
    unit: str
    speaks_of: str
    printed: str
    tolerance: str
    measured: Measured | None
    status: Status
    why: str
    failed: bool = False


class Results(Checked):
    """All of a run. ``answer_loss`` is that of :mod:`zkbook.experiments.trained`, beside an even bet's."""

    format: Literal["zkit replication 1"] = "zkit replication 1"
    model: str = ""
    sha256: str = ""
    dtype: str = ""
    taken_for: str = ""
    massive: list[Massive] = Field(default_factory=list)
    answer_loss: Measured | None = None
    even_bet: Finite | None = None
    untrained: bool = False
    kept: dict[str, Kept] = Field(default_factory=dict)
    rows: list[Row] = Field(default_factory=list)


def load(path: str | Path) -> Results:
    """The results of a file. Raises ZkitError, naming file and entry, for a missing file and for any other."""
    if not Path(path).is_file():
        raise ZkitError(f"there are no replications at {path}; `zkit replicate --model ...` leaves them")
    return check(Results, read_json(path), str(path), _REMEDY)


def save(path: Path, found: Results) -> None:
    """Write them whole or not at all. Raises ZkitError if that fails."""
    content = found.model_dump(mode="json")
    writing.write(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def stamp(name: str, host: Host, figures: Figures) -> str:
    """A hash of all that the measurements of a function depend on."""
    at = {key: figure.measured.model_dump(exclude={"tolerance"}) for key, figure in figures.items() if figure.measured}
    along = {key: figure.places for key, figure in figures.items()}
    gates = "" if host.gates is None else provenance.contents_digest(host.gates)
    opened = host.published.measures.get(name)
    sizes = None if opened is None else [opened.questions, opened.tokens]
    return results.json_digest([host.model.sha256, str(host.model.dtype), at, along, sizes, gates, _code()])


@cache
def _code() -> str:
    """A hash of all code: what measures calls most of it."""
    files = sorted(file for folder in places.PACKAGES.values() for file in folder.rglob("*.py"))
    return results.json_digest([file.read_text(encoding="utf-8") for file in files])
