"""The output of the command line: answers with and without a vector, and a recommendation with reasons."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from zkit import writing
from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.models import load
from zkit.positions import parse
from zkit.prompts import check_count
from zkit.refusals import classes, own_refusals
from zkit.replies import ANSWERS
from zkit.steering.apply import alpha_for, dose, edits, reference_norms
from zkit.steering.contrast import Pool, Style, actadd, find
from zkit.steering.gguf import read_gguf
from zkit.steering.scorecard import QUESTIONS, Diagnosis, diagnose
from zkit.steering.vectors import SteeringVector


def steered(
    prompts: Sequence[str],
    *,
    model: str = "embedded",
    dtype: str | None = None,
    style: str | None = None,
    positive: str | None = None,
    negative: str | None = None,
    vector: str | None = None,
    layer: int | None = None,
    alpha: float | None = None,
    target: float | None = None,
    pool: Pool | None = None,
    positions: str = "all",
    first_token: bool = False,
    max_new_tokens: int = 96,
) -> str:
    """Each prompt's answer without and with a vector: of a style, of a pair of instructions, or from a file.

    The heading of a text that is no answer names its class (:data:`zkit.replies.CLASSES`).

    model, dtype: see :func:`zkit.load`. style, or positive and negative: the vector's contrast. vector: a file instead.
    layer: the steered one (None: the middle layer, or all that the file has). alpha, or target: the strength, as a
    factor on the vector or as a dose. pool: the tokens that the vector is made from
    (:func:`zkit.steering.contrast.sides`; None: its default). positions, first_token: the tokens that are steered.
    max_new_tokens: of an answer.
    Raises ZkitError for both strengths or neither, both kinds of vector or neither, a pool for a vector from a file, a
    dose for several layers, a model that cannot be loaded, a damaged vector file, and a vector of another width or
    layer than the model has.
    """
    check_count("max_new_tokens", max_new_tokens)  # before the model is loaded
    if (alpha is None) == (target is None):
        raise ZkitError("give --alpha or --dose, one of them; `python -m zkit diagnose` finds one that is safe")
    if not math.isfinite(strength := alpha if alpha is not None else target if target is not None else 0.0):
        raise ZkitError(f"the strength is {strength}; it must be a finite number")
    where = parse(positions, first_token)
    if vector is not None and (style, positive, negative) != (None, None, None):
        raise ZkitError("give --vector, or a style or a pair of instructions, not both")
    if vector is not None and pool is not None:
        raise ZkitError("a vector from a file is pooled already; give --vector or --pool, not both")
    read = None if vector is None else _read(vector)
    pair = None if vector is not None else chosen(style, positive, negative)
    found = load(model, dtype)
    why = ""
    if pair is not None:
        layer, why = (found.n_layers // 2, ", the middle one") if layer is None else (layer, "")
        v = actadd(found, positive=pair.positive, negative=pair.negative, layer=layer, pool=pool)
    else:
        assert read is not None
        v = read if layer is None else read.at(layer)
    if target is not None and len(v.layers) > 1:
        raise ZkitError(f"a dose speaks of one layer, the vector has layers {v.layers}; choose one with --layer")
    edits(found, v, 0.0, where)  # refuses layers or a width that are not the model's
    usual = reference_norms(found)
    factor = alpha if alpha is not None else alpha_for(strength, v, usual)
    doses = ", ".join(f"{dose(factor, v.at(l), usual):.3g}" for l in v.layers)
    plain, moved = complete(
        found, prompts, [[], edits(found, v, factor, where)], max_new_tokens=max_new_tokens
    )  # side by side in one batch
    own = own_refusals(found)
    kinds = zip(classes(found, prompts, plain, own), classes(found, prompts, moved, own), strict=True)
    layers = ", ".join(map(str, v.layers))
    name, pooling = vector or style or f"{positive!r} - {negative!r}", v.note.get("pooling")
    lines = [
        f"model   {found.id}, layers 0 to {found.n_layers - 1}",
        f"vector  {name}" + (f": {pooling}" if pooling else ""),
        *([] if v.note.get("model", found.id) == found.id else [f"        made from {v.note['model']}"]),
        f"layer   {layers}{why}",
        f"alpha   {factor:.4g}",
        f"dose    {doses}",
    ]
    for prompt, before, after, (one, other) in zip(prompts, plain, moved, kinds, strict=True):
        lines += ["", f"prompt  {prompt}", "", f"--- baseline{_but(one)}", before.text]
        lines += ["", f"--- steered{_but(other)}", after.text]
    return "\n".join(lines)


def diagnosed(
    *,
    model: str = "embedded",
    dtype: str | None = None,
    style: str | None = None,
    positive: str | None = None,
    negative: str | None = None,
    questions: Sequence[str] = (),
    max_new_tokens: int = 96,
    out: str | None = None,
) -> str:
    """The scorecard, the curve, the recommendation and the command that applies it; also as JSON to the file ``out``.

    model, dtype: see :func:`zkit.load`. style, or positive and negative: the contrast. questions: to answer (none: the
    built-in ones). max_new_tokens: of an answer. In JSON an infinite dose is null.
    Raises ZkitError for an ``out`` that cannot be written, before anything is loaded; for both kinds of instructions or
    neither, a model that cannot be loaded or does not follow the instructions, and a vector that does no more than
    random ones.
    """
    check_count("max_new_tokens", max_new_tokens)  # before the model is loaded
    pair = chosen(style, positive, negative)
    file = None if out is None else Path(out).expanduser()
    if file is not None:
        if file.is_dir() or not file.parent.is_dir():
            raise ZkitError(f"cannot write to {file}: give the name of a file in a folder that exists")
        writing.check_place(file)
    asked = list(questions) or list(QUESTIONS)
    found = diagnose(load(model, dtype), pair, asked, max_new_tokens=max_new_tokens)
    words = ["--style", style] if style else ["--positive", pair.positive, "--negative", pair.negative]
    words += ["--layer", str(found.layer), "--dose", f"{found.dose:g}", "--prompt", asked[0]]
    if dtype:
        words = ["--dtype", dtype, *words]
    command = shlex.join(["python", "-m", "zkit", "steer", "--model", model, *words])
    if file is not None:
        writing.write(file, _as_json(found, {"model": model, **vars(pair), "command": command}))
    return "\n".join(
        [
            f"{model}: {pair.positive!r} - {pair.negative!r}, {len(asked)} questions",
            "",
            "--- scorecard, one row a layer",
            _table(found.table),
            "",
            f"--- texts at layer {found.layer}",
            _table(found.curve),
            "",
            "--- recommendation",
            f"layer {found.layer}, dose {found.dose:g}, alpha {found.alpha:.4g}",
            *(f"- {reason}" for reason in found.reasons),
            "",
            command,
        ]
    )


def chosen(style: str | None, positive: str | None, negative: str | None) -> Style:
    """The named style, or the given pair. Raises ZkitError for both, neither, half a pair and an unknown style."""
    if style is not None and (positive, negative) == (None, None):
        return find(style)
    if style is None and positive is not None and negative is not None:
        return Style(positive, negative)
    raise ZkitError("give --style, or both --positive and --negative")


def _but(kind: str) -> str:
    """The class of a text in brackets, if it is not an answer."""
    return "" if kind in ANSWERS else f" ({kind})"


def _read(path: str) -> SteeringVector:
    where = Path(path).expanduser()
    return read_gguf(where) if where.suffix == ".gguf" else SteeringVector.load(where)


def _table(frame: pd.DataFrame) -> str:
    return frame.to_string(index=False, float_format=lambda x: f"{x:.3g}")


def _as_json(found: Diagnosis, head: dict[str, str]) -> str:
    def plain(x: float) -> float | None:
        return float(x) if math.isfinite(x) else None

    tables = {
        name: [{column: plain(x) if isinstance(x, float) else int(x) for column, x in row.items()} for row in rows]
        for name, rows in {"table": found.table.to_dict("records"), "curve": found.curve.to_dict("records")}.items()
    }
    where = {name: plain(getattr(found, name)) for name in ("alpha", "dose", "changes", "collapses", "refuses")}
    content = {**head, "layer": found.layer, **where, "reasons": list(found.reasons), **tables}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"
