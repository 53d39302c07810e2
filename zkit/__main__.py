"""The command line: ``python -m zkit run | keep | book | check | steer | diagnose | replicate | ledger``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zkit import processes
from zkit.errors import ZkitError
from zkit.foreign import visible

if TYPE_CHECKING:
    from zkit.pages.runner import Report
    from zkit.pages.sourcebook import Plan


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0; 1 if a chapter failed or is stale; 2 for a mistake the user can mend; 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    kept = "; what is finished is kept, the same command resumes" if options.verb in (run, book, replicate) else ""
    return processes.interruptible(lambda: _done(options), f"zkit: interrupted{kept}")


def run(options: argparse.Namespace) -> int:
    """Execute one notebook, unless nothing that it was made from changed."""
    from zkit.pages import runner, sourcebook

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
    from zkit.pages import keeping, places

    plan = _plan(options)
    print(keeping.keep(plan, places.book_root(places.root_of(plan.clean.path))))
    return 0


def book(options: argparse.Namespace) -> int:
    """Execute the chapters that changed, stage the run, build the HTML."""
    from zkit.pages import build, locks, places, runner, staging

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
    from zkit.pages import places, runner, staging

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


def steer(options: argparse.Namespace) -> int:
    """Print answers without and with a steering vector."""
    from zkit.steering import report

    text = report.steered(
        options.prompt,
        **_contrast(options),
        vector=options.vector,
        layer=options.layer,
        alpha=options.alpha,
        target=options.dose,
        pool=options.pool,
        positions=options.positions,
        first_token=options.first_token,
    )
    print(visible(text))
    return 0


def diagnose(options: argparse.Namespace) -> int:
    """Print how a style can be steered in a model: a layer, a strength, and why."""
    from zkit.steering import report

    print(visible(report.diagnosed(**_contrast(options), questions=options.question, out=options.json)))
    return 0


def replicate(options: argparse.Namespace) -> int:
    """Measure what three systems published, on any model, and print what came of each figure."""
    from zkit.replication import report, run

    names = ("model", "source", "dtype", "gates", "taken_for", "long", "force", "root")
    found, file = run.replicate(**{name: getattr(options, name) for name in names})
    print(report.text(found))
    print(f"\n{file}")
    if options.keep:
        print(run.keep(found, options.root))
    return 1 if report.failures(found) else 0


def ledger(options: argparse.Namespace) -> int:
    """Append the results of any runs to a ledger, judged by the rules that the conjectures came with."""
    from zkit.claims.conjectures import shipped
    from zkit.claims.ledger import Ledger
    from zkit.pages import results

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


def _contrast(options: argparse.Namespace) -> dict[str, Any]:
    names = ("dtype", "style", "positive", "negative", "max_new_tokens")
    return {"model": options.model, **{name: getattr(options, name) for name in names}}


def _plan(options: argparse.Namespace) -> Plan:
    from zkit.pages import sourcebook

    clean = sourcebook.read(Path(options.notebook).expanduser())
    return sourcebook.plan(clean, options.profile, options.model, sourcebook.typed(options.parameters, clean))


def _plans(options: argparse.Namespace, root: Path) -> list[Plan]:
    from zkit.pages import places, sourcebook

    chapters = sourcebook.in_order([sourcebook.read(path) for path in places.chapters(root)])
    return [sourcebook.plan(chapter, options.profile, options.model) for chapter in chapters]


def _failed(report: Report) -> bool:
    for failure in report.failures:
        print(f"\nzkit: {visible(failure)}", file=sys.stderr)
    return bool(report.failures)


def _done(options: argparse.Namespace) -> int:
    try:
        status: int = options.verb(options)
        return status
    except ZkitError as error:
        print(f"zkit: {visible(error)}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m zkit", description="Run chapters, build the book, steer models.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def plain(function: Callable[[argparse.Namespace], int], summary: str, model: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(function.__name__, help=summary, description=summary)
        added.set_defaults(verb=function)
        added.add_argument("--model", help=f'"embedded", a Hugging Face id, a folder or a .gguf file{model}')
        return added

    def verb(function: Callable[[argparse.Namespace], int], summary: str) -> argparse.ArgumentParser:
        added = plain(function, summary, ", instead of the profile's")
        added.add_argument("--profile", default="embedded", help="smoke, embedded (the book) or qwen")
        return added

    one = verb(run, "Execute one notebook with parameters of your own.")
    kept = verb(keep, "Keep a chapter that was executed on another model as a page of the book.")
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
    whole = verb(book, "Execute what changed, then build the book.")
    whole.add_argument("--no-build", action="store_true", help="execute and stage only")
    whole.add_argument("--workers", type=int, help="chapters at a time (default: one a core, a large model alone)")
    for added in (one, whole):
        added.add_argument("--force", action="store_true", help="execute even what has not changed")
    for added in (whole, verb(check, "List stale chapters and why; status 1 if there are any.")):
        added.add_argument("--root", help="folder of the book (default: the checkout zkit is part of)")
    moved = plain(steer, "Answer prompts without and with a steering vector.", " (default: embedded)")
    moved.set_defaults(model="embedded")
    moved.add_argument("--prompt", action="append", required=True, help="repeatable")
    moved.add_argument("--alpha", type=float, help="factor on the vector")
    moved.add_argument("--dose", type=float, help="alpha |v| over the usual norm of a token, instead of --alpha")
    moved.add_argument("--layer", type=int, help="from 0 (default: the middle one, or all that a file has)")
    moved.add_argument("--vector", metavar="FILE", help="a .safetensors or .gguf file, instead of a style")
    moved.add_argument("--positions", default="all", help="all, prompt, generated or last (default: all)")
    moved.add_argument(
        "--pool", help="suffix (default), content, all, literal, last or response: what a vector is made from"
    )
    moved.add_argument("--first-token", action="store_true", help="steer the first token too, as published")
    advice = plain(diagnose, "Recommend a layer and a strength, with reasons.", " (default: embedded)")
    advice.set_defaults(model="embedded")
    advice.add_argument("--question", action="append", default=[], help="instead of the built-in ones; repeatable")
    advice.add_argument("--json", metavar="FILE", help="write the recommendation there too")
    again = plain(replicate, "Measure published figures on a model, and compare.", " (default: embedded)")
    again.set_defaults(model="embedded")
    again.add_argument("--source", help="gates, steering or z: figures of one source only")
    again.add_argument("--gates", metavar="FOLDER", help="a published variant's gates, which its figures need")
    again.add_argument("--is", dest="taken_for", metavar="ID", help="the hub id of what a folder or file holds")
    again.add_argument("--long", action="store_true", help="also what takes long: the patching table")
    again.add_argument("--force", action="store_true", help="measure anew what an earlier run has kept")
    again.add_argument(
        "--keep", action="store_true", help="put the table into the book, for another model than its own"
    )
    again.add_argument("--dtype", help="float32, bfloat16 or float16 (default: as stored)")
    again.add_argument("--root", help="folder of the book (default: the checkout zkit is part of)")
    grown = verbs.add_parser("ledger", help=(says := "Append results of runs to a ledger of claims."), description=says)
    grown.set_defaults(verb=ledger)
    grown.add_argument("results", nargs="+", help="results files of chapters: <out>/results/*.json")
    grown.add_argument("--into", default="ledger.json", help="the ledger; made from the shipped conjectures if missing")
    for added in (moved, advice):
        added.add_argument("--style", help="terse, formal, socratic or dry-wit")
        added.add_argument("--positive", help="an instruction, instead of a style")
        added.add_argument("--negative", help="its opposite")
        added.add_argument("--dtype", help="float32, bfloat16 or float16 (default: as stored)")
        added.add_argument("--max-new-tokens", type=int, default=96)
    return parser


if __name__ == "__main__":
    sys.exit(main())
