"""The clean chapters: reading one, planning one run of it, ordering several by what they need."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zkbook.pages import executions, inputs, notebook, places, profiles
from zkbook.pages import parameters as vocabulary
from zkbook.pages.parameters import Parameter
from zkit.errors import ZkitError


@dataclass(frozen=True)
class Clean:
    """A clean notebook. ``needs`` names the chapters whose results it reads, ``wants`` those whose results it reads
    where this run has any (metadata ``zkit.needs``, ``zkit.wants``); ``zkit.seconds`` is about how long it takes."""

    path: Path
    cells: list[dict[str, Any]]
    metadata: dict[str, Any]
    parameters: dict[str, Parameter]

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def needs(self) -> list[str]:
        return list(self.metadata.get("zkit", {}).get("needs", []))

    @property
    def wants(self) -> list[str]:
        return list(self.metadata.get("zkit", {}).get("wants", []))

    @property
    def after(self) -> list[str]:
        """The chapters that it comes after."""
        return [*self.needs, *self.wants]


@dataclass(frozen=True)
class Plan:
    """One execution of one chapter: all its parameters, checked, and the run folder it goes to."""

    clean: Clean
    parameters: dict[str, Any]
    given: dict[str, Any]
    """Those parameters that do not come from the notebook itself; papermill injects these."""
    out: Path

    @property
    def name(self) -> str:
        return self.clean.name

    @property
    def seconds(self) -> float:
        """About how long an execution takes: as the last one in this folder, else by the metadata, else a minute."""
        said = self.clean.metadata.get("zkit", {}).get("seconds", 60.0)
        return executions.seconds(self.executed) or float(said)

    @property
    def executed(self) -> Path:
        """The executed copy. It is replaced only by a whole new one."""
        return self.out / f"{self.name}.ipynb"

    @property
    def partial(self) -> Path:
        """The copy that grows while the chapter runs."""
        return self.out / f"{self.name}.partial.ipynb"

    @property
    def failed(self) -> Path:
        """The copy of an execution that failed, kept for reading."""
        return self.out / f"{self.name}.failed.ipynb"


def read(path: Path) -> Clean:
    """Read a clean notebook. Raises ZkitError if it is missing, no notebook, or its parameters cell is malformed."""
    if not path.is_file():
        raise ZkitError(f"there is no notebook {path}")
    found = notebook.read(path)
    cells = found["cells"]
    return Clean(path.resolve(), cells, found["metadata"], vocabulary.inspect(cells, path.stem))


def plan(clean: Clean, profile: str, model: str | None = None, given: Mapping[str, Any] | None = None) -> Plan:
    """Settle the parameters of one execution: the notebook's defaults, the profile, ``--model``, then ``given``.

    Relative paths in ``given`` are taken from the working directory, those in the notebook from its own folder.

    Raises ZkitError for an unknown profile, an unknown parameter, a wrong type or range, a missing model folder, and
    a missing file that is to be read.
    """
    asked = dict(given or {})
    model = None if model is None else inputs.model(model)
    if "profile" in clean.parameters:
        profile = asked.setdefault("profile", profile)
    if model is not None and "model" in clean.parameters:
        asked.setdefault("model", model)
    chosen = profiles.parameters_of(clean.name, profile, set(clean.parameters)) | asked
    checked = vocabulary.validate(clean.parameters, chosen, clean.name)
    checked = inputs.located(clean.parameters, checked, asked, clean.path.parent, clean.name)
    if checked.get("out"):
        out = places.out_folder(checked["out"])
    else:
        # All chapters of a run share its folder, also those that declare no model or whose profile sets another.
        shared = checked["model"] if "model" in asked else model or profiles.model_of(profile)
        out = places.run_folder(clean.path, profile, shared)
    if "out" in checked:
        checked["out"] = chosen["out"] = str(out)
    return Plan(clean, checked, {name: checked[name] for name in chosen}, out)


def in_order(chapters: Iterable[Clean]) -> list[Clean]:
    """Chapters so that each stands after those it needs, otherwise in the order given.

    Raises ZkitError for a need or want that is no chapter and for those that go round in a circle.
    """
    waiting = {chapter.name: chapter for chapter in chapters}
    for chapter in waiting.values():
        unknown = [name for name in chapter.after if name not in waiting]
        if unknown:
            verb = "needs" if unknown[0] in chapter.needs else "wants"
            raise ZkitError(
                f"{chapter.name} {verb} {unknown[0]}, which is not a chapter; correct its metadata zkit.{verb}"
            )
    ordered: list[Clean] = []
    while waiting:
        ready = next((c for c in waiting.values() if not any(name in waiting for name in c.after)), None)
        if ready is None:
            raise ZkitError(f"chapters need each other in a circle: {', '.join(waiting)}; correct metadata zkit.needs")
        ordered.append(waiting.pop(ready.name))
    return ordered


def missing_needs(planned: Plan) -> None:
    """Raises ZkitError, naming the command, if a chapter that ``planned`` needs has left no results in its run."""
    for need in planned.clean.needs:
        if not places.results_file(planned.out, need).is_file():
            command = places.command(need, planned.parameters, planned.out)
            raise ZkitError(f"{planned.name} needs the results of {need}; make them first with: {command}")


def typed(assignments: Sequence[str], clean: Clean) -> dict[str, Any]:
    """``-p name=value`` options -> {name: value}. A relative ``out`` is taken from the shell's folder."""
    given = dict(vocabulary.parse(assignment, clean.parameters) for assignment in assignments)
    if given.get("out"):
        given["out"] = str(Path(os.path.expanduser(given["out"])).resolve())
    return given
