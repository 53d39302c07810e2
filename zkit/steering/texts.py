"""Answers under many strengths and layers, with measures of each: length, repetition, topic, surprise, refusal."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zkit.errors import ZkitError
from zkit.generation import complete, log_probs
from zkit.models import Model
from zkit.positions import Positions
from zkit.prompts import Prompt
from zkit.refusals import Refusals, classes, refused, said
from zkit.replies import ANSWERS, BROKEN, distinct, reply
from zkit.steering.apply import alpha_for, dose, edits, reference_norms
from zkit.steering.vectors import SteeringVector

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_MARKDOWN = re.compile(r"^\s*(?:#{1,6} |[-*+] |\d+\. |> |```)|\*\*[^*]+\*\*|`[^`]+`", re.MULTILINE)


def words(text: str) -> int:
    """Number of words, which are separated by white space."""
    return len(text.split())


def sentences(text: str) -> int:
    """Number of sentence ends: ``.``, ``!`` or ``?``."""
    return len(re.findall(r"[.!?]", text))


def markdown(text: str) -> int:
    """Number of Markdown marks: headings, list items, quotes, fences, bold and code."""
    return len(_MARKDOWN.findall(text))


def longest_repeat(text: str) -> int:
    """Number of words in the longest run of words that occurs again later in the text, overlaps included."""
    found = text.lower().split()
    best, above = 0, [0] * (len(found) + 1)
    for i in range(1, len(found) + 1):
        row = [0] * (len(found) + 1)
        for j in range(i + 1, len(found) + 1):
            if found[i - 1] == found[j - 1]:
                row[j] = above[j - 1] + 1
        best, above = max(best, max(row)), row
    return best


def topic_cosines(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Cosine of each text with the reference at the same index: tf-idf over words, with the idf from the references.

    A word in many references has a small weight; a word in no reference has the weight of a word in one. The cosine is
    0 for a text without words. Raises ZkitError for lists of different lengths and fewer than two references.
    """
    if len(texts) != len(references) or len(references) < 2:
        raise ZkitError(f"{len(texts)} texts but {len(references)} references; give one for each, at least two")
    bags = [Counter(_WORD.findall(text.lower())) for text in references]
    held = Counter(word for bag in bags for word in bag)

    def weights(bag: Counter[str]) -> dict[str, float]:
        return {word: count * math.log((1 + len(bags)) / max(held[word], 1)) for word, count in bag.items()}

    return [_cosine(weights(Counter(_WORD.findall(t.lower()))), weights(b)) for t, b in zip(texts, bags, strict=True)]


def surprise(model: Model, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float | None]:
    """Mean negative log-probability (nats per token) of each text after its prompt; None for an empty text.

    The perplexity is its exponential. Call it outside any block that steers to measure how unlikely a text is under the
    un-steered model. Raises ZkitError for lists of different lengths, an empty prompt, and prompts that need more
    positions with their texts than the model has.
    """
    if len(prompts) != len(texts):
        raise ZkitError(f"{len(prompts)} prompts but {len(texts)} texts; give one for each prompt")
    kept = [i for i, text in enumerate(texts) if text]
    found: list[float | None] = [None] * len(texts)
    if kept:
        for i, row in zip(kept, log_probs(model, [prompts[i] for i in kept], [texts[i] for i in kept]), strict=True):
            found[i] = -float(row.mean())
    return found


def _cosine(one: dict[str, float], other: dict[str, float]) -> float:
    dot = sum(weight * other.get(word, 0.0) for word, weight in one.items())
    size = math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))
    return dot / size if size else 0.0


def sweep(
    model: Model,
    v: SteeringVector,
    prompts: Sequence[Prompt],
    *,
    alphas: Sequence[float] | None = None,
    doses: Sequence[float] | None = None,
    positions: str | Positions = "all",
    first_token: bool = False,
    reference: Float[Tensor, " n_layers"] | None = None,
    max_new_tokens: int = 96,
    batch_size: int | None = None,
    refusals: Refusals | None = None,
) -> pd.DataFrame:
    """Answers to every prompt at every strength, steered at each layer of ``v`` separately; arms share batches.

    alphas, or doses: the strengths, as factors on ``v``, or as alpha |v| over ``reference``.
    reference: the usual norm of a token at each layer (None: :func:`zkit.steering.reference_norms`).
    positions, first_token: the tokens that are steered. max_new_tokens: of an answer. batch_size: see
    :func:`zkit.generation.complete`. refusals: the model's own (:func:`zkit.refusals.own_refusals`), elicited if not
    given.
    Columns: layer, alpha, dose, prompt (its index), text, words, tokens, truncated (whether it reached
    max_new_tokens), reply (its class, :data:`zkit.replies.CLASSES`). Average words over answers only, because refusals
    are short. Call it outside any block that steers.
    Raises ZkitError for no strengths or both kinds, a strength that is not finite, no prompts, and a vector of another
    width or layer than the model has.
    """
    strengths = doses if alphas is None else alphas
    if (alphas is None) == (doses is None) or strengths is None or len(strengths) == 0:
        raise ZkitError("give a list alphas=... or a list doses=...; it must not be empty")
    usual = reference_norms(model) if reference is None else reference
    parts = [v.at(layer) for layer in v.layers]
    arms = [
        (part, alpha)
        for part in parts
        for alpha in (map(float, strengths) if doses is None else [alpha_for(float(d), part, usual) for d in strengths])
    ]
    # At strength 0 every layer gives the unedited model, so it is run once.
    distinct = {
        (part.layers[0] if alpha else None, alpha): edits(model, part, alpha, positions, first_token)
        for part, alpha in arms
    }
    asked = complete(model, prompts, list(distinct.values()), max_new_tokens=max_new_tokens, batch_size=batch_size)
    flat = [answer for arm in asked for answer in arm]
    kinds = classes(model, [*prompts] * len(asked), flat, refusals)
    told = list(zip(flat, kinds, strict=True))
    found = {key: told[k * len(prompts) : (k + 1) * len(prompts)] for k, key in enumerate(distinct)}
    rows: list[dict[str, Any]] = [
        {
            "layer": part.layers[0],
            "alpha": alpha,
            "dose": dose(alpha, part, usual),
            "prompt": i,
            "text": answer.text,
            "words": words(answer.text),
            "tokens": answer.n_tokens,
            "truncated": answer.truncated,
            "reply": kind,
        }
        for part, alpha in arms
        for i, (answer, kind) in enumerate(found[part.layers[0] if alpha else None, alpha])
    ]
    return pd.DataFrame(rows)


COLLAPSE = 1.0
"""Nats per token: a text is incoherent if its surprise exceeds that of the un-steered answer by more than this."""

SAFE = 0.1
"""Largest share of texts that are no answers at a dose that is called safe."""


def judge_texts(
    model: Model,
    prompts: Sequence[Prompt],
    frame: pd.DataFrame,
    unsteered: Sequence[str],
    refusals: Refusals | None = None,
) -> pd.DataFrame:
    """The frame of a sweep with added measures of each text, some relative to the un-steered answer to its prompt.

    Adds: reply, its class (:data:`zkit.replies.CLASSES`; incoherent: more than ``COLLAPSE`` nats per token more
    surprising than the un-steered answer); answered, whether it is an answer, whole or cut off; broken, whether it is
    empty, repetitive or incoherent; changed, whether an answer differs from the un-steered one (missing if the text is
    no answer); sentences; distinct_2; longest_repeat; markdown; surprise (nats per token under the un-steered model;
    missing for an empty text); surprise_gain, the same minus that of the un-steered answer; topic_cosine with the
    un-steered answer.

    prompts: those of the sweep. frame: its result; without a column truncated no text counts as cut off.
    unsteered: an answer for each prompt. Take them from the same batches, as the sweep's answers at alpha 0, so that
    rounding does not count as a change.
    refusals: the model's own (:func:`zkit.refusals.own_refusals`), elicited if not given. They are not used if the
    frame has a column reply: its refusals are kept.
    Call it outside any block that steers. Raises ZkitError if there is not one un-steered answer for each prompt, and
    for fewer than two prompts.
    """
    if len(unsteered) != len(prompts):
        raise ZkitError(f"{len(prompts)} prompts but {len(unsteered)} un-steered answers; give one for each prompt")
    which, written = frame["prompt"].tolist(), frame["text"].tolist()
    base = surprise(model, prompts, unsteered)
    found = frame.copy()
    found["surprise"] = pd.array(surprise(model, [prompts[i] for i in which], written), dtype="Float64")
    found["surprise_gain"] = found["surprise"] - pd.array([base[i] for i in which], dtype="Float64")
    declines = (found["reply"] == "refusal").tolist() if "reply" in found else refused(model, written, refusals)
    cut = found["truncated"].tolist() if "truncated" in found else [False] * len(found)
    found["reply"] = [
        reply(text, truncated=end, refusal=no, incoherent=gain > COLLAPSE, expected=(said(prompts[i]), unsteered[i]))
        for text, end, no, gain, i in zip(
            written, cut, declines, found["surprise_gain"].fillna(0.0), which, strict=True
        )
    ]
    found["answered"], found["broken"] = found["reply"].isin(ANSWERS), found["reply"].isin(BROKEN)
    others = pd.Series([text != unsteered[i] for i, text in zip(which, written, strict=True)], found.index, "boolean")
    found["changed"] = others.where(found["answered"])
    for measure in (sentences, longest_repeat, markdown):
        found[measure.__name__] = [measure(text) for text in written]
    found["distinct_2"] = [distinct(text) for text in written]
    cosine = [0.0] * len(written)
    for places in found.groupby(["layer", "alpha"]).indices.values():
        here = topic_cosines([written[p] for p in places], [unsteered[which[p]] for p in places])
        for place, value in zip(places, here, strict=True):
            cosine[place] = value
    found["topic_cosine"] = cosine
    return found


def outcomes(frame: pd.DataFrame, by: str | list[str]) -> pd.DataFrame:
    """A summary of a judged sweep (:func:`judge_texts`), one row for each value of the column ``by``, such as dose.

    Columns: texts, their number; answers, the number of those that are answers; over the answers only, missing if there
    are none: changed (share), words and topic_cosine (means), cut_off (share; their number of words is a lower bound);
    over all texts: refused, broken and other_language (shares).
    """
    rows = []
    for value, part in frame.groupby(by):
        sound = part[part["answered"]]
        share = part["reply"].value_counts(normalize=True)
        names, values = ([by], [value]) if isinstance(by, str) else (by, value)
        rows.append(
            dict(zip(names, values, strict=True))
            | {"texts": len(part), "answers": len(sound)}
            | {name: float(sound[name].astype(float).mean()) for name in ("changed", "words", "topic_cosine")}
            | {
                "cut_off": float((sound["reply"] == "cut off").mean()),
                "refused": float(share.get("refusal", 0.0)),
                "broken": float(part["broken"].mean()),
                "other_language": float(share.get("other language", 0.0)),
            }
        )
    return pd.DataFrame(rows)


def phases(frame: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """For each layer of a judged sweep and each sign of alpha, the doses at which answers change, collapse and so on.

    Columns: layer, sign, changes (median over prompts of the smallest dose at which the prompt's answer has changed),
    refuses and collapses (the smallest doses from which on at least half of the texts are refusals, or broken), window
    (collapses / changes), safe (the largest dose at which, and below which, at most a share SAFE of the texts are no
    answers: refused, broken or in another language; 0 if there is none), each with the bounds _low and _high of its 95%
    bootstrap interval over prompts. Doses are absolute values; a dose that is not reached is infinite, and so is that
    of a prompt whose answer never changes. If changes and collapses are both infinite, the window is 1.
    draws, seed: of the bootstrap. Raises ZkitError if there is no dose but zero, and if a prompt lacks a dose.
    """
    rows = []
    for (layer, up), part in frame[frame["dose"] != 0].groupby(["layer", frame["dose"] > 0]):
        size = part["dose"].abs().round(6)
        kinds = {
            "changed": part["changed"].fillna(False).astype(bool),
            "refused": part["reply"] == "refusal",
            "broken": part["broken"],
            "lost": ~part["answered"],
        }
        tables = {
            name: part.assign(size=size, kind=kind).pivot(index="prompt", columns="size", values="kind")
            for name, kind in kinds.items()
        }
        changed = tables["changed"]
        if changed.isna().to_numpy().any():
            raise ZkitError(f"at layer {layer} some prompts lack some doses; give every prompt every dose")
        sizes = np.array([*changed.columns, np.inf])
        first = sizes[_first(changed.to_numpy(bool))]  # [n_prompts]
        picks = np.random.default_rng(seed).integers(len(first), size=(draws, len(first)))
        picks = np.vstack([np.arange(len(first)), picks])  # the prompts themselves, then the draws
        share = {name: table.to_numpy(float)[picks].mean(1) for name, table in tables.items()}  # [1 + draws, n_doses]
        changes = np.quantile(first[picks], 0.5, axis=1, method="lower")
        collapses = sizes[_from_here_on(share["broken"] >= 0.5)]
        found: dict[str, float] = {"layer": int(layer), "sign": 1 if up else -1}
        with np.errstate(invalid="ignore"):  # infinite over infinite: no window
            drawn = {
                "changes": changes,
                "refuses": sizes[_from_here_on(share["refused"] >= 0.5)],
                "collapses": collapses,
                "window": np.nan_to_num(collapses / changes, nan=1.0, posinf=np.inf),
                "safe": np.array([0.0, *changed.columns])[_first(share["lost"] > SAFE)],
            }
        for name, values in drawn.items():
            low, high = np.quantile(values[1:], (0.025, 0.975), method="lower")
            found |= {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
        rows.append(found)
    if not rows:
        raise ZkitError("phases need texts at doses other than zero; sweep some")
    return pd.DataFrame(rows).astype({"layer": int, "sign": int})


def _from_here_on(flags: Bool[np.ndarray, "rows doses"]) -> Int[np.ndarray, " rows"]:
    """Index in each row from which on all flags are True; the row's length if the last is not."""
    return _first(np.flip(np.minimum.accumulate(np.flip(flags, 1), 1), 1))


def _first(flags: Bool[np.ndarray, "rows doses"]) -> Int[np.ndarray, " rows"]:
    """Index of the first True in each row; the row's length if there is none."""
    return np.where(flags.any(1), flags.argmax(1), flags.shape[1])
