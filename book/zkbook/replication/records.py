"""Published figures as typed records: what was printed, of which model, and how near a measurement must come.

They stand in the book's ``published.yml``, the one place where published numbers are written down.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from zkit.errors import ZkitError
from zkit.reading import Checked, Count, Ends, Finite, check
from zkit.yaml_files import read_yaml

_REMEDY = "mend the record"


class Tolerance(Checked):
    """How far a measured value may lie from the printed one: by one of these."""

    absolute: Finite | None = Field(None, ge=0)
    relative: Finite | None = Field(None, ge=0)
    range: Ends | None = None

    def __str__(self) -> str:
        if self.range is not None:
            return f"{number(self.range[0])} to {number(self.range[1])}"
        return f"± {100 * self.relative:g}%" if self.relative is not None else f"± {number(self.absolute or 0)}"


class Measure(Checked):
    """How a figure is measured: the function of zkbook.replication, and the published places it is to look at."""

    by: str
    tolerance: Tolerance
    at: dict[str, Any] = Field(default_factory=dict)
    long: bool = False


class Figure(Checked):
    """A published figure: a number, one number for each place that it runs along, or a range."""

    topic: str
    says: str
    unit: str
    model: str
    source: str
    value: Finite | list[Finite] | None = None
    range: Ends | None = None
    along: dict[str, list[int | float | str]] | None = None
    note: str | None = None
    measured: Measure | None = None
    not_measured: str | None = None

    @property
    def at(self) -> dict[str, Any]:
        """The published settings of the measurement."""
        return self.measured.at if self.measured else {}

    @property
    def keys(self) -> list[int | float | str]:
        """What the figure runs along, as printed; nothing for a single one."""
        return next(iter(self.along.values())) if self.along else []

    @property
    def places(self) -> list[str]:
        """The name of each value that is to be measured."""
        if self.along is not None:
            return [f"{name} {key}" for name, keys in self.along.items() for key in keys]
        return ["smallest", "largest"] if self._is_of_two_ends else [""]

    @property
    def printed(self) -> list[float | list[float]]:
        """At each of :attr:`places` the number, or the two ends of a range within which a value is to lie."""
        if self.range is not None:
            return [*self.range] if self._is_of_two_ends else [self.range]
        return [*self.value] if isinstance(self.value, list) else [self.value or 0.0]

    @property
    def _is_of_two_ends(self) -> bool:
        """Whether both ends of the printed range are to be measured, each by itself."""
        return self.range is not None and self.measured is not None and self.measured.tolerance.range is None


class Shape(Checked):
    """A published model: its name on the hub, and its shape."""

    id: str
    source: str
    architecture: str
    layers: Count
    d_model: Count
    d_ffn: Count
    heads: Count
    kv_heads: Count
    d_head: Count
    vocabulary: Count
    tied: bool


class Open(Checked):
    """What a source leaves open and we chose: in words, and the sizes."""

    ours: str
    questions: Count = 0
    tokens: Count = 0


class Published(Checked):
    """All that ``published.yml`` holds. ``measures`` are what sources leave open, by function."""

    models: dict[str, Shape]
    sources: dict[str, str]
    topics: dict[str, str]
    measures: dict[str, Open]
    figures: dict[str, Figure]

    def of_source(self, source: str | None) -> dict[str, Figure]:
        """The figures of one of the three sources, or of all. Raises ZkitError for an unknown source."""
        if source is not None and source not in self.topics:
            raise ZkitError(f"unknown source {source!r}; choose one of {', '.join(self.topics)}, or none for all")
        return {key: figure for key, figure in self.figures.items() if source in (None, figure.topic)}


def read(path: str | Path) -> Published:
    """The records of a file. Raises ZkitError, naming file and entry, for what is none and for names unknown in it."""
    found = check(Published, read_yaml(path), str(path), _REMEDY)
    for key, figure in found.figures.items():
        where = f"{path}: figures.{key}"
        for name, known in (("topic", found.topics), ("model", found.models), ("source", found.sources)):
            if getattr(figure, name) not in known:
                raise ZkitError(f"{where} names the unknown {name} {getattr(figure, name)!r}; {_REMEDY}")
        if (figure.value is None) == (figure.range is None):
            raise ZkitError(f"{where} needs a value or a range, one of them; {_REMEDY}")
        if len(figure.places) != len(figure.printed):
            raise ZkitError(f"{where} has {len(figure.printed)} values for {len(figure.places)} places; {_REMEDY}")
        if (figure.measured is None) == (figure.not_measured is None):
            raise ZkitError(f"{where} needs measured or not_measured, one of them; {_REMEDY}")
        if figure.measured and sum(x is not None for x in vars(figure.measured.tolerance).values()) != 1:
            raise ZkitError(f"{where} needs one tolerance: absolute, relative or range; {_REMEDY}")
    return found


def number(value: float) -> str:
    """A figure as tables have it: at most four significant digits, whole numbers in full."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
