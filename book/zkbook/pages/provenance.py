"""What a chapter's outputs were made from, so that a chapter that looks fresh is fresh.

A stamp covers the code cells, the parameters, the contents of files that parameters name, the weights, the results of
other chapters that were read, and the source of the zkit modules that the chapter imported. Prose and modules it did
not import may change freely. Nothing here imports torch or Jupyter: checking a whole book takes about a second.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from zkbook.claims.claim import Verdict
from zkbook.claims.conjectures import shipped
from zkbook.pages import results
from zkbook.pages.parameters import text
from zkbook.pages.places import PACKAGES, results_file
from zkit import sources
from zkit.errors import ZkitError
from zkit.reading import Checked

UNSEEN = {"zkbook.pages.vocabulary", "zkbook.claims.conjectures"}
"""Modules that no stamp covers. They hold what may be said of every chapter: what a parameter may be, whose value is in
the stamp, and the claims, of which those that a chapter judged are in its results."""
EDITED = "edited during the run"
INJECTED = "injected-parameters"
"""Tag of the cell that papermill adds to an executed copy."""

Weights = Callable[[str], str]
"""Model name -> sha256 of its files."""


class Stamp(Checked):
    """Provenance of one execution. All hashes are sha256; ``executed`` is the time of its end, UTC, and
    ``peak_bytes`` the most memory that its kernel held.

    ``files`` goes by the name of the parameter, ``weights`` by model, ``inputs`` by chapter.
    """

    cells: str
    parameters: dict[str, Any]
    files: dict[str, str] = Field(default_factory=dict)
    weights: dict[str, str] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    modules: dict[str, str] = Field(default_factory=dict)
    results: str = ""
    executed: str = ""
    peak_bytes: int = 0

    @property
    def digest(self) -> str:
        """The chapter's hash: of everything that went in, not of what came out or when."""
        return results.json_digest(self.model_dump(exclude={"results", "executed", "peak_bytes"}))


def read_stamp(metadata: Mapping[str, Any]) -> Stamp | None:
    """The stamp in a notebook's metadata, or None if there is none that this version can read."""
    try:
        return Stamp(**metadata["zkit"]["stamp"])
    except (KeyError, TypeError, ValueError):
        return None


def cells_digest(cells: Iterable[Mapping[str, Any]]) -> str:
    """Hash of a notebook's code: source and tags of its code cells, in order. Prose and outputs do not count."""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    return results.json_digest([[text(cell["source"]), sorted(tags(cell))] for cell in code])


def tags(cell: Mapping[str, Any]) -> list[str]:
    return list(cell.get("metadata", {}).get("tags", []))


def contents_digest(path: Path) -> str:
    """Hash of a file, or of all files in a folder with their names; "" if it is not there or cannot be read."""
    try:
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        within = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
        return results.json_digest([[name, hashlib.sha256(file.read_bytes()).hexdigest()] for name, file in within])
    except OSError:
        return ""


def visible(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters without ``out``: where results are put is no part of what they say."""
    return {name: value for name, value in parameters.items() if name != "out"}


def imported_modules(since: float) -> dict[str, str]:
    """Source hashes of the modules of zkit and zkbook that this process has imported.

    A file changed after ``since`` (seconds, Unix time) is recorded as edited, never as current: what ran was the
    text before.
    """
    names = sorted(name for name in sys.modules if name.partition(".")[0] in PACKAGES and name not in UNSEEN)
    hashes = {}
    for name in names:
        sources_of = _files(name)
        if sources_of:
            edited = any(file.stat().st_mtime > since for file in sources_of)
            hashes[name] = EDITED if edited else module_digest(name)
    return hashes


def module_digest(name: str) -> str:
    """Hash of a module's source and of the data files that are its own; "" for a module that no longer exists."""
    sources_of = _files(name)
    if not sources_of:
        return ""
    digest = hashlib.sha256()
    for file in sources_of:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def changes(
    stamp: Stamp | None,
    *,
    cells: str,
    parameters: Mapping[str, Any],
    out: Path,
    chapter: str,
    weights: Weights,
) -> list[str]:
    """Why the execution that ``stamp`` belongs to is no longer what an execution now would give; [] if it is current.

    ``cells`` and ``parameters`` are those an execution now would have; ``out`` is the run folder.
    """
    if stamp is None:
        return ["never executed"]
    why = []
    if stamp.cells != cells:
        why.append("its code changed")
    now = visible(parameters)
    differ = sorted(name for name in now.keys() | stamp.parameters.keys() if _differ(name, now, stamp.parameters))
    if differ:
        why.append(f"parameters changed: {', '.join(differ)}")
    for name, sha256 in stamp.files.items():
        if sha256 == EDITED:
            why.append(f"{name} was changed while the chapter ran")
        elif name not in now:
            why.append(f"{name} is no parameter")
        elif name not in differ and contents_digest(Path(now[name])) != sha256:
            why.append(f"contents of {name} changed ({now[name]})")
    for model, sha256 in stamp.weights.items():
        if weights(model) != sha256:
            why.append(f"weights of {model} changed")
    for need, sha256 in stamp.inputs.items():
        if results_digest(out, need) != sha256:
            why.append(f"results of {need} changed")
    for module, sha256 in stamp.modules.items():
        if sha256 == EDITED:
            why.append(f"module {module} was edited while the chapter ran")
        elif module_digest(module) != sha256:
            why.append(f"module {module} changed")
    if stamp.results and results_digest(out, chapter) != stamp.results:
        why.append("its results file is gone or is not of this execution")
    elif stamp.results and (restated := _restated(results.load(results_file(out, chapter))["claims"])):
        why.append(f"restated since it judged them: {', '.join(restated)}")
    return why


def _restated(judged: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of claims whose wording or rule is no longer that of the verdict."""
    now = {record.id: record.claim for record in shipped()}
    found = [Verdict.from_dict(verdict).claim for verdict in judged]
    return [claim.id for claim in found if claim.id in now and now[claim.id] != claim]


def results_digest(out: Path, chapter: str) -> str:
    """Hash of a chapter's results in a run folder; "" if there are none that can be read."""
    try:
        return results.digest(results.load(results_file(out, chapter)))
    except ZkitError:
        return ""


def weights_digest(model: str) -> str:
    """sha256 of a model's files; "" if they are not on this machine."""
    try:
        return sources.resolve(model).sha256()
    except ZkitError:
        return ""


def cached_weights() -> Weights:
    """:func:`weights_digest` that hashes each model once."""
    return functools.cache(weights_digest)


def _files(module: str) -> list[Path]:
    """A module's source and its data: files of the same stem, and for a package those of no other module's stem, and
    for a module those in the folder of its name."""
    top, *rest = module.split(".")
    place = PACKAGES[top].joinpath(*rest)
    package = (place / "__init__.py").is_file()
    folder, stem = (place, "__init__") if package else (place.parent, place.name)
    if not (folder / f"{stem}.py").is_file():
        return []
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.suffix not in (".pyc", ".py"))
    modules = {file.stem for file in folder.glob("*.py")}
    own = [file for file in files if file.stem == stem or (package and file.stem not in modules)]
    if not package and place.is_dir():
        own += sorted(file for file in place.iterdir() if file.is_file())
    return [folder / f"{stem}.py", *own]


def _differ(name: str, now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    absent = object()
    return now.get(name, absent) != before.get(name, absent)
