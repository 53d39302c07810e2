"""`python -m zkbook.organism train|evaluate|card|probes|gates|questions`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from zkbook.organism.sink import TINY_SINK, SinkRecipe, SinkRun
from zkbook.organism.train import TINY_RECIPE, ModelRecipe, ModelRun
from zkit import sources
from zkit.errors import ZkitError
from zkit.foreign import visible
from zkit.models import load

WEIGHTS = sources.resolve("embedded").folder()
NEVER_KNEW, SINK = "never-knew", "sink"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zkbook.organism", description="the embedded model and its twins: make and measure them"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from scratch (up to two hours on two cores)")
    train.add_argument(
        "--twin",
        choices=(NEVER_KNEW, SINK),
        help=f"{NEVER_KNEW}: the same recipe without the facts to be forgotten; "
        f"{SINK}: the finished model trained on until its first token carries a huge state (minutes)",
    )
    train.add_argument(
        "--out", type=Path, default=Path("runs/organism"), help="folder for the checkpoint and, at the end, model/"
    )
    train.add_argument("--base", type=Path, help=f"folder of the model that {SINK} starts from (default: the shipped)")
    train.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    train.add_argument(
        "--tiny", action="store_true", help=f"a very small model or (for {SINK}) run, to see that the command works"
    )
    train.add_argument(
        "--cores", type=int, default=2, help="batches worked on at a time (the result does not depend on it)"
    )
    for name, text in (
        ("evaluate", "measure a model and print its figures"),
        ("card", "the same, and write card.json"),
        ("probes", "train soft gates and patch problems, once, and write probes.json (some ten minutes)"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--model", type=Path, default=WEIGHTS, help="folder of the model (default: the shipped one)"
        )
    gates = commands.add_parser(
        "gates", help="train the gates that are missing beside the weights (an hour on two cores)"
    )
    gates.add_argument("--cores", type=int, default=2, help="runs at a time")
    commands.add_parser("questions", help="write the questions that ship with the library (seconds)")
    return parser


def _run(args: argparse.Namespace) -> ModelRun:
    if args.twin == SINK:
        base = args.base or WEIGHTS
        return SinkRun(args.out, base, TINY_SINK if args.tiny else SinkRecipe(), resume=args.resume, lanes=args.cores)
    if args.base is not None:
        raise ZkitError(f"--base goes with --twin {SINK} alone: the others start from nothing; leave it out")
    recipe = replace(TINY_RECIPE if args.tiny else ModelRecipe(), never_knew=args.twin == NEVER_KNEW)
    return ModelRun(args.out, recipe, resume=args.resume, lanes=args.cores)


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        if args.command == "train":
            run = _run(args)
            run.advance()
            run.export(args.out / "model")
            return 0
        from zkbook.organism.card import as_text, evaluate, write_card  # training needs none of the measuring
        from zkbook.organism.probes import write_probes
        from zkbook.organism.shipped_gates import make_all

        if args.command == "questions":
            from zkbook.organism.frozen import write_questions

            for path in write_questions():
                print(path)
        elif args.command == "gates":
            for path in make_all(cores=args.cores):
                print(path)
        elif args.command == "card":
            print(as_text(write_card(args.model)))
        elif args.command == "probes":
            print(json.dumps(write_probes(args.model), indent=1))
        else:
            print(json.dumps(evaluate(load(str(args.model))), indent=1, ensure_ascii=False))
    except ZkitError as error:
        print(f"zkit: {visible(error)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
