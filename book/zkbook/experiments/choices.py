"""How far a model about to write leans to a style: log-odds at the choices of given texts, teacher-forced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from jaxtyping import Float
from torch import Tensor

from zkit.batching import Arms
from zkit.errors import ZkitError
from zkit.generation import next_log_probs
from zkit.models import Model
from zkit.questions import Topic
from zkit.steering import SteeringVector, actadd, alpha_for, edits, effect
from zkit.steering.scorecard import Measure

ANCHOR = "a"  # a text before a wording whose first token is looked up
TRIAL_DOSE = 0.3


@overload
def log_odds(model: Model, given: Sequence[Topic], arms: None = None) -> dict[str, list[float]]: ...
@overload
def log_odds(model: Model, given: Sequence[Topic], arms: Arms) -> list[dict[str, list[float]]]: ...
def log_odds(
    model: Model, given: Sequence[Topic], arms: Arms | None = None
) -> dict[str, list[float]] | list[dict[str, list[float]]]:
    """Axis -> for each topic the mean log-odds (nats) of the positive over the negative pole at its choice points.

    With `arms`, lists of edits, one such dictionary for each. One forward pass scores all points of all axes. Edits in
    force apply; the text counts as generated. A point is scored by the first tokens of the two poles' wordings, those
    they share left out; a point where a pole has no first token of its own is left out. Raises ZkitError for a topic
    without points, if that leaves an axis without points in a text, and if the tokenizer does not begin a token where
    a choice begins.
    """
    axes = list(dict.fromkeys(point.axis for topic in given for point in topic.points))
    first = FirstTokens(model)
    choices = [_choices(first, topic, axes) for topic in given]
    among = sorted({token for points in choices for _, _, low, high in points for token in low + high})
    place = {token: i for i, token in enumerate(among)}
    every: Arms = [[]] if arms is None else arms
    after = [sorted({at for _, at, _, _ in points}) for points in choices]
    asked, texts = [p.prompt for p in given], [p.text for p in given]
    rows = next_log_probs(model, asked, texts, every, among=among, after=after)
    found = []
    for arm in rows:
        means: dict[str, list[float]] = {axis: [] for axis in axes}
        for points, known, log_p in zip(choices, after, arm, strict=True):
            leans: dict[str, list[float]] = {axis: [] for axis in axes}
            for axis, at, *poles in points:
                chances = log_p[known.index(at)]
                low, high = (float(chances[[place[token] for token in pole]].logsumexp(0)) for pole in poles)
                leans[axis].append(high - low)
            for axis, here in leans.items():
                means[axis].append(sum(here) / len(here))
        found.append(means)
    return found[0] if arms is None else found


def _choices(first: FirstTokens, topic: Topic, axes: Sequence[str]) -> list[tuple[str, int, list[int], list[int]]]:
    """The choice points of a topic: axis, tokens before it, first tokens of the low and of the high pole alone."""
    if not topic.points:
        raise ZkitError(
            f"the topic {topic.name!r} has no choices of style to measure; give its text and points, as zkit.questions "
            "describes them"
        )
    at = first.positions(topic)
    found = []
    for point in topic.points:
        low, high = ({first.of(o, point.offset == 0) for o in pole} for pole in (point.low, point.high))
        if low - high and high - low:
            found.append((point.axis, at[point.offset], sorted(low - high), sorted(high - low)))
    for axis in axes:
        if all(point[0] != axis for point in found):
            raise ZkitError(
                f"no choice on the axis {axis!r} in {topic.text!r} can be told by its first token: "
                "give other topics, or a tokenizer whose words are longer"
            )
    return found


class FirstTokens:
    """The first token of each wording, as the model's tokenizer writes it inside a text."""

    def __init__(self, model: Model) -> None:
        self.tokenizer = model.tokenizer
        self.known: dict[tuple[str, bool], int] = {("", False): int(model.tokenizer.eos_token_id)}

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)

    def of(self, option: str, opening: bool = False) -> int:
        """First token of a wording after other words or, `opening`, as a text begins; the end of turn for no wording.

        A tokenizer may mark the beginning of every text, so a wording is split behind an anchor, not by itself.
        """
        key = (option, opening)
        if key not in self.known:
            anchor = [] if opening else self._ids(ANCHOR)
            self.known[key] = (self._ids(option) if opening else self._ids(ANCHOR + option))[len(anchor)]
        return self.known[key]

    def positions(self, topic: Topic) -> dict[int, int]:
        """Offset of each choice point -> the number of tokens before it. Raises ZkitError as `log_odds` does."""
        split = self.tokenizer(topic.text, add_special_tokens=False, return_offsets_mapping=True)
        starts = {start: i for i, (start, _) in reversed(list(enumerate(split.offset_mapping)))}
        ids = [*split.input_ids, self.tokenizer.eos_token_id]
        starts[len(topic.text)] = len(split.input_ids)
        for point in topic.points:
            options, rest = point.low + point.high, topic.text[point.offset :]
            written = {self.of(o, point.offset == 0) for o in options if (rest.startswith(o) if o else not rest)}
            if point.offset not in starts or ids[starts[point.offset]] not in written:
                raise ZkitError(
                    f"the tokenizer begins no token of its own at {rest[:20]!r} in {topic.text!r}: log-odds need one "
                    "that keeps a word and the space before it together"
                )
        return starts


def on(axis: str, given: Sequence[Topic]) -> Measure:
    """The log-odds of one axis at the choices of some texts, as a measure for :func:`zkit.steering.effect`."""
    return lambda model, arms: [leans[axis] for leans in log_odds(model, given, arms)]


def leaning(
    model: Model,
    steered: Sequence[tuple[SteeringVector, float]],
    given: Sequence[Topic],
    reference: Float[Tensor, " n_layers"],
) -> list[dict[str, list[float]]]:
    """For each one-layer vector and its dose the log-odds of every axis at each text's choices; they share batches."""
    return log_odds(model, given, [edits(model, v, alpha_for(dose, v, reference)) for v, dose in steered])


def choose_layer(
    model: Model, axis: str, given: Sequence[Topic], layers: Sequence[int] | None = None
) -> tuple[int, dict[int, float]]:
    """The layer whose vector moves the axis's log-odds most between doses -0.3 and 0.3, and every layer's move (nats).

    given: texts with choices, of development topics: the rule looks at no greedy text and at no test topic. layers: a
    few of the layers (None: all). Raises as :func:`log_odds` does.
    """
    v = actadd(model, axis, layers)
    moved = effect(model, v, TRIAL_DOSE, on(axis, given)).mean(1)
    moves = dict(zip(v.layers, moved.tolist(), strict=True))
    return max(moves, key=lambda layer: moves[layer]), moves
