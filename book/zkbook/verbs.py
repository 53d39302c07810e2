"""What the book adds to the command line: ``python -m zkit run | keep | book | check | replicate | ledger``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from zkit.errors import ZkitError
from zkit.foreign import visible

if TYPE_CHECKING:
    from zkbook.pages.runner import Report
    from zkbook.pages.sourcebook import Plan

    Verbs = argparse._SubParsersAction[argparse.ArgumentParser]


def add(verbs: Verbs) -> None:
    """Add the verbs to those of ``python -m zkit``; the package's entry point in the group ``zkit.verbs``."""
    one = _chapters(verbs, run, "Execute one notebook with parameters of your own.", resumes=True)
    kept = _chapters(verbs, keep, "Keep a chapter that was executed on another model as a page of the book.")
    for added in (one, kept):
        added.add_argument("notebook")
        added.add_argument(
            "-p",
            dest="parameters",
            metavar="NAME=VALUE",
            action="append",
            default=[],
            help="set a parameter; repeatable",
        )
    whole = _chapters(verbs, book, "Execute what changed, then build the book.", resumes=True)
    whole.add_argument("--no-build", action="store_true", help="execute and stage only")
    whole.add_argument("--workers", type=int, help="chapters at a time (default: one a core, a large model alone)")
    for added in (one, whole):
        added.add_argument("--force", action="store_true", help="execute even what has not changed")
    for added in (whole, _chapters(verbs, check, "List stale chapters and why; status 1 if there are any.")):
        added.add_argument("--root", help=_ROOT)
    _replicate(_verb(verbs, replicate, "Measure published figures on a model, and compare.", resumes=True))
    grown = _verb(verbs, ledger, "Append results of runs to a ledger of claims.")
    grown.add_argument("results", nargs="+", help="results files of chapters: <out>/results/*.json")
    grown.add_argument("--into", default="ledger.json", help="the ledger; made from the shipped conjectures if missing")


def run(options: argparse.Namespace) -> int:
    """Execute one notebook, unless nothing that it was made from changed."""
    from zkbook.pages import runner, sourcebook

    plan = _plan(options)
    sourcebook.missing_needs(plan)
    report = runner.run([plan], force=options.force)
    if _failed(report):
        return 1
    if report.current:
        print(f"{plan.name} is unchanged (--force executes it again)")
    if report.reworded:
        print(f"{plan.name} has new prose and was not executed again (--force does)")
    print(plan.executed)
    return 0


def keep(options: argparse.Namespace) -> int:
    """Keep a chapter that `run` executed on another model as a page of the book."""
    from zkbook.pages import keeping, places

    plan = _plan(options)
    print(keeping.keep(plan, places.book_root(places.root_of(plan.clean.path))))
    return 0


def book(options: argparse.Namespace) -> int:
    """Execute the chapters that changed, stage the run, build the HTML."""
    from zkbook.pages import build, locks, places, runner, staging

    root = places.book_root(options.root)
    plans = _plans(options, root)
    with locks.held(root / "_build" / ".lock", f"makes the book in {root}", "for both write to the same pages"):
        report = runner.run(plans, force=options.force, workers=options.workers)
        print(report)
        if _failed(report):
            return 1
        staging.stage(plans, root)
        if options.no_build:
            return 0
        built = build.build(root)
    print(f"{'built' if built else 'unchanged:'} {build.html(root) / 'index.html'}")
    return 0


def check(options: argparse.Namespace) -> int:
    """List the chapters that `book` would execute or stage again, and why."""
    from zkbook.pages import places, runner, staging

    root = places.book_root(options.root)
    stale = 0
    for plan in _plans(options, root):
        why = runner.why_stale(plan) or staging.why_not_staged(plan, root)
        stale += bool(why)
        if why:
            print(f"{plan.name}: {'; '.join(why)}")
    if stale:
        print(f"zkit: {stale} stale; `make book` brings the book up to date", file=sys.stderr)
    else:
        print("every chapter is current")
    return 1 if stale else 0


def replicate(options: argparse.Namespace) -> int:
    """Measure what three systems published, on any model, and print what came of each figure."""
    from zkbook.replication import report, run

    names = ("model", "source", "dtype", "gates", "taken_for", "long", "force", "root")
    found, file = run.replicate(**{name: getattr(options, name) for name in names})
    print(report.text(found))
    print(f"\n{file}")
    if options.keep:
        print(run.keep(found, options.root))
    return 1 if report.failures(found) else 0


def ledger(options: argparse.Namespace) -> int:
    """Append the results of any runs to a ledger, judged by the rules that the conjectures came with."""
    from zkbook.claims.conjectures import shipped
    from zkbook.claims.ledger import Ledger
    from zkbook.pages import results

    file = Path(options.into)
    grown = Ledger.read(file) if file.exists() else shipped()
    for path in map(Path, options.results):
        found = results.load(path)
        if found["parameters"].get("profile") == "smoke":
            raise ZkitError(f"{path} is of a smoke run, which carries no verdict; run the chapter on another profile")
        run_of = f"{path.stem} {results.digest(found)[:12]}"
        grown = grown.append(found["stats"], found["parameters"].get("model", "embedded"), run_of)
    grown.save(file)
    for status, count in grown.counts().items():
        print(f"{count:4d} {status}")
    print(file)
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    from zkbook.pages import sourcebook

    clean = sourcebook.read(Path(options.notebook).expanduser())
    return sourcebook.plan(clean, options.profile, options.model, sourcebook.typed(options.parameters, clean))


def _plans(options: argparse.Namespace, root: Path) -> list[Plan]:
    from zkbook.pages import places, sourcebook

    chapters = sourcebook.in_order([sourcebook.read(path) for path in places.chapters(root)])
    return [sourcebook.plan(chapter, options.profile, options.model) for chapter in chapters]


def _failed(report: Report) -> bool:
    for failure in report.failures:
        print(f"\nzkit: {visible(failure)}", file=sys.stderr)
    return bool(report.failures)


_ROOT = "folder of the book (default: the checkout zkit is part of)"
_MODEL = '"embedded", a Hugging Face id, a folder or a .gguf file'


def _verb(
    verbs: Verbs, function: Callable[[argparse.Namespace], int], summary: str, resumes: bool = False
) -> argparse.ArgumentParser:
    added = verbs.add_parser(function.__name__, help=summary, description=summary)
    added.set_defaults(verb=function, resumes=resumes)
    return added


def _chapters(
    verbs: Verbs, function: Callable[[argparse.Namespace], int], summary: str, resumes: bool = False
) -> argparse.ArgumentParser:
    added = _verb(verbs, function, summary, resumes)
    added.add_argument("--model", help=f"{_MODEL}, instead of the profile's")
    added.add_argument("--profile", default="embedded", help="smoke, embedded (the book) or qwen")
    return added


def _replicate(again: argparse.ArgumentParser) -> None:
    again.add_argument("--model", default="embedded", help=f"{_MODEL} (default: embedded)")
    again.add_argument("--source", help="gates, steering or z: figures of one source only")
    again.add_argument("--gates", metavar="FOLDER", help="a published variant's gates, which its figures need")
    again.add_argument("--is", dest="taken_for", metavar="ID", help="the hub id of what a folder or file holds")
    again.add_argument("--long", action="store_true", help="also what takes long: the patching table")
    again.add_argument("--force", action="store_true", help="measure anew what an earlier run has kept")
    again.add_argument(
        "--keep", action="store_true", help="put the table into the book, for another model than its own"
    )
    again.add_argument("--dtype", help="float32, bfloat16 or float16 (default: as stored)")
    again.add_argument("--root", help=_ROOT)
