"""The data that the published gates were trained on, from the hub or a local copy. Needs the extra `data`.

PopQA (Mallen et al. 2023) has facts to forget, NuminaMath-CoT (Li et al. 2024) reasoning to retain.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from zkit.errors import ZkitError
from zkit.gating.texts import Text, mark
from zkit.reading import check, parse_json
from zkit.tasks import Question, Task

POPQA, NUMINA = "akariasai/PopQA", "AI-MO/NuminaMath-CoT"


def popqa_texts(n: int | None = None, source: str = POPQA, split: str = "test", sentences: bool = False) -> list[Text]:
    """The first ``n`` facts of PopQA (default: all) as texts to forget: a question, and its answer marked as an entity.

    sentences: whether the text is a sentence about the subject instead, whose other words NKE can retain. source: the
    hub's name or a folder of data files. Raises ZkitError without the extra, for a source that cannot be read, and for
    rows without the expected texts.
    """
    return [_text(row, sentences) for row in _rows(source, split, n, ("question", "subj", "prop", "obj"))]


def popqa_task(n: int | None = None, source: str = POPQA, split: str = "test", chat: bool = True) -> Task:
    """The first ``n`` questions of PopQA with all answers that it accepts, to evaluate on.

    Raises ZkitError without the extra, for a source that cannot be read, and for rows without the expected texts.
    """
    rows = _rows(source, split, n, ("question", "possible_answers"))
    return Task("PopQA", tuple(Question(row["question"], _answers(row["possible_answers"])) for row in rows), chat)


def numina_texts(n: int | None = None, source: str = NUMINA, split: str = "train") -> list[Text]:
    """The first ``n`` problems of NuminaMath-CoT with their solutions, as texts to retain.

    Raises ZkitError without the extra, for a source that cannot be read, and for rows without the expected texts.
    """
    return [Text(row["problem"], row["solution"]) for row in _rows(source, split, n, ("problem", "solution"))]


def _text(row: Mapping[str, Any], sentences: bool) -> Text:
    if not sentences:
        return mark(row["question"], row["obj"], row["obj"])
    if row["prop"].endswith(" of"):  # "capital of"
        sentence = f"{row['subj']} is the {row['prop']} {row['obj']}."
    else:
        sentence = f"The {row['prop']} of {row['subj']} is {row['obj']}."
    start = sentence.rindex(row["obj"])
    return Text(row["question"], sentence, ((start, start + len(row["obj"])),))


def _answers(listed: Any) -> tuple[str, ...]:
    where = f"possible_answers, which should be a JSON list; one is {str(listed)[:60]!r}, which"
    found = parse_json(listed, where) if isinstance(listed, str) else listed
    return tuple(check(list[str], found, where, "give a data set of texts"))


def _rows(source: str, split: str, n: int | None, columns: tuple[str, ...]) -> list[Mapping[str, Any]]:
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise ZkitError("public data sets need an extra: pip install 'zkit[data]'") from error
    try:
        rows = list(islice(load_dataset(source, split=split, streaming=True), n))
    except (OSError, ValueError, DatasetsError) as error:  # a missing folder or split, a broken file, no network
        raise ZkitError(f"cannot read the split {split!r} of {source!r}: {error}") from error
    for number, row in enumerate(rows):
        missing = [name for name in columns if not row.get(name)]
        if missing:
            raise ZkitError(f"row {number} of {source!r} has no {missing[0]!r}; it has {', '.join(sorted(row))}")
        for name in columns:
            if name != "possible_answers":
                check(str, row[name], f"row {number} of {source!r}: {name}", "give a data set of texts")
    return rows
