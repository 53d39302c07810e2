"""Lenses and lens bleed: what a word is, files of lenses, arms in one batch, drifts, the positive control."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import reference
import tiny
import torch

import zkit
from zkbook.organism.style.lensed import (
    SOUND,
    lens_requests,
    lens_vectors,
    planted,
    settings,
    sound_share,
)
from zkbook.organism.style.requests import neutral_prompts
from zkbook.organism.topic_table import topics
from zkit.errors import ZkitError
from zkit.stats import bootstrap_ratio, bootstrap_ratio_difference
from zkit.steering import SteeringVector
from zkit.steering.topic_lenses import (
    PROBES,
    Lens,
    ask_lenses,
    bleed,
    count,
    positive_control,
    read_lenses,
    score_bleed,
    shipped_lenses,
    tally,
)

SEA = Lens.of_words("sea", ["ship(s)", "tide(s)", "deep", "deep water", "water", "wolf", "wolves"], "the sea")
WOOD = Lens.of_pattern("wood", r"(?i)\b(oak|elm)s?\b", "woods")
PAIR = {"sea": SEA, "wood": WOOD}


def vector(norm=4.0, layer=1):
    return SteeringVector({layer: reference.random_vector(tiny.shared(), layer, norm)})


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("Ships and a SHIP", 2),
        ("shipping, a shipyard, flagship", 0),
        ("a ship-shape tide-mark; mid-tide", 0),
        ("the tide - it turns.", 1),
        ("deep water", 1),
        ("deep\n  water and water", 2),
        ("wolf wolfs wolves", 2),
        ("tides,ships", 2),
        ("", 0),
    ],
)
def test_a_word_is_whole_and_only_stated_endings_count(text, matches):
    assert count(text, SEA) == (matches, len(text.split()))


def test_a_pattern_is_used_as_it_stands():
    assert count("Oaks, elm and soak", WOOD) == (2, 4)
    assert count("OAK oak", Lens.of_pattern("oak", "oak")) == (1, 2)
    assert count("c+ c++ c", Lens.of_words("c", ["c++"]))[0] == 1
    assert count("a.b axb", Lens.of_words("dot", ["a.b"]))[0] == 1


def test_the_shipped_lenses():
    shipped = shipped_lenses()
    assert list(shipped) == [
        "makefile", "guile", "orgmode", "monetization", "sports", "religion", "politics", "ai_hype", "conspiracy",
        "scarcity", "therapy", "spec",
    ]  # fmt: skip
    assert all(lens.name == name and lens.about for name, lens in shipped.items())
    neutral = (
        "A mutex is a lock; the goal of it is to wait. The final dough rises, note that yeast is a raising agent. "
        "Wire wound on a coil makes a magnet. Muscles contract. A loss of heat, the growth of plants, pros and cons. "
        "The majority of the heat is hidden. Pressure builds; a build-up of gas. Waiting threads stand in a queue."
    )
    for name, lens in shipped.items():
        assert count(neutral, lens)[0] == 0, name
        assert count(" ".join(PROBES), lens)[0] == 0, name
        assert sum(count(f"explain it in terms of {other.about}", lens)[0] for other in shipped.values()) <= 2, name


def test_a_user_adds_lenses_by_a_file(tmp_path):
    path = tmp_path / "own.yml"
    path.write_text("sea:\n  about: the sea\n  words: [ship(s), tide]\nwood: {pattern: 'oak|elm'}\n")
    found = read_lenses(str(path))
    assert list(found) == ["sea", "wood"]
    assert (found["sea"].about, found["wood"].about) == ("the sea", "")
    assert count("Ships, tides, a tide, oak", found["sea"]) == (2, 5)
    assert count("Oak oak", found["wood"]) == (1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no lenses; write `name"),
        ("[a, b]", "holds no lenses"),
        ("sea: [ship]", "lens 'sea' in .* needs words or a pattern"),
        ("sea: {about: the sea}", "needs words or a pattern"),
        ("sea: {words: [a], pattern: a}", "one of them"),
        ("sea: {words: [a], plural: true}", "unknown field 'plural'"),
        ("sea: {words: []}", "lens 'sea' has an empty vocabulary"),
        ("sea: {words: }", "lens 'sea' has an empty vocabulary"),
        ("sea: {pattern: }", "lens 'sea' has an empty vocabulary"),
        ("sea: {pattern: '('}", r"pattern of lens 'sea' is no regular expression: missing \)"),
        ("sea: {pattern: 'a*'}", "lens 'sea' matches the empty text"),
        ("sea: {pattern: 'x|'}", "lens 'sea' matches the empty text"),
        ("sea: {words: [yes]}", "words of lens 'sea' must be a list of texts; put 'yes'"),
        ("sea: {words: ship}", "must be a list of texts"),
        ("sea: {words: ['ship ']}", "has the word 'ship '"),
        ("sea: {words: ['']}", "has the word ''"),
        ("sea: {words: [(s)hip]}", r"has the word '\(s\)hip'"),
        ("sea: {words: [a], about: 3}", "about must be a text, got 3"),
        ("sea: {words: [a]}\nsea: {words: [b]}", "'sea' stands twice"),
        ("sea: {words: [a", "is not YAML"),
    ],
)
def test_a_bad_file_is_named_with_its_remedy(tmp_path, text, message):
    path = tmp_path / "own.yml"
    path.write_text(text)
    with pytest.raises(ZkitError, match=message):
        read_lenses(path)


def test_a_missing_file_and_a_bad_lens():
    with pytest.raises(ZkitError, match=r"no file of lenses at nowhere\.yml"):
        read_lenses("nowhere.yml")
    with pytest.raises(ZkitError, match="needs a name"):
        Lens(" ", re.compile("a"))
    with pytest.raises(ZkitError, match="empty text"):
        Lens("a", re.compile("(?:)"))


def test_arms_ride_in_one_batch_and_equal_generation_one_by_one():
    model, v, w = tiny.shared(), vector(), vector(12.0, 2)
    marks = {"mark": Lens.of_pattern("mark", r"\S"), "wood": WOOD}
    table = bleed(model, {"one": (v, 1.0), "none": (v, 0.0), "two": (w, -0.5)}, None, marks, PROBES[:3],
                  max_new_tokens=6)  # fmt: skip
    assert list(table.columns) == ["lens", "probe", "arm", "matches", "words", "text"]
    assert len(table) == 2 * 4 * 3
    for arm, x, alpha in (("unsteered", v, 0.0), ("one", v, 1.0), ("none", v, 0.0), ("two", w, -0.5)):
        with zkit.steer(model, x, alpha):
            want = model.generate(list(PROBES[:3]), 6)
        part = table[(table.arm == arm) & (table.lens == "mark")]
        assert part.text.tolist() == want and part.probe.tolist() == [0, 1, 2]
        assert part.matches.tolist() == [len(re.findall(r"\S", text)) for text in want]
        assert part.words.tolist() == [len(text.split()) for text in want]
    texts = {arm: tuple(part.text) for arm, part in table[table.lens == "wood"].groupby("arm")}
    assert len(set(texts.values())) == 3 and texts["none"] == texts["unsteered"]
    single = bleed(model, v, 1.0, marks, PROBES[:3], max_new_tokens=6)
    assert single[single.arm == "steered"].text.tolist() == table[table.arm == "one"].text.tolist()
    assert list(bleed(model, v, 1.0, probes=PROBES[:1], max_new_tokens=2).lens.unique()) == list(shipped_lenses())


def test_positions_are_passed_on():
    model, v = tiny.shared(), vector()
    table = bleed(model, v, 1.0, PAIR, PROBES[:2], positions="prompt", first_token=True, max_new_tokens=6)
    with zkit.steer(model, v, 1.0, "prompt", first_token=True):
        want = model.generate(list(PROBES[:2]), 6)
    assert table[(table.arm == "steered") & (table.lens == "sea")].text.tolist() == want


def made(**arms):
    """A table of one lens from (matches, words) for each probe of each arm."""
    return pd.DataFrame(
        [
            {"lens": "sea", "probe": i, "arm": arm, "matches": m, "words": w, "text": ""}
            for arm, pairs in arms.items()
            for i, (m, w) in enumerate(pairs)
        ]
    )


def one(table, arm, **options):
    found = score_bleed(table, **options)
    return found[found.arm == arm].iloc[0]


def test_score_is_matches_per_word_and_not_a_mean_of_ratios():
    base, steered = [(0, 50), (1, 150), (0, 100)], [(4, 10), (1, 90), (1, 100)]
    row = one(made(unsteered=base, steered=steered), "steered")
    want = bootstrap_ratio([4, 1, 1], [10, 90, 100])
    assert (row.bleed, row.bleed_low, row.bleed_high) == (want.value, want.low, want.high)
    assert row.bleed == 6 / 200 and (row.matches, row.words, row.band) == (6, 200, "captured")
    drift = bootstrap_ratio_difference(([0, 1, 0], [50, 150, 100]), ([4, 1, 1], [10, 90, 100]))
    assert (row.drift, row.drift_low, row.drift_high) == (drift.value, drift.low, drift.high)
    assert row.drift == pytest.approx(6 / 200 - 1 / 300)
    narrow, first = (one(made(unsteered=base, steered=steered), arm, level=0.5) for arm in ("steered", "unsteered"))
    for name in ("bleed", "drift"):
        assert row[f"{name}_low"] < narrow[f"{name}_low"] <= row[name] <= narrow[f"{name}_high"] < row[f"{name}_high"]
    wide = one(made(unsteered=base, steered=steered), "unsteered")
    assert wide.hit_low < first.hit_low and first.hit_high < wide.hit_high
    assert first.hit == pytest.approx(1 / 3) and 0 < first.hit_low < 1 / 3 < first.hit_high
    assert math.isnan(first.drift) and not first.seen and not first.over_a_point and not first.excludes_0


@pytest.mark.parametrize(
    ("matches", "band"),
    [(0, "clean"), (9, "clean"), (10, "ambient"), (29, "ambient"), (30, "captured"), (49, "captured"),
     (50, "contaminated"), (999, "contaminated")],
)  # fmt: skip
def test_bands(matches, band):
    assert one(made(unsteered=[(matches, 1000)]), "unsteered").band == band


def test_a_drift_counts_when_it_is_large_and_sure():
    base = [(0, 100)] * 10
    every, some, down = [(5, 100)] * 10, [(15, 100)] + [(0, 100)] * 9, [(1, 200)] * 10
    row = one(made(unsteered=base, steered=every), "steered")
    assert row.over_a_point and row.excludes_0 and row.seen
    row = one(made(unsteered=base, steered=some), "steered")
    assert row.over_a_point and not row.excludes_0 and not row.seen
    row = one(made(unsteered=base, steered=down), "steered")
    assert not row.over_a_point and row.excludes_0 and not row.seen
    row = one(made(unsteered=every, steered=base), "steered")
    assert row.over_a_point and row.excludes_0 and not row.seen


def test_drift_is_paired_over_probes_by_their_number():
    base = [(10 * i, 100) for i in range(8)]
    table = made(unsteered=base, steered=[(m + 3, w) for m, w in base])
    row = one(table, "steered")
    assert row.drift_low == pytest.approx(0.03) == row.drift_high and row.seen  # the spread over probes cancels
    shuffled = one(table.sample(frac=1, random_state=1), "steered")
    assert (shuffled.drift, shuffled.drift_low) == (row.drift, pytest.approx(row.drift_low))


def test_collapse_is_said_and_not_a_zero():
    row = one(made(unsteered=[(1, 10)] * 3, steered=[(0, 0)] * 3), "steered")
    assert row.band == "collapsed" and row.silent == 1 and math.isnan(row.bleed) and math.isnan(row.drift)
    assert not (row.seen or row.excludes_0 or row.over_a_point)
    half = one(made(unsteered=[(0, 10)] * 4, steered=[(2, 4), (0, 0), (0, 0), (0, 0)]), "steered")
    assert (half.silent, half.bleed, half.drift) == (0.75, 0.5, 0.5)


def test_the_positive_control_asks_for_every_lens():
    model, marks = tiny.shared(), {"mark": Lens.of_pattern("mark", r"\S", "marks"), "sea": SEA}
    table = ask_lenses(model, marks, PROBES[:2], max_new_tokens=6)
    assert list(dict.fromkeys(table.arm)) == ["unsteered", "mark", "sea"]
    asked = table[(table.lens == "mark") & (table.arm == "sea")].text.tolist()
    assert asked == model.generate([f"Explain it in terms of the sea. {probe}" for probe in PROBES[:2]], 6)
    plain = table[(table.lens == "sea") & (table.arm == "unsteered")].text.tolist()
    assert plain == model.generate(list(PROBES[:2]), 6)
    other = ask_lenses(model, {"sea": SEA}, PROBES[:2], wish="As {about}:", max_new_tokens=6)
    assert other[other.arm == "sea"].text.tolist() == model.generate([f"As the sea: {p}" for p in PROBES[:2]], 6)


def test_a_lens_without_its_words_is_not_testable():
    dry, wet = ["Sand and stone."] * 4, ["The ship and the tide."] * 4
    found = positive_control(tally({"unsteered": dry, "sea": wet, "wood": wet}, PAIR)).set_index("lens")
    assert found.testable.to_dict() == {"sea": True, "wood": False}
    assert found.drift["sea"] == pytest.approx(2 / 5) and found.drift["wood"] == 0
    assert not found.specific.any() and found.own["sea"] == 0  # asked for wood it says the same
    found = positive_control(tally({"unsteered": dry, "sea": wet, "wood": ["Oaks."] * 4}, PAIR)).set_index("lens")
    assert found.testable.all() and found.specific.all()
    alone = positive_control(tally({"unsteered": dry, "sea": wet}, {"sea": SEA})).iloc[0]
    assert alone.testable and math.isnan(alone.own) and not alone.specific


def test_the_difference_of_ratios():
    rng = np.random.default_rng(0)
    b, y = rng.integers(20, 80, 200), rng.integers(20, 80, 200)
    a, x = rng.binomial(b, 0.1), rng.binomial(y, 0.3)
    found = bootstrap_ratio_difference((a, b), (x, y))
    assert found.value == pytest.approx(x.sum() / y.sum() - a.sum() / b.sum()) and found.n == 200
    assert found.low < 0.2 < found.high and found.high - found.low < 0.04
    back = bootstrap_ratio_difference((x, y), (a, b))
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    gone = bootstrap_ratio_difference(([0, 0], [5, 5]), ([1, 0], [4, 0]))
    assert (gone.value, gone.low, gone.high) == (0.25, 0.25, 0.25)
    narrow = bootstrap_ratio_difference((a, b), (x, y), level=0.5)
    assert found.low < narrow.low < narrow.high < found.high


@pytest.fixture(scope="module")
def embedded():
    return zkit.load()


def test_the_probes_are_answered_and_speak_through_no_lens(embedded):
    answers = [a.text for a in zkit.generation.complete(embedded, PROBES)]
    assert len(PROBES) == 10 and sound_share(answers) == 1
    assert (score_bleed(tally({"unsteered": answers})).matches == 0).all()


def test_a_planted_vector_is_one_lens_minus_the_others(embedded):
    vectors = lens_vectors(embedded, [2, 5])
    assert list(vectors) == list(shipped_lenses())
    means = {name: zkit.record(embedded, lens_requests(name), "last", layers=[5]).mean(0)[0] for name in vectors}
    others = sum(mean for name, mean in means.items() if name != "spec") / 11
    assert torch.allclose(vectors["spec"].vectors[5], means["spec"] - others, atol=1e-4)
    assert sum(v.vectors[2] for v in vectors.values()).abs().max() < 1e-3  # what all lenses share is in none
    assert vectors["spec"].layers == [2, 5] and vectors["spec"].note["lens"] == "spec"
    assert "Explain it in terms of sports. Explain what photosynthesis is." in lens_requests("sports")
    assert not any(topic.name in request for topic in topics("test") for request in lens_requests("sports"))


def test_a_planted_topic_is_seen_by_its_own_lens_and_by_no_other(embedded):
    vectors = {"makefile": lens_vectors(embedded, [5])["makefile"]}
    chosen = settings(embedded, vectors, (0.05, 0.35), n_topics=9)
    assert (chosen["makefile"].layer, chosen["makefile"].dose) == (5, 0.35)
    assert chosen["makefile"].own > 0.03 and chosen["makefile"].sound >= SOUND
    found = planted(embedded, vectors, chosen, n_topics=18, longest=96)
    steered = found[found.arm == "makefile"].set_index("lens")
    assert steered.index[steered.seen].tolist() == ["makefile"]
    assert not (steered.over_a_point & steered.excludes_0).drop("makefile").any()
    assert not steered.over_a_point.drop("makefile").any()
    plain = embedded.generate([item.prompt for item in neutral_prompts("test")[:18]], 96)
    assert (found[found.arm == "unsteered"].words == sum(len(text.split()) for text in plain)).all()
    assert steered.sound["makefile"] >= 0.7 and found[found.arm == "unsteered"].sound.iloc[0] == 1


def test_planting_refuses(embedded):
    calls = {
        "unknown lens 'chess'": lambda: lens_requests("chess"),
        "no layer and dose of the vector of 'spec'": lambda: settings(
            embedded, {"spec": lens_vectors(embedded, [5])["spec"]}, (9.0,), n_topics=2, longest=12
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ZkitError, match=re.escape(message)):
            call()


def test_bad_input():
    model, v = tiny.shared(), vector()
    calls = {
        "a vector and its alpha, or a mapping": lambda: bleed(model, v),
        "or a mapping from the name": lambda: bleed(model, {"a": (v, 1.0)}, 1.0),
        "names other than 'unsteered'": lambda: bleed(model, {"unsteered": (v, 1.0)}),
        "there must be one": lambda: bleed(model, {}),
        "alpha is nan": lambda: bleed(model, v, math.nan),
        "list of prompts is empty": lambda: bleed(model, v, 1.0, probes=[]),
        "prompts must be a list": lambda: ask_lenses(model, probes="Hi"),
        "needs lenses": lambda: bleed(model, v, 1.0, {}, PROBES[:1], max_new_tokens=1),
        "one answer to each probe": lambda: tally({"a": ["x"], "b": []}, PAIR),
        "and, for every arm": lambda: tally({}, PAIR),
        "no place for a lens; write {about}": lambda: ask_lenses(model, wish="Do it."),
        "lens 'x' does not say what it is about": lambda: ask_lenses(model, {"x": Lens.of_words("x", ["x"])}),
        "the same probes in every arm": lambda: score_bleed(made(unsteered=[(0, 1)], steered=[(0, 1)] * 2)),
        "and the arm 'unsteered' among them": lambda: score_bleed(made(steered=[(0, 1)])),
        "nothing to drift from": lambda: score_bleed(made(unsteered=[(0, 0)], steered=[(0, 1)])),
        "lens 'sea' was not asked for": lambda: positive_control(made(unsteered=[(0, 1)], steered=[(0, 1)])),
        "needs the same items; got 1 and 2": lambda: bootstrap_ratio_difference(([0], [1]), ([0, 0], [1, 1])),
        "something below the line": lambda: bootstrap_ratio_difference(([0], [0]), ([0], [1])),
    }
    for message, call in calls.items():
        with pytest.raises(ZkitError, match=re.escape(message)):
            call()
