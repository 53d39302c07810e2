"""The ledger: records by id, what runs found about them, and both files it is kept in.

ledger = Ledger.load(path).append(stats, model="Qwen/Qwen3-0.6B", run="sweep-7")
ledger["C-2"].status, ledger["C-2"].analogues
ledger.save(path.with_suffix(".json"))
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zkbook.claims.claim import Claim, Verdict, judge
from zkbook.claims.records import Event, Record, Untested
from zkit import writing
from zkit.errors import ZkitError, first_line
from zkit.reading import parse_json, read_json, shown
from zkit.yaml_files import read_yaml

SCHEMA = 1
NO_RULE = "no rule"


@dataclass(frozen=True)
class Ledger:
    """Records in their order. Nothing changes one: what adds to it returns another.

    Raises ZkitError for an id that is there twice and for a successor that is not there.
    """

    records: tuple[Record, ...]

    def __post_init__(self) -> None:
        for id, count in Counter(record.id for record in self.records).items():
            if count > 1:
                raise ZkitError(f"the ledger has {count} records {id!r}; give each its own id")
        known = {record.id for record in self.records}
        for record in self.records:
            for id in record.successors:
                if id not in known:
                    raise ZkitError(f"{record.id} has the successor {id!r}, which has no record; {self._closest(id)}")

    def __getitem__(self, id: str) -> Record:
        found = next((record for record in self.records if record.id == id), None)
        if found is None:
            raise ZkitError(f"the ledger has no record {id!r}; {self._closest(id)}")
        return found

    def __contains__(self, id: object) -> bool:
        return any(record.id == id for record in self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def claims(self, *ids: str) -> list[Claim]:
        """The claims of these ids, to be judged.

        Raises ZkitError for an unknown id, naming the closest, and for a record without a rule, with the reason.
        """
        found = []
        for id in ids:
            claim = self[id].claim
            if isinstance(claim, Untested):
                raise ZkitError(f"{id} has no rule to judge it by: {claim.reason}")
            found.append(claim)
        return found

    def append(self, stats: Mapping[str, Any], model: str, run: str) -> Ledger:
        """What a sweep found: every record whose rule's statistics are all in ``stats`` is judged by :func:`judge`.

        ``stats`` as in a results file. A run that is there already adds nothing. Raises ZkitError for a statistic
        that is no such record, an empty ``model`` or ``run``, and a known run with other figures.
        """
        if not all(isinstance(id, str) and id.strip() for id in (model, run)):
            raise ZkitError(f"evidence needs the id of its model and of its run, not {shown(model)} and {shown(run)}")
        ledger = self
        for record in self.records:
            claim = record.claim
            if isinstance(claim, Claim) and all(stats.get(name) is not None for name in claim.rule.statistics()):
                ledger = ledger.add(judge(claim, stats, model), run)
        return ledger

    def add(self, verdict: Verdict, run: str) -> Ledger:
        """One verdict of a run; a claim that the ledger does not have becomes its last record.

        Raises ZkitError for a verdict by another rule than the record's, and for a known run with other figures.
        """
        claim = verdict.claim
        if claim.id not in self:
            new = Record(claim, (Event("conjecture", claim.source, claim.sentence),))
            return Ledger((*self.records, new.judged(verdict, run)))
        return replace(self, records=tuple(r.judged(verdict, run) if r.id == claim.id else r for r in self.records))

    def counts(self) -> dict[str, int]:
        """Records by the status that a board shows, those without a rule apart as ``NO_RULE``."""
        return dict(Counter(NO_RULE if isinstance(r.claim, Untested) else r.standing for r in self.records))

    @classmethod
    def load(cls, path: str | Path) -> Ledger:
        """Read a YAML file: ``records:``, a list. Raises ZkitError naming file and record."""
        return cls._from(read_yaml(path), path)

    @classmethod
    def read(cls, path: str | Path) -> Ledger:
        """Inverse of :meth:`save`. Raises ZkitError naming file and record."""
        found = read_json(path)
        if not isinstance(found, dict) or found.get("schema") is True or found.get("schema") != SCHEMA:
            raise ZkitError(f"{path} is no ledger of schema {SCHEMA}; Ledger.save writes one")
        return cls._from(found, path)

    def to_json(self) -> str:
        """All records, with the counts and statuses that follow from them, which :meth:`read` computes anew."""
        statuses = {r.id: {"status": r.status, "analogues": r.analogues} for r in self if isinstance(r.claim, Claim)}
        record = {"schema": SCHEMA, "counts": self.counts(), "statuses": statuses}
        record["records"] = [r.to_dict() for r in self.records]
        return json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write :meth:`to_json` whole or not at all.

        Raises ZkitError if the file cannot be written, or could not be read again; an older one then still stands.
        """
        where = f"the ledger for {path}"
        try:
            text = self.to_json()
        except (TypeError, ValueError) as error:
            raise ZkitError(f"{where} cannot be written as JSON ({first_line(error)}); mend its records") from error
        if Ledger._from(parse_json(text, where), where) != self:
            raise ZkitError(f"{where} would be another one when it is read again; mend its records")
        writing.write(path, text)

    @classmethod
    def _from(cls, found: Any, path: str | Path) -> Ledger:
        if not isinstance(found, dict) or not isinstance(found.get("records"), list):
            raise ZkitError(f"{path} is no ledger: it needs the key 'records' with a list of them")
        try:
            return cls(tuple(map(Record.from_dict, found["records"])))
        except ZkitError as error:
            raise ZkitError(f"{path}: {error}") from error

    def _closest(self, id: str) -> str:
        known = {record.id.lower(): record.id for record in self.records}
        closest = difflib.get_close_matches(id.lower(), known, n=1, cutoff=0)
        return f"did you mean {known[closest[0]]}?" if closest else "the ledger is empty"
