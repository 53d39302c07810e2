"""`python -m zkit.organism train|evaluate|card`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zkit.errors import ZkitError
from zkit.models import load
from zkit.organism.card import as_text, evaluate, write_card
from zkit.organism.train import TINY_RECIPE, Recipe, Run

WEIGHTS = Path(__file__).parent / "weights"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m zkit.organism", description="the embedded model: make and measure it"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from scratch (about an hour on two cores)")
    train.add_argument(
        "--out", type=Path, default=Path("runs/organism"), help="folder for the checkpoint and, at the end, model/"
    )
    train.add_argument("--resume", action="store_true", help="go on from the folder's checkpoint")
    train.add_argument("--tiny", action="store_true", help="a very small model, to see that the command works")
    train.add_argument(
        "--cores", type=int, default=2, help="batches worked on at a time (the result does not depend on it)"
    )
    for name, text in (
        ("evaluate", "measure a model and print its figures"),
        ("card", "the same, and write card.json"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument(
            "--model", type=Path, default=WEIGHTS, help="folder of the model (default: the shipped one)"
        )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        if args.command == "train":
            run = Run(args.out, TINY_RECIPE if args.tiny else Recipe(), resume=args.resume, lanes=args.cores)
            run.advance()
            run.export(args.out / "model")
        elif args.command == "card":
            print(as_text(write_card(args.model)))
        else:
            print(json.dumps(evaluate(load(str(args.model))), indent=1, ensure_ascii=False))
    except ZkitError as error:
        print(f"zkit: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
