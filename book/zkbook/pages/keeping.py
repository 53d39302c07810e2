"""Keep a run on a model that readers do not have: its executed chapter becomes a page of the book, ``book/field/``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from zkbook.pages import notebook, provenance, results, staging
from zkbook.pages.parameters import text
from zkbook.pages.places import results_file
from zkbook.pages.sourcebook import Plan
from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import read_text


def folder(root: Path) -> Path:
    """Where kept pages are, and their results in ``results/``. ``_toc.yml`` lists them."""
    return root / "book" / "field"


def keep(plan: Plan, root: Path) -> Path:
    """Copy the executed chapter of a run, and its results, into the book; its path there.

    What is kept names the model by its last name and holds no path of this machine, and nothing of what a run wrote to
    the standard error stream, such as where a model was put. Its heading names the model too, and a directive under it
    says at build time what was run, when, and whether the chapter has changed since. Links to
    other chapters lead to those on the embedded model. Raises ZkitError, and keeps nothing, if the chapter is not
    whole, is a smoke run or one of the embedded model, was executed from other code than its notebook has now, or if a
    path of this machine is left.
    """
    model, profile = (str(plan.parameters.get(key, "embedded")) for key in ("model", "profile"))
    name = Path(model).name if Path(model).is_absolute() else model
    remedy = f"run it first: python -m zkit run {plan.clean.path} --profile {profile} --model {model}"
    if model == "embedded" or profile == "smoke":
        raise ZkitError("what is kept is a full run on another model; give --profile and --model")
    executed = notebook.read(plan.executed) if plan.executed.is_file() else None
    objection = "it was not executed" if executed is None else staging.complaint(executed)
    if objection or executed is None:
        raise ZkitError(f"{plan.name} cannot be kept: {objection}; {remedy}")
    stamp = provenance.read_stamp(executed["metadata"])
    if stamp is None or stamp.cells != provenance.cells_digest(plan.clean.cells):
        raise ZkitError(f"{plan.name} cannot be kept: its code has changed since it was executed; {remedy}")
    found = results_file(plan.out, plan.name)
    results.load(found)
    places = {model: name, str(plan.out): f"runs/{plan.out.name}"}
    page = json.dumps(_introduced(executed, plan.name, Path(name).stem), indent=1, ensure_ascii=False) + "\n"
    contents = {
        folder(root) / f"{plan.name}.ipynb": _without(page, places),
        results_file(folder(root), plan.name): _without(read_text(found), places),
    }
    for path, content in contents.items():
        _check(content, [str(Path(model).parent) if name != model else "", str(root), str(Path.home())], path)
    for path, content in contents.items():
        with writing.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        writing.write(path, content)
    return next(iter(contents))


def _introduced(executed: dict[str, Any], chapter: str, model: str) -> dict[str, Any]:
    """The notebook with the model in its heading, what was run under it, and links to chapters that are there."""
    cells = [
        _quiet(cell) if cell["cell_type"] == "code" else cell | {"source": _linked(cell)} for cell in executed["cells"]
    ]
    first = cells[0]
    heading, *rest = first["source"].split("\n")
    if first["cell_type"] != "markdown" or not heading.startswith("# "):
        raise ZkitError(f"{chapter} does not begin with a heading; its page could not say which model it is about")
    first["source"] = "\n".join([f"{heading}, on {model}", *rest])
    note = {"cell_type": "markdown", "id": "kept", "metadata": {}, "source": f"```{{zk-kept}} {chapter}\n```"}
    return executed | {"cells": [first, note, *cells[1:]]}


def _quiet(cell: dict[str, Any]) -> dict[str, Any]:
    return cell | {"outputs": [output for output in cell["outputs"] if output.get("name") != "stderr"]}


def _linked(cell: dict[str, Any]) -> str:
    return re.sub(r"\{doc\}`(?!/)([^`<>]+)`", r"{doc}`/book/executed/\1`", text(cell["source"]))


def _without(content: str, places: dict[str, str]) -> str:
    for path, name in places.items():
        content = content.replace(json.dumps(path)[1:-1], name)
    return content


def _check(content: str, paths: list[str], kept: Path) -> None:
    """Raise ZkitError, showing the place, if one of ``paths`` is in what is to be kept."""
    for path in paths:
        place = content.find(json.dumps(path)[1:-1] + "/") if len(path) > 1 else -1
        if place >= 0:
            around = content[max(0, place - 60) : place + 80]
            raise ZkitError(f"{kept.name} would hold a path of this machine, {path}, in: {around!r}; it is not kept")
