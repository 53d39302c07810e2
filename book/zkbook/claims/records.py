"""A record of the ledger: a claim, or a conjecture that cannot be judged, with what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import Field

from zkbook.claims.claim import Claim, Published, Status, Verdict, check_published
from zkbook.claims.rules import Finding, Operator, asked
from zkit.errors import ZkitError
from zkit.reading import Checked, Count, Ends, Finite, check, shown

Kind = Literal["conjecture", "evidence", "refutation", "refinement"]
Answer = Literal["holds", "fails", "undecided", "not testable"]
_IDS = Annotated[list[str], Field(fail_fast=True)]
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Event:
    """Something that happened to a claim: who says what.

    A run that judged the claim adds ``model``, ``run`` (its id), ``status`` and ``findings`` (statistic, interval, n).
    Only such events decide a status; what others published is told, never counted.

    Raises ZkitError for an unknown kind or status, what is no text or an empty one, or half a judgement.
    """

    kind: Kind
    source: str
    says: str
    model: str | None = None
    run: str | None = None
    status: Status | None = None
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ZkitError(f"an event is one of {', '.join(get_args(Kind))}, not {shown(self.kind)}")
        for name in ("source", "says", "model", "run", "status"):
            if not isinstance(given := getattr(self, name), str | None):
                raise ZkitError(f"{self.kind}: {name!r} must be a text, not {shown(given)}; put it in quotes")
        if not (self.source and self.says):
            raise ZkitError(f"{self.kind}: an event needs a 'source' and what it 'says'")
        if self.status is not None and self.status not in get_args(Status):
            raise ZkitError(f"{self.kind}: status {self.status!r} is none of {', '.join(get_args(Status))}")
        judgement = (self.model, self.run, self.status, self.findings)
        if any(judgement) and not all(judgement):
            raise ZkitError(f"{self.kind}: a judgement has a model, a run, a status and findings, or none of them")

    @property
    def answer(self) -> Answer | None:
        """What the run says of the claim, whichever model the claim speaks of; None for an event that judges nothing.

        *undecided*: an interval contains its bound. *not testable*: a statistic is missing.
        """
        match self.status:
            case "confirmed" | "analogue holds":
                return "holds"
            case "refuted" | "analogue fails":
                return "fails"
            case "open":
                return "undecided" if asked(self.findings) else "not testable"
            case status:
                return status

    @classmethod
    def of(cls, verdict: Verdict, run: str) -> Event:
        """The event that a verdict is. Only on the model that the claim speaks of can it refute the claim.

        Raises ZkitError if ``run`` is empty.
        """
        if not run:
            raise ZkitError(f"{verdict.claim.id}: a judgement needs the id of its run, so that none is counted twice")
        kind: Kind = "refutation" if verdict.status == "refuted" else "evidence"
        return cls(kind, f"run {run}", verdict.reason, verdict.model, run, verdict.status, verdict.findings)

    def to_dict(self) -> dict[str, Any]:
        return _given({**vars(self), "findings": [finding.to_dict() for finding in self.findings]})

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Event:
        """Raises ZkitError where the record is no event."""
        findings = tuple(map(_finding, _list(record, "findings", "an event")))
        return _make(cls, {**record, "findings": findings}, "an event")


@dataclass(frozen=True)
class Untested:
    """A conjecture without a rule; ``reason`` says why: its text is not available, or nothing here can test it.

    Raises ZkitError if ``id``, ``source``, ``model`` or ``reason`` is empty, or the published status is none.
    """

    id: str
    source: str
    model: str
    reason: str
    sentence: str | None = None
    published: Published | None = None
    published_rule: str | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        for name in ("id", "source", "model", "reason"):
            if not getattr(self, name):
                raise ZkitError(f"conjecture {self.id!r}: {name!r} is empty")
        check_published(self.id, self.published)


@dataclass(frozen=True)
class Record:
    """A claim or conjecture, its history from the oldest event on, and the ids of what refined it."""

    claim: Claim | Untested
    history: tuple[Event, ...]
    successors: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.claim.id

    @property
    def judgements(self) -> dict[str, Event]:
        """The latest judgement on each model, the model judged last coming last."""
        latest: dict[str, Event] = {}
        for event in self.history:
            if event.model:
                latest.pop(event.model, None)
                latest[event.model] = event
        return latest

    @property
    def status(self) -> Status:
        """By the latest judgement on the model that the claim speaks of; open before there is one."""
        return self._statuses().get(self.claim.model, "open")

    @property
    def analogues(self) -> dict[str, Status]:
        """By the latest judgement on every other model."""
        return {model: status for model, status in self._statuses().items() if model != self.claim.model}

    @property
    def standing(self) -> Status:
        """The status; where no run has judged the claim on its own model, that of the analogue judged last."""
        analogues = list(self.analogues.values())
        return self.status if self.claim.model in self.judgements or not analogues else analogues[-1]

    def judged(self, verdict: Verdict, run: str) -> Record:
        """This record with the verdict of a run in its history; itself if it is there already.

        Raises ZkitError if the verdict's claim has another rule or model, or the same run found something else before.
        """
        ours, theirs = self.claim, verdict.claim
        if isinstance(ours, Untested) or (ours.rule, ours.model) != (theirs.rule, theirs.model):
            raise ZkitError(
                f"{self.id} was judged by another rule, or for another model, than the ledger has, and these are fixed "
                "before the run; take the claim from the ledger, or give the new one an id of its own"
            )
        event = Event.of(verdict, run)
        for earlier in self.history:
            if (earlier.run, earlier.model) == (event.run, event.model):
                if earlier == event:
                    return self
                raise ZkitError(
                    f"{self.id}: run {run!r} on {verdict.model} is in the ledger with other figures; give the new run "
                    "an id of its own"
                )
        return replace(self, history=(*self.history, event))

    def to_dict(self) -> dict[str, Any]:
        claim = self.claim.to_dict() if isinstance(self.claim, Claim) else vars(self.claim)
        history = [event.to_dict() for event in self.history]
        return _given({**claim, "history": history, "successors": list(self.successors)})

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Record:
        """Raises ZkitError, naming the record, where it is none."""
        if not isinstance(record, Mapping) or not isinstance(record.get("id"), str):
            raise ZkitError(f"a record of the ledger is a mapping with an 'id', not {shown(record)}")
        where = f"record {record['id']}"
        own = {key: value for key, value in record.items() if key not in ("history", "successors")}
        try:
            if "rule" in own:
                claim: Claim | Untested = Claim.from_dict(_checked(Claim, own, where))
            elif "reason" in own:
                claim = _make(Untested, own, where)
            else:
                raise ZkitError("give it a 'rule' and what it 'says', or the 'reason' why it has none")
            history = tuple(map(Event.from_dict, _list(record, "history", where)))
            successors = tuple(check(_IDS, _list(record, "successors", where), where, "give ids in quotes"))
        except ZkitError as error:
            raise ZkitError(str(error) if where in str(error) else f"{where}: {error}") from error
        return cls(claim, history, successors)

    def _statuses(self) -> dict[str, Status]:
        return {model: event.status for model, event in self.judgements.items() if event.status}


def _given(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value not in (None, [], ())}


def _list(record: Any, key: str, where: str) -> list[Any]:
    found = record.get(key, []) if isinstance(record, Mapping) else None
    if not isinstance(found, list):
        raise ZkitError(f"{where}: {key!r} must be a list, and what it belongs to a mapping; got {shown(record)}")
    return found


def _make(kind: type[_Made], record: Mapping[str, Any], where: str) -> _Made:
    return kind(**_checked(kind, record, where))


def _checked(kind: Any, record: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``record`` if it has the fields of the dataclass ``kind``, texts being texts. Raises ZkitError naming the key."""
    known = {field.name: field.default is MISSING for field in fields(kind)}
    for key in record:
        if key not in known:
            raise ZkitError(f"{where}: there is no key {key!r}; the keys are {', '.join(known)}")
    for key, required in known.items():
        if required and key not in record:
            raise ZkitError(f"{where}: the key {key!r} is missing")
        if key not in ("rule", "findings", "added") and not isinstance(record.get(key), str | None):
            raise ZkitError(f"{where}: {key!r} must be a text, not {shown(record[key])}; put it in quotes")
    return dict(record)


class _Finding(Checked):
    """The record of a :class:`Finding`."""

    statistic: Annotated[str, Field(min_length=1)]
    op: Operator
    bound: Finite
    value: Finite | None
    ci: Ends | None
    n: Count | None
    unit: str | None
    holds: bool | None
    note: str


def _finding(record: Any) -> Finding:
    check(_Finding, record, f"not a finding: {shown(record)}", "findings are written by the ledger")
    return Finding.from_dict(record)
