"""Execute the chapters that changed, in the order of their needs, several at a time where the model is small."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from zkbook.pages import cores, inputs, locks, prose, provenance, staging, worker
from zkbook.pages.sourcebook import Plan
from zkbook.pages.worker import Failure, Job, Outcome
from zkit import processes, writing


@dataclass
class Report:
    """What a run did, chapter by chapter."""

    executed: dict[str, float] = field(default_factory=dict)
    """Chapter -> seconds."""
    current: list[str] = field(default_factory=list)
    """Chapters that were not executed, because nothing they were made from changed."""
    reworded: list[str] = field(default_factory=list)
    """Chapters that were not executed either: their copies only got the new prose of their notebooks."""
    failures: list[Failure] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{name}: executed in {seconds:.1f} s" for name, seconds in self.executed.items()]
        if self.reworded:
            lines.append(f"new prose, nothing executed: {', '.join(sorted(self.reworded))}")
        if self.current:
            lines.append(f"unchanged: {', '.join(sorted(self.current))}")
        return "\n".join(lines)


def why_stale(plan: Plan) -> list[str]:
    """Reasons to execute a chapter; [] if its executed copy is what an execution now would give."""
    return _why_stale(plan, provenance.cached_weights())


def run(
    plans: Sequence[Plan],
    *,
    force: bool = False,
    executor: Executor | None = None,
    workers: int | None = None,
    bar: bool = True,
) -> Report:
    """Execute those of ``plans`` that are stale (all, with ``force``); they must come in the order of their needs.

    ``executor`` is any ``concurrent.futures.Executor`` whose workers see the same files, for example
    ``dask.distributed.Client(...).get_executor()``; by default a pool of ``workers`` processes, or as many as
    :mod:`zkbook.pages.cores` says. A chapter whose needs failed is not executed. When a worker is killed, what others
    finished is kept, and the next run resumes from there.

    Raises ZkitError, before anything is executed, if another run writes to the same folder, the folder cannot be
    written to, or the model or device of a chapter is not there.
    """
    if not plans:
        return Report()
    count, threads = cores.lanes((plan.parameters["model"] for plan in plans if "model" in plan.parameters), workers)
    lanes = len(plans) if executor is not None else min(count, len(plans))
    run = _Run(list(plans), force, threads, lanes, cell_bar=bar and len(plans) == 1)
    run.check(bar)
    out = plans[0].out
    with locks.held(out / ".lock", f"writes to {out}", "or choose another -p out=FOLDER"):
        for plan in plans:
            plan.partial.unlink(missing_ok=True)
        for place in (out, out / "results"):
            writing.sweep(place)
        with tqdm(total=len(plans), unit="chapter", disable=not bar or len(plans) == 1) as progress:
            if executor is not None:
                return run.drive(executor, progress)
            with _pool(lanes) as pool:
                return run.drive(pool, progress)


class _Run:
    """The state of one call of :func:`run`."""

    def __init__(self, plans: list[Plan], force: bool, threads: int, lanes: int, cell_bar: bool) -> None:
        ahead = _ahead(plans)
        self.waiting = {plan.name: plan for plan in sorted(plans, key=lambda plan: -ahead[plan.name])}
        self.force = force
        self.threads = threads
        self.lanes = lanes
        self.cell_bar = cell_bar
        self.running: dict[Future[Outcome], Job] = {}
        self.report = Report()
        self.weights = provenance.cached_weights()

    def check(self, say: bool) -> None:
        """Raises ZkitError if a chapter that is to be executed could not even start; says how long all may take."""
        stale = [plan for plan in self.waiting.values() if self.force or _why_stale(plan, self.weights)]
        for plan in stale:
            inputs.check(plan.clean.parameters, plan.parameters, plan.out)
        if say and len(stale) > 1:
            minutes = max(sum(plan.seconds for plan in stale) / self.lanes, max(_ahead(stale).values())) / 60
            where = f"{self.lanes} at a time" if self.lanes > 1 else "one by one"
            print(f"zkit: {len(stale)} chapters to execute, {where}: about {minutes:.0f} min", file=sys.stderr)

    def drive(self, executor: Executor, progress: tqdm) -> Report:
        self._submit_ready(executor, progress)
        while self.running:
            progress.set_postfix_str(", ".join(job.name for job in self.running.values()))
            done, _ = wait(self.running, return_when=FIRST_COMPLETED)
            killed = []
            for future in done:
                job = self.running.pop(future)
                try:
                    self._settle(future.result(), progress)
                except BrokenProcessPool:
                    killed.append(job)
            if killed:
                self._broken([*killed, *self.running.values()])
                break
            self._submit_ready(executor, progress)
        progress.set_postfix_str("")
        return self.report

    def _submit_ready(self, executor: Executor, progress: tqdm) -> None:
        """Submit waiting chapters whose needs are met while a lane is free, those with most work behind them first.

        One that is current is met at once, so go round again.
        """
        moved = True
        while moved:
            moved = False
            for plan in list(self.waiting.values()):
                if len(self.running) >= self.lanes:
                    return
                busy = self.waiting.keys() | {job.name for job in self.running.values()}
                if any(name in busy for name in plan.clean.after):
                    continue
                del self.waiting[plan.name]
                moved = True
                if not self._blocked(plan, progress) and not self._current(plan, progress):
                    job = _job(plan, self.cell_bar, self.threads)
                    self.running[executor.submit(worker.execute, job)] = job

    def _blocked(self, plan: Plan, progress: tqdm) -> bool:
        lost = {failure.name for failure in self.report.failures} & set(plan.clean.needs)
        if lost:
            self.report.failures.append(Failure(plan.name, f"not executed, because it needs {', '.join(sorted(lost))}"))
            progress.update()
        return bool(lost)

    def _current(self, plan: Plan, progress: tqdm) -> bool:
        current = not self.force and not _why_stale(plan, self.weights)
        if current:
            reworded = prose.refresh(plan.executed, plan.clean.cells)
            (self.report.reworded if reworded else self.report.current).append(plan.name)
            progress.update()
        return current

    def _settle(self, outcome: Outcome, progress: tqdm) -> None:
        if outcome.failure is None:
            self.report.executed[outcome.name] = outcome.seconds
        else:
            self.report.failures.append(outcome.failure)
        progress.update()

    def _broken(self, lost: list[Job]) -> None:
        """A pool does not say which worker was killed: every chapter in flight is lost, none that had finished."""
        for job in lost:
            source = worker.running_cell(Path(job.partial))
            reason = "a worker process was killed, perhaps for lack of memory"
            if len(lost) > 1:
                reason += f", while {' and '.join(t.name for t in lost)} were running"
            self.report.failures.append(
                Failure(
                    job.name,
                    f"{reason}; finished chapters are kept, give the same command again to resume",
                    source,
                    kept=worker.keep_failed(job),
                )
            )
        for plan in self.waiting.values():
            self.report.failures.append(Failure(plan.name, "not executed, because a worker process was killed"))


def _ahead(plans: Sequence[Plan]) -> dict[str, float]:
    """Chapter -> seconds from its start to the end of the longest chain of chapters that wait for it and each other."""
    found: dict[str, float] = {}
    for plan in reversed(plans):  # each stands after those it needs
        after = [found[other.name] for other in plans if plan.name in other.clean.after]
        found[plan.name] = plan.seconds + max(after, default=0.0)
    return found


def _job(plan: Plan, cell_bar: bool, threads: int) -> Job:
    return Job(
        name=plan.name,
        notebook=str(plan.clean.path),
        executed=str(plan.executed),
        partial=str(plan.partial),
        failed=str(plan.failed),
        parameters=plan.given,
        visible=provenance.visible(plan.parameters),
        reads=tuple(plan.clean.after),
        out=str(plan.out),
        cell_bar=cell_bar,
        threads=threads,
    )


def _why_stale(plan: Plan, weights: provenance.Weights) -> list[str]:
    metadata = staging.metadata_of(plan.executed)
    return provenance.changes(
        None if metadata is None else provenance.read_stamp(metadata),
        cells=provenance.cells_digest(plan.clean.cells),
        parameters=plan.parameters,
        out=plan.out,
        chapter=plan.name,
        weights=weights,
    )


@contextmanager
def _pool(workers: int) -> Iterator[Executor]:
    """A process pool whose workers and their kernels do not outlive this process or an interruption."""
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=processes.end_with_parent)
    try:
        with processes.deaf():
            pool.submit(os.getpid)  # starts them all
        yield pool
        pool.shutdown()
    except BaseException:
        processes.end(*(child.pid for child in set(multiprocessing.active_children()) - before if child.pid))
        pool.shutdown(wait=False, cancel_futures=True)
        raise
