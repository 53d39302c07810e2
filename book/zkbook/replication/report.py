"""A run as a table: for the terminal, and for a page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from zkbook import tables
from zkbook.replication.kept import Results, Row, load
from zkit import foreign
from zkit.foreign import Html


def rows(path: str | Path) -> list[dict[str, str]]:
    """The rows of a results file as texts, for :func:`zkbook.tables.show`: one for each published number.

    Raises ZkitError as :func:`zkbook.replication.kept.load` does.
    """
    return in_cells(load(path))


def in_cells(found: Results) -> list[dict[str, str]]:
    return [
        {
            "figure": ", ".join(filter(None, (row.says, row.place))),
            "unit": row.unit,
            "speaks of": row.speaks_of,
            "published": row.printed,
            "tolerance": row.tolerance,
            "measured": "" if row.measured is None else str(row.measured),
            "verdict": f"{row.status}: {row.why}" if row.why else row.status,
        }
        for row in found.rows
    ]


def head(found: Results) -> list[str]:
    """What to know before reading the table: the model, its massive tokens, whether it is trained, and the counts."""
    lines = [f"model    {found.model}, weights {found.sha256[:12]}, {found.dtype}"]
    if found.taken_for:
        lines.append(f"         taken for {found.taken_for}, as asked")
    lines += [f"massive  {line}" if i == 0 else f"         {line}" for i, line in enumerate(_massive(found))]
    if found.answer_loss is not None and found.even_bet is not None:
        said = "UNTRAINED: no better than chance" if found.untrained else "trained"
        lines.append(f"loss     {found.answer_loss} nats per token of known facts, chance {found.even_bet:.2f}: {said}")
    counts = Counter(row.status for row in found.rows)
    lines.append("rows     " + ", ".join(f"{n} {status}" for status, n in counts.most_common()))
    return lines


def text(found: Results) -> str:
    """The whole run as text; nothing in it acts on a terminal."""
    lines, source, figure = head(found), "", ""
    for row in found.rows:
        if row.source != source:
            source = row.source
            lines += ["", f"--- {source}: figures of others, and of this model"]
        if row.key != figure:
            figure = row.key
            lines += ["", f"{row.says} ({row.unit}; {row.speaks_of})"]
            lines += [f"  {name}: {said}" for name, said in (("note", row.note), ("ours", row.ours)) if said]
        measured = "-" if row.measured is None else str(row.measured)
        verdict = f"{row.status}: {row.why}" if row.why else row.status
        said = f"{row.printed} ({row.tolerance})" if row.tolerance else row.printed
        lines.append(f"  {row.place:<22} published {said:<26} measured {measured:<44} {verdict}")
    return foreign.visible("\n".join(lines))


def failures(found: Results) -> list[Row]:
    """The rows whose measurement failed."""
    return [row for row in found.rows if row.failed]


def printed(found: Results) -> Html:
    """The run as a piece of a page."""
    above = Html("").join(Html("<p>{}</p>").format(line) for line in head(found))
    return above + tables.to_html(in_cells(found), f"Published figures and those of {found.model}")


def _massive(found: Results) -> list[str]:
    if not found.massive:
        return ["no token of the prompts is far above the median of its prompt"]
    return [
        f"{token.text!r} (token {token.token} {'of the template around' if token.template else 'of'} "
        f"{token.prompt[:30]!r}): layers {_span(token.layers)}, up to {token.times:.1f} times the median, "
        f"at layer {token.at_layer}"
        for token in found.massive
    ]


def _span(layers: list[int]) -> str:
    """Layers as runs: 2 to 21, 24."""
    runs: list[list[int]] = []
    for layer in layers:
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
