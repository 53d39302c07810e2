"""Published figures of steering, by the source's recipe: means over every token, added to every token, greedy.

Norms are those of the probe that the source prints; words are of everyday questions that begin with it, because the
source's others are not printed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from zkbook.replication.host import Answers, Figures, Host, joined, named
from zkbook.replication.records import Figure
from zkbook.replication.verdicts import Found, Measured
from zkit.errors import ZkitError
from zkit.generation import Completion, complete
from zkit.refusals import classes
from zkit.stats import Interval, bootstrap_mean, wilson
from zkit.steering import STYLES, actadd, edits, geometry, residual_share
from zkit.steering.apply import NEUTRAL
from zkit.steering.scorecard import QUESTIONS
from zkit.steering.texts import words as count_words

PROBE = NEUTRAL[0]


def norms(host: Host, figures: Figures) -> Answers:
    """Norms of states and of the terse vector, layer by layer, and the one as a share of the other.

    Raises ZkitError for a figure that is none of these.
    """
    places = {key: [int(layer) for layer in (figure.keys or [figure.at["layer"]])] for key, figure in figures.items()}
    own = {key: [host.layer(figures[key], layer) for layer in layers] for key, layers in places.items()}
    v = actadd(host.model, "terse", sorted({l for layers in own.values() for l in layers}), pool="literal")
    card = geometry(host.model, v, prompts=[PROBE]).set_index("layer")
    n_tokens = int(host.model.tokenize([PROBE])["attention_mask"].sum())
    found: Answers = {}
    for key, figure in figures.items():
        rows: list[Found] = []
        for there, here in zip(places[key], own[key], strict=True):
            mean_norm, n = float(card["mean_norm"][here]), None if key == "steering.vector_norm" else n_tokens
            match key:
                case "steering.residual_norm":
                    value = mean_norm
                case "steering.vector_norm":
                    value = v.at(here).norm
                case "steering.perturbation" | "steering.snr":
                    value = 100 * residual_share(figure.at["alpha"], v.at(here), mean_norm)
                case _:
                    raise ZkitError(f"{key} is no norm; name another function in its record")
            rows.append(Measured(value=value, n=n, where=named("layer", there, here)))
        found[key] = rows
    return found


def cosines(host: Host, figures: Figures) -> Answers:
    """Cosines between the vectors of the four styles at one layer. ZkitError for a figure that is none of these."""
    found: Answers = {}
    for key, figure in figures.items():
        layer = host.layer(figure, figure.at["layer"])
        unit = {style: actadd(host.model, style, layer, pool="literal").unit().vectors[layer] for style in STYLES}
        pairs = {pair: float(unit[pair[0]] @ unit[pair[1]]) for pair in combinations(STYLES, 2)}
        sizes = {pair: abs(value) for pair, value in pairs.items()}
        which, n = "", len(pairs)
        match key:
            case "steering.cosine_terse":
                others = [value for pair, value in pairs.items() if "terse" in pair]
                value, n = sum(others) / len(others), len(others)
            case "steering.cosine_mean":
                value = sum(sizes.values()) / len(sizes)
            case "steering.cosine_largest":
                pair = max(sizes, key=sizes.__getitem__)
                value, which = sizes[pair], " and ".join(pair)
            case _:
                raise ZkitError(f"{key} is no cosine between styles; name another function in its record")
        where = joined(which, named("layer", figure.at["layer"], layer))
        found[key] = [Measured(value=value, n=n, where=where)]
    return found


class Arm(NamedTuple):
    """The terse vector, or one of its direction and length 1, at one layer."""

    layer: int
    alpha: float
    unit: bool = False


def words(host: Host, figures: Figures) -> Answers:
    """Words of the answers without steering and with it, means over the questions, and what else became of the texts.

    Every text counts, as in the source; ``where`` says how many are refusals, repeat themselves or ran into the limit.
    All strengths and layers of all figures are asked in one call.
    """
    sizes = host.published.measures["words"]
    questions = QUESTIONS[: sizes.questions]
    wanted = {key: _arms(host, key, figure) for key, figure in figures.items()}
    arms = list(dict.fromkeys(arm for groups in wanted.values() for group in groups for arm in group))
    v = actadd(host.model, "terse", sorted({arm.layer for arm in arms}), pool="literal")
    steered = [
        edits(host.model, part.unit() if arm.unit else part, arm.alpha, first_token=True)
        for arm in arms
        for part in [v.at(arm.layer)]
    ]
    plain, *told = complete(host.model, questions, [[], *steered], max_new_tokens=sizes.tokens)
    texts: dict[Arm | None, Sequence[Completion]] = {None: plain, **dict(zip(arms, told, strict=True))}
    flat = [answer for answers in texts.values() for answer in answers]
    kinds = iter(classes(host.model, [*questions] * len(texts), flat))
    kind = {arm: [next(kinds) for _ in answers] for arm, answers in texts.items()}

    def counted(group: Sequence[Arm | None]) -> Interval:
        """Words over the questions, for each the mean over a group of arms."""
        by_arm = [[count_words(answer.text) for answer in texts[arm]] for arm in group]
        return bootstrap_mean([sum(row) / len(row) for row in zip(*by_arm, strict=True)])

    def changed(arm: Arm) -> Interval:
        """Answers that are not the unsteered one, in percent."""
        differ = sum(one.text != other.text for one, other in zip(texts[arm], plain, strict=True))
        share = wilson(differ, len(plain))
        return Interval(100 * share.value, 100 * share.low, 100 * share.high, share.n)

    found: Answers = {}
    for key, figure in figures.items():
        if key == "steering.words_unsteered":
            found[key] = [_measured(counted([None]), kind[None])]
            continue
        rows: list[Found] = []
        for there, group in zip(_layers(figure), wanted[key], strict=True):
            value = changed(group[0]) if group[0].unit else counted(group)
            layers = sorted({arm.layer for arm in group})
            moved = "" if layers == there else "layer " + " to ".join(map(str, dict.fromkeys((layers[0], layers[-1]))))
            rows.append(_measured(value, [k for arm in group for k in kind[arm]], moved))
        found[key] = rows
    return found


def _measured(value: Interval, kinds: Sequence[str], where: str = "") -> Measured:
    """With what the texts are, where some are no whole answers."""
    fallen = [f"{n} of {len(kinds)} {kind}" for kind, n in Counter(kinds).most_common() if kind != "answer"]
    return Measured(value=value.value, n=value.n, ci=[value.low, value.high], where=joined(where, *fallen))


def _layers(figure: Figure) -> Iterator[list[int]]:
    """The published layers at each place of a figure: "2 to 6" are five."""
    for key in figure.keys or [""]:
        printed = figure.at.get("layer", key)
        ends = [int(end) for end in re.findall(r"\d+", str(printed))]
        yield list(range(ends[0], ends[-1] + 1)) if ends else []


def _arms(host: Host, key: str, figure: Figure) -> list[list[Arm]]:
    """What is asked at each place of a figure; nothing for one without steering."""
    if key == "steering.words_unsteered":
        return []
    alphas = [figure.at["alpha"]] * len(figure.places) if "alpha" in figure.at else figure.keys
    unit = key == "steering.unit_changed"
    return [
        list(dict.fromkeys(Arm(host.layer(figure, layer), float(alpha), unit) for layer in layers))
        for layers, alpha in zip(_layers(figure), alphas, strict=True)
    ]
