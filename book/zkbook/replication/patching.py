"""Published counts of Phase 3's patching table: the English prompt runs, and at one layer every token, each that is
generated included, takes a part of the mean over all tokens of the same problem's Chinese version."""

from __future__ import annotations

import re
from typing import NamedTuple

import torch

from zkbook.experiments.outcomes import published_language, same_answer
from zkbook.replication.host import Answers, Figures, Host, joined, named
from zkbook.replication.problems import means, problems, token_states
from zkbook.replication.records import Figure
from zkbook.replication.verdicts import Found, Measured
from zkit.edits import Edit, patch
from zkit.errors import ZkitError
from zkit.generation import complete
from zkit.phase3 import z_mask
from zkit.positions import parse
from zkit.stats import wilson
from zkit.subspaces import Projector, random_subspace


class Arm(NamedTuple):
    """What is patched: "Z", "all", or a random subspace by its draw; ``rest`` is the complement."""

    part: str
    layer: int
    k: int
    rest: bool = False


def patching(host: Host, figures: Figures) -> Answers:
    """How many of the problems change their answer, turn Chinese or are right, with intervals by Wilson.

    The answer is the first number of the first line, as in the published code. All arms run in one call. Raises
    ZkitError for a figure that is none of these.
    """
    asked = problems(host)
    mean = means(token_states(host, asked))["zh"]
    wanted = {key: _arms(host, key, figure) for key, figure in figures.items()}
    arms = list(dict.fromkeys(arm for group in wanted.values() for arm in group if arm is not None))
    every = parse("all", first_token=True)

    def edited(arm: Arm) -> list[Edit]:
        return [patch("resid_post", arm.layer, mean[:, arm.layer], _space(host, arm), every)]

    new = host.published.measures["patching"].tokens
    english, patches = asked.prompts["en"], [[], *map(edited, arms)]
    told = complete(host.model, english, patches, max_new_tokens=new, chat=asked.chat)
    texts = {arm: [answer.text for answer in answers] for arm, answers in zip([None, *arms], told, strict=True)}
    read = {arm: [asked.read(text) for text in found] for arm, found in texts.items()}

    def hits(key: str, arm: Arm | None) -> list[bool]:
        match key.rsplit("_", 1)[-1]:
            case "correct":
                return [same_answer(one, right) for one, right in zip(read[arm], asked.answers, strict=True)]
            case "changed":
                pairs = zip(read[None], read[arm], strict=True)
                return [not (same_answer(one, other) or one is other is None) for one, other in pairs]
            case "language":
                return [published_language(text) == "zh" for text in texts[arm]]
        raise ZkitError(f"{key} is no count of the patching table; name another function in its record")

    found: Answers = {}
    for key, figure in figures.items():
        rows: list[Found] = []
        for arm, (layer, k) in zip(wanted[key], _printed(figure), strict=True):
            share = wilson(sum(hits(key, arm)), len(asked.answers))
            moved = (
                "" if arm is None else joined(named("layer", layer, arm.layer), named("k =", k, arm.k) if arm.k else "")
            )
            ends = [share.n * share.low, share.n * share.high]
            rows.append(Measured(value=round(share.n * share.value), n=share.n, ci=ends, where=moved))
        found[key] = rows
    return found


def _printed(figure: Figure) -> list[tuple[int, int]]:
    """Layer and k at each place of a figure, as printed ("L32 k50") or as its record says; 0 where none is patched."""
    if "layer" in figure.at:
        return [(figure.at["layer"], figure.at["k"])] * len(figure.places)
    numbers = [[int(x) for x in re.findall(r"\d+", str(key))] for key in figure.keys or ["0 0"]]
    return [(layer, k) for layer, k in numbers]


def _arms(host: Host, key: str, figure: Figure) -> list[Arm | None]:
    """The arm at each place of a figure; None is the model as it is."""
    places = [(host.z_layer(figure, layer), host.z_size(figure, k)) for layer, k in _printed(figure) if layer]
    match key.removeprefix("z.patch."):
        case "baseline_correct":
            return [None]
        case "z_changed":
            return [Arm("Z", *place) for place in places]
        case "z_perp_changed" | "z_perp_language":
            return [Arm("Z", *place, rest=True) for place in places]
        case "full_changed":
            return [Arm("all", layer, 0) for layer, _ in places]
        case "random_changed":
            return [Arm(str(draw), *place) for draw, place in zip(figure.keys, places, strict=True)]
        case "random_complement_changed":
            return [Arm(str(draw), *place, rest=True) for draw, place in zip(figure.keys, places, strict=True)]
    raise ZkitError(f"{key} is no count of the patching table; name another function in its record")


def _space(host: Host, arm: Arm) -> Projector | None:
    if arm.part == "all":
        return None
    if arm.part == "Z":
        space = z_mask(host.model, arm.layer, arm.k)
    else:
        space = random_subspace(arm.k, host.model.d_model, torch.Generator().manual_seed(int(arm.part)))
    return space.complement() if arm.rest else space
