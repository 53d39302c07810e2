"""One command measures what three systems published, on any model, and says what came of each figure."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from zkbook.experiments import trained
from zkbook.organism.facts import held_out_facts
from zkbook.organism.plain import in_plain
from zkbook.pages import keeping, locks, places
from zkbook.replication import kept, records
from zkbook.replication.host import Figures, Host
from zkbook.replication.kept import FILE, Kept, Massive, Results, Row
from zkbook.replication.measures import measure
from zkbook.replication.problems import problems
from zkbook.replication.records import Figure
from zkbook.replication.report import printed
from zkbook.replication.steering import PROBE
from zkbook.replication.verdicts import Found, Measured, NotMeasured, is_same_model, judge
from zkit import writing
from zkit.anatomies import anatomy
from zkit.errors import ZkitError, first_line
from zkit.foreign import visible
from zkit.models import load
from zkit.sources import resolve

_FACTS = 24
"""Questions whose right answers a trained model must find likelier than chance."""
_TOO_LONG = "takes long (--long)"


def replicate(
    model: str = "embedded",
    *,
    source: str | None = None,
    dtype: str | None = None,
    gates: str | None = None,
    taken_for: str | None = None,
    long: bool = False,
    force: bool = False,
    root: str | None = None,
    tell: Callable[[str], None] = lambda line: print(visible(line), file=sys.stderr),
) -> tuple[Results, Path]:
    """Measure the published figures of one source or of all on a model; the results, and the file that keeps them.

    gates: folder of a published variant of gates, which its figures need. taken_for: the hub id of the model that a
    folder or file holds, since figures speak of one model. long: also what takes long. force: measure anew what
    an earlier run has kept. root: the book whose ``published.yml`` is read. tell: is told what is being measured.

    What an earlier run measured from the same weights and records is not measured again. A function that fails says so
    in its rows and loses no others. Raises ZkitError for an unknown source, a folder of gates that is not there, a
    model that cannot be loaded or has another shape than what it is taken for, broken records, and another run on it.
    """
    book = places.book_root(root)
    published = records.read(book / "book" / "published.yml")
    chosen = published.of_source(source)
    if gates is not None and not Path(gates).expanduser().exists():
        raise ZkitError(f"there are no gates at {gates}; give the folder of a published variant")
    if taken_for is not None and taken_for not in (known := [shape.id for shape in published.models.values()]):
        raise ZkitError(f"no figure speaks of {taken_for!r}; the models are {', '.join(known)}")
    resolve(model)  # a mistake in its name leaves no folder behind
    path = where(model, book)
    folder = path.parent
    writing.check_folder(folder)
    with locks.held(folder / ".lock", f"measures {model}", "for both write to the same file"):
        before = kept.load(path).kept if path.is_file() else {}
        net = load(model, dtype)
        tell(f"looking at {model}")
        host = Host(net, published, folder, None if gates is None else Path(gates).expanduser().resolve())
        found = _looked_at(host, model, taken_for).model_copy(update={"kept": dict(before)})
        failed = {}
        for name in dict.fromkeys(figure.measured.by for figure in chosen.values() if figure.measured):
            mine = {key: f for key, f in published.figures.items() if f.measured and f.measured.by == name}
            try:
                _measure(name, host, mine, found.kept, long, force, tell)
            except Exception as error:  # any of torch's or the library's: the other rows stand
                failed[name] = str(error) if isinstance(error, ZkitError) else first_line(error)
                tell(f"{name} failed: {failed[name]}")
            kept.save(path, found)
        rows = [row for key, figure in chosen.items() for row in _rows(key, figure, host, found, failed)]
        found = found.model_copy(update={"rows": rows})
        kept.save(path, found)
        writing.write(folder / "replication.html", str(printed(found)))
    return found, path


def where(model: str, book: Path | None = None) -> Path:
    """The file that :func:`replicate` leaves for a model."""
    return places.run_folder((book or places.book_root()) / "notebooks" / "replicate", "replicate", model) / FILE


def keep(found: Results, root: str | None = None) -> Path:
    """Put a table into the book, beside the pages kept from a real model; its path there.

    It names the model by its last name and holds the rows alone. Raises ZkitError for the embedded model, whose own
    table any reader makes in seconds, for untrained weights, and for rows that failed.
    """
    if found.model == "embedded":
        raise ZkitError("what is kept is a table of another model; give --model")
    if found.untrained:
        raise ZkitError(f"{found.model} is not trained; its table says nothing")
    if lost := [row.key for row in found.rows if row.failed]:
        raise ZkitError(f"{len(lost)} rows failed, the first {lost[0]}; a table is kept when it is whole")
    path = keeping.folder(places.book_root(root)) / FILE
    kept.save(path, found.model_copy(update={"model": Path(found.model).name, "kept": {}}))
    return path


def _looked_at(host: Host, name: str, taken_for: str | None) -> Results:
    """What to know of a model before any figure of it: its massive tokens, and whether it is trained.

    Raises ZkitError for a model whose shape is not that of the one it is to be taken for.
    """
    model = host.model
    for shape in host.published.models.values():
        if shape.id == taken_for and not is_same_model(taken_for, host.shape, shape):
            raise ZkitError(f"{name} has another shape than {taken_for}; leave --is out, and its figures are its own")
    known = [in_plain(item) for item in held_out_facts("en")[:_FACTS]]
    loss = trained.answer_loss(model, [str(i.prompt) for i in known], [i.answer for i in known], chat=False)
    return Results(
        model=name,
        sha256=model.sha256,
        dtype=str(model.dtype).removeprefix("torch."),
        taken_for=taken_for or "",
        massive=massive_tokens(host),
        answer_loss=Measured(value=loss.value, n=loss.n, ci=[loss.low, loss.high]),
        even_bet=(even := trained.even_bet(model)),
        untrained=trained.is_untrained(loss, even),
    )


def _measure(
    name: str,
    host: Host,
    figures: Figures,
    done: dict[str, Kept],
    long: bool,
    force: bool,
    tell: Callable[[str], None],
) -> None:
    """Add to ``done`` what a function finds for all figures that name it, unless it is there and current.

    What is not current is taken out. Raises ZkitError for a function that finds another number of values than asked
    for, and as the function does.
    """
    stamp = kept.stamp(name, host, figures)
    too_long = not long and any(f.measured and f.measured.long for f in figures.values())
    if name in done and done[name].stamp == stamp and (too_long or not force):
        return
    done.pop(name, None)
    if too_long:
        return
    tell(f"measuring {name}")
    start = time.perf_counter()
    answers = measure(name, host, figures)
    for key, figure in figures.items():
        if len(answers[key]) != len(figure.places):
            raise ZkitError(f"{name} found {len(answers[key])} values for {len(figure.places)} places of {key}")
    found = {key: [x if isinstance(x, Measured) else x.why for x in answers[key]] for key in figures}
    done[name] = Kept(stamp=stamp, seconds=time.perf_counter() - start, found=found)


def massive_tokens(host: Host) -> list[Massive]:
    """The massive tokens of the prompts that published figures rest on: the probe, and the first text problem.

    Raises ZkitError as :func:`zkit.anatomy` does.
    """
    asked = problems(host)
    found = []
    for prompt, chat in ((PROBE, True), (asked.prompts["en"][0], asked.chat)):
        if chat and not host.model.tokenizer.chat_template:
            continue
        table = anatomy(host.model, [prompt], chat=chat)
        median = table.groupby("layer")["norm"].quantile(
            0.5, interpolation="lower"
        )  # the one that `massive` is held to
        table["times"] = table["norm"] / table["layer"].map(median)
        for token, part in table[table["massive"]].groupby("token"):
            most = part.loc[part["times"].idxmax()]
            found.append(
                Massive(
                    prompt=prompt,
                    token=int(token),
                    text=str(most["text"]),
                    template=bool(most["template"]),
                    layers=[int(layer) for layer in part["layer"]],
                    times=float(most["times"]),
                    at_layer=int(most["layer"]),
                )
            )
    return found


def _rows(key: str, figure: Figure, host: Host, results: Results, failed: dict[str, str]) -> list[Row]:
    """One row for each printed number; a figure that is not measured has one for all of them."""
    published = host.published
    model = published.models[figure.model]
    same = is_same_model(results.taken_for or results.model, host.shape, model)
    found = _found(key, figure, results, failed)
    if all(isinstance(one, NotMeasured) for one in found):
        places, values = [""], ["; ".join(map(_text, figure.printed))]
    else:
        places, values = figure.places, [*map(_text, figure.printed)]
    tolerance = figure.measured.tolerance if figure.measured else None
    opened = published.measures.get(figure.measured.by) if figure.measured else None
    ours = "" if opened is None else opened.ours
    rows = []
    for place, value, number, one in zip(places, values, figure.printed, found, strict=False):
        verdict = judge(number, tolerance, one, same_model=same, untrained=results.untrained)
        rows.append(
            Row(
                source=published.topics[figure.topic],
                key=key,
                says=figure.says,
                note=figure.note or "",
                ours=ours,
                place=place,
                unit=figure.unit,
                speaks_of=model.id,
                printed=value,
                tolerance="" if tolerance is None else str(tolerance),
                measured=one if isinstance(one, Measured) else None,
                status=verdict.status,
                why=verdict.why,
                failed=isinstance(one, NotMeasured) and one.failed,
            )
        )
    return rows


def _found(key: str, figure: Figure, results: Results, failed: dict[str, str]) -> list[Found]:
    """What is known of a figure, at each of its places; or the one reason why nothing is."""
    if figure.measured is None:
        return [NotMeasured(why=figure.not_measured or "")]
    name = figure.measured.by
    if name in failed:
        return [NotMeasured(why=failed[name], failed=True)]
    if name not in results.kept:
        return [NotMeasured(why=_TOO_LONG)]
    values = results.kept[name].found[key]
    return [NotMeasured(why=value) if isinstance(value, str) else value for value in values]


def _text(value: float | list[float]) -> str:
    return " to ".join(map(records.number, value)) if isinstance(value, list) else records.number(value)
