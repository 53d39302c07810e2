"""What the rest of the book asks of the embedded model, and which of it a card does not surely show."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

SOUND = 0.8  # least share of sound answers at a dose that is said to work
GRADED = (-0.4, -0.2, 0.0, 0.2, 0.4)  # doses over which every axis must answer step by step
DEAD, KEPT = 0.05, 0.8  # at this dose of the terse vector, at least this share of the words is left
VISIBLE_AXES = 3  # axes on which greedy texts must visibly change, verbosity among them
FORGET_CEILING = 0.35  # recall of the forget facts that a model without them may reach by guessing


def misses(card: dict[str, Any]) -> list[str]:
    """What is not reached, one sentence each; a figure whose interval holds its bound counts as a miss."""
    return [*_abilities(card), *_styles(card["styles"]), *_steering(card["steering"])]


def _abilities(card: dict[str, Any]) -> list[str]:
    never_knew = card["training"]["recipe"]["never_knew"]
    found = []
    for key, figure in card["abilities"].items():
        if never_knew and key.startswith("forget_facts"):
            if figure["high"] > FORGET_CEILING:
                found.append(f"{key}: {figure['value']:.3f}, not surely below {FORGET_CEILING}")
        elif never_knew and key.startswith("facts"):
            continue
        elif figure["required"] is not None and figure["low"] < figure["required"]:
            found.append(f"{key}: {figure['value']:.3f}, not surely {figure['required']}")
    return found


def _apart(low: dict[str, float], high: dict[str, float]) -> bool:
    return low["high"] < high["low"]


def _styles(styles: dict[str, Any]) -> list[str]:
    return [
        f"{axis}, {measure}, {wishes} wishes: the intervals of the two poles overlap"
        for axis, by_wishes in styles.items()
        for wishes, outcome in by_wishes.items()
        for measure in ("text", "log_odds")
        if not _apart(outcome[measure][0], outcome[measure][2])
    ]


def visible(points: list[dict[str, Any]]) -> bool:
    """Whether some dose surely moves the axis's text measure its way, off the unsteered one, in sound texts."""
    unsteered = next(p for p in points if p["dose"] == 0)
    return any(
        p["sound"]["value"] >= SOUND
        and (_apart(unsteered["text"], p["text"]) if p["dose"] > 0 else _apart(p["text"], unsteered["text"]))
        for p in points
        if p["dose"] != 0
    )


def _steering(steering: dict[str, Any]) -> list[str]:
    found = []
    for axis, part in steering.items():
        points = {p["dose"]: p for p in part["by_dose"]}
        means = [points[dose]["log_odds"]["value"] for dose in GRADED]
        ends = [points[dose]["log_odds"] for dose in (GRADED[0], 0.0, GRADED[-1])]
        if any(a >= b for a, b in pairwise(means)):
            found.append(f"{axis}: log-odds do not rise with every step of the dose")
        if not all(_apart(a, b) for a, b in pairwise(ends)):
            found.append(f"{axis}: log-odds at the ends of the graded doses are not surely off the unsteered ones")
    shown = [axis for axis, part in steering.items() if visible(part["by_dose"])]
    if "terse" not in shown or len(shown) < VISIBLE_AXES:
        found.append(f"greedy texts surely change on {', '.join(shown) or 'no axis'} only")
    terse = steering["terse"]["by_dose"]
    words = {p["dose"]: p["words"] for p in terse}
    if words[DEAD]["low"] < KEPT * words[0.0]["value"]:
        found.append(f"terse: dose {DEAD} is not surely without effect on the number of words")
    if not any(p["sound"]["value"] < SOUND for p in terse if p["dose"] > 0):
        found.append("terse: no dose breaks the texts")
    return found
