"""The command line: ``python -m zkit steer | diagnose``, and the verbs of the book if the book is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from zkit import processes
from zkit.errors import ZkitError
from zkit.foreign import visible


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0, 1 if a chapter failed or is stale, 2 for a ZkitError, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    kept = "; what is finished is kept, the same command resumes" if getattr(options, "resumes", False) else ""
    return processes.interruptible(lambda: _done(options), f"zkit: interrupted{kept}")


def steer(options: argparse.Namespace) -> int:
    """Print answers without and with a steering vector."""
    from zkit import report

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
    """Print a recommended layer and strength for steering a style in a model, with reasons."""
    from zkit import report

    print(visible(report.diagnosed(**_contrast(options), questions=options.question, out=options.json)))
    return 0


def _contrast(options: argparse.Namespace) -> dict[str, Any]:
    names = ("dtype", "style", "positive", "negative", "max_new_tokens")
    return {"model": options.model, **{name: getattr(options, name) for name in names}}


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
    for point in entry_points(group="zkit.verbs"):
        point.load()(verbs)
    moved = _verb(verbs, steer, "Answer prompts without and with a steering vector.")
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
    advice = _verb(verbs, diagnose, "Recommend a layer and a strength, with reasons.")
    advice.add_argument("--question", action="append", default=[], help="instead of the built-in ones; repeatable")
    advice.add_argument("--json", metavar="FILE", help="write the recommendation there too")
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    function: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    added = verbs.add_parser(function.__name__, help=summary, description=summary)
    added.set_defaults(verb=function)
    added.add_argument(
        "--model", default="embedded", help='"embedded" (default), a Hugging Face id, a folder or a .gguf file'
    )
    added.add_argument("--style", help="terse, formal, socratic or dry-wit")
    added.add_argument("--positive", help="an instruction, instead of a style")
    added.add_argument("--negative", help="its opposite")
    added.add_argument("--dtype", help="float32, bfloat16 or float16 (default: as stored)")
    added.add_argument("--max-new-tokens", type=int, default=96)
    return added


if __name__ == "__main__":
    sys.exit(main())
