"""Execute one chapter, in a process of its own: papermill is not safe in threads, and thread counts are set before
the kernel starts."""

from __future__ import annotations

import json
import logging
import os
import re
import site
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zkbook.pages import foot, places, provenance
from zkbook.pages.parameters import text
from zkit import writing
from zkit.errors import ZkitError, first_line

STARTS = 3
"""Times that a kernel is started. It dies at its start if another takes one of its ports before it does."""
_POOLS = ("OMP_NUM", "MKL_NUM", "OPENBLAS_NUM", "NUMEXPR_NUM", "RAYON_NUM", "VECLIB_MAXIMUM")


@dataclass(frozen=True)
class Job:
    """What a worker needs to know; plain data, so that any ``concurrent.futures.Executor`` can carry it."""

    name: str
    notebook: str
    executed: str
    partial: str
    failed: str
    parameters: dict[str, Any]
    """Injected by papermill."""
    visible: dict[str, Any]
    """All parameters but ``out``: what the stamp covers."""
    reads: tuple[str, ...]
    """The chapters whose results it may read."""
    out: str
    cell_bar: bool = False
    threads: int = 1


@dataclass(frozen=True)
class Failure:
    """Where and how a chapter failed. ``source`` is the cell, ``traceback`` its error; both may be empty."""

    name: str
    reason: str
    source: str = ""
    traceback: str = ""
    kept: str = ""

    def __str__(self) -> str:
        parts = [f"{self.name} failed: {self.reason}"]
        if self.source:
            parts.append("cell:\n" + _indented(self.source))
        if self.traceback:
            parts.append("traceback:\n" + _indented(self.traceback))
        if self.kept:
            parts.append(f"the failed copy is kept in {self.kept}; an earlier good one still stands")
        return "\n".join(parts)


@dataclass(frozen=True)
class Outcome:
    """What became of one job; ``failure`` is None if it succeeded."""

    name: str
    seconds: float
    failure: Failure | None = None


def execute(job: Job) -> Outcome:
    """Execute a chapter into ``job.partial`` and move it to ``job.executed`` when it is whole and stamped.

    Whatever fails is returned, not raised; the last good copy is then left as it was.
    """
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.update(_environment(job.threads))
    begun = time.monotonic()
    try:
        notebook = _executed(job)
        _stamp(notebook, job)
        _save(notebook, Path(job.executed))
        _remove(job.partial, job.failed)
        failure = None
    except papermill.PapermillExecutionError as error:
        number = "?" if error.exec_count is None else error.exec_count
        reason = f"cell [{number}] raised {error.ename}: {error.evalue}".rstrip(": ")
        traceback = "" if error.ename == ZkitError.__name__ else plain("\n".join(error.traceback))  # it says it all
        failure = Failure(job.name, reason, error.source, traceback, keep_failed(job))
    except DeadKernelError:
        source = running_cell(Path(job.partial))
        failure = Failure(
            job.name,
            "its kernel died in this cell: killed, perhaps for lack of memory, or crashed",
            source,
            "",
            keep_failed(job),
        )
    except ZkitError as error:
        _remove(job.partial)
        failure = Failure(job.name, str(error))
    except Exception as error:  # the others' results must not be lost with this one
        failure = Failure(job.name, f"{type(error).__name__}: {error}", kept=keep_failed(job))
    return Outcome(job.name, time.monotonic() - begun, failure)


def keep_failed(job: Job) -> str:
    """Set a partial copy aside for reading; its path, or "" if there is none, or it cannot be kept."""
    try:
        os.replace(job.partial, job.failed)
    except OSError:
        return ""
    return job.failed


def running_cell(partial: Path) -> str:
    """Source of the last cell that a partial copy began; "" if that cannot be told."""
    try:
        cells = json.loads(partial.read_text(encoding="utf-8"))["cells"]
        begun = [cell for cell in cells if cell["metadata"]["papermill"]["start_time"]]
    except (OSError, ValueError, KeyError):
        return ""
    return text(begun[-1]["source"]) if begun else ""


def plain(terminal: str) -> str:
    """Text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", terminal)


def _executed(job: Job) -> Any:
    """The executed notebook, of which a copy grows at ``job.partial``.

    A kernel that dies, or does not answer, before it began the first cell is started again. Raises ZkitError if that
    does not help, and if the copy cannot be written.
    """
    import papermill

    partial = Path(job.partial)
    with writing.writing(partial):
        partial.parent.mkdir(parents=True, exist_ok=True)
    for start in range(1, STARTS + 1):
        try:
            return papermill.execute_notebook(
                _escaped(job.notebook),
                _escaped(job.partial),
                parameters=job.parameters,
                progress_bar={"desc": job.name} if job.cell_bar else False,
                cwd=str(Path(job.notebook).parent),
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # else a warning that sockets are not encrypted
            )
        except OSError as error:
            if not writing.is_refusal(error):
                raise
            raise writing.complaint(partial, error) from error
        except RuntimeError as error:
            if running_cell(partial):
                raise
            said = f"the kernel of {job.name} did not start ({first_line(error)})"
            if start == STARTS:
                raise ZkitError(f"{said}, {STARTS} times; is there memory and a free port?") from error
            print(f"zkit: {said}; it is started again", file=sys.stderr, flush=True)


def _remove(*paths: str) -> None:
    for path in paths:
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)


def _stamp(notebook: Any, job: Job) -> None:
    """Put the provenance into the executed copy and the stamp at the foot of its page.

    A notebook that never calls ``chapter.finish()`` stays unstamped: nobody knows what it used.
    """
    metadata = notebook.metadata["papermill"]
    metadata["input_path"], metadata["output_path"] = Path(job.notebook).name, Path(job.executed).name
    clean = [cell for cell in notebook.cells if provenance.INJECTED not in provenance.tags(cell)]
    for cell in notebook.cells:
        if cell not in clean:
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]  # the foot of the page tells it better
    output = _foot(notebook)
    if output is None:
        return
    record = output.metadata["zkit"]
    if record["chapter"] != job.name:
        raise ZkitError(f"{job.name} calls pages.begin({record['chapter']!r}, ...); give it its own file name")
    undeclared = sorted(set(record["inputs"]) - set(job.reads))
    if undeclared:
        raise ZkitError(
            f"{job.name} reads the results of {undeclared[0]}; list it in the notebook's metadata zkit.needs or "
            "zkit.wants, which the runner orders chapters by"
        )
    stamp = provenance.Stamp(
        cells=provenance.cells_digest(clean),
        parameters=job.visible,
        files=dict(record["files"]),
        weights=dict(record["weights"]),
        inputs=dict(record["inputs"]),
        modules=dict(record["modules"]),
        results=provenance.results_digest(Path(job.out), job.name),
        peak_bytes=record["peak_bytes"],
        executed=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    notebook.metadata.setdefault("zkit", {})["stamp"] = vars(stamp)
    shown = foot.foot(record["chapter"], record["model"], record["parameters"], record["files"], stamp.digest)
    output.data.update(shown)


def _foot(notebook: Any) -> Any:
    """The output of ``chapter.finish()``, or None."""
    outputs = (output for cell in reversed(notebook.cells) for output in cell.get("outputs", []))
    return next((output for output in outputs if "zkit" in output.get("metadata", {})), None)


def _save(notebook: Any, path: Path) -> None:
    import nbformat

    writing.write(path, nbformat.writes(notebook))


def limited(threads: int) -> dict[str, str]:
    """The environment of a process that computes on so many threads."""
    return {f"{pool}_THREADS": str(threads) for pool in _POOLS} | {"TOKENIZERS_PARALLELISM": "false"}


def _environment(threads: int) -> dict[str, str]:
    """So many threads; and the kernel imports the zkit and zkbook that this process did, installed or not."""
    installed = {*site.getsitepackages(), site.getusersitepackages()}
    homes = [home for folder in places.PACKAGES.values() if (home := str(folder.parent)) not in installed]
    before = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry and entry not in homes]
    return limited(threads) | {"PYTHONPATH": os.pathsep.join([*homes, *before])}


def _escaped(path: str) -> str:
    """papermill formats paths with the parameters."""
    return path.replace("{", "{{").replace("}", "}}")


def _indented(block: str) -> str:
    return "\n".join(f"    {line}" for line in block.rstrip().splitlines())
