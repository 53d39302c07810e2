"""Default vectors of a real model do not point along what the chat template begins every prompt with."""

import pandas as pd
import pytest
import torch

import zkit
from zkit.stats import bootstrap_mean
from zkit.steering import STYLES, actadd, alpha_for, edits, poles, preference, reference_norms, sink
from zkit.steering.scorecard import QUESTIONS
from zkit.tokens import MASSIVE

LAYERS = (8, 12, 16)
ARMS = ("literal", "all", "content", "suffix")


@pytest.fixture(scope="module")
def cosines(field_model):
    """Of each style's vector at each layer and pool with the prefix artefact; with its direction where it is zero."""
    if field_model.n_layers <= max(LAYERS):
        pytest.skip(f"the bound was set for layers {LAYERS}; the model has {field_model.n_layers}")
    rows = []
    for name, style in STYLES.items():
        prefix = sink.prefix_sum(field_model, style.positive, style.negative, LAYERS)
        counts = sink.token_counts(field_model, [style.positive, style.negative])
        sign = 1 if sink.length_factor(*counts) >= 0 else -1
        for pool in ARMS:
            v = actadd(field_model, name, LAYERS, pool=pool)
            found = {l: float(torch.cosine_similarity(v.vectors[l], sign * prefix.vectors[l], dim=0)) for l in LAYERS}
            rows += [{"style": name, "tokens": counts, "layer": l, "pool": pool, "cosine": found[l]} for l in LAYERS]
    return pd.DataFrame(rows)


def test_default_vectors_are_free_of_the_prefix_artefact(cosines):
    wide = cosines.pivot(index=["style", "layer"], columns="pool", values="cosine")[list(ARMS)]
    print("\n" + wide.round(3).to_string())
    lengths = cosines.drop_duplicates("style").set_index("style")["tokens"]
    unequal = [name for name, (plus, minus) in lengths.items() if plus != minus]
    assert (wide["content"].abs() <= 0.1).all()
    assert (wide.loc[unequal, "suffix"].abs() <= 0.1).all()  # prompts of equal length have no artefact
    assert unequal and (wide.loc[unequal, ["literal", "all"]] > 0.5).all(axis=None)  # else there is nothing to repair


def test_the_threshold_stands_in_a_wide_gap(field_model):
    """Single messages: no usual token is near it, and the massive ones of the template are far above."""
    prompts = [pole for style in STYLES.values() for pole in (style.positive, style.negative)]
    table = zkit.anatomy(field_model, prompts, layers=LAYERS)
    table["ratio"] = table["norm"] / table.groupby(["prompt", "layer"])["norm"].transform("median")
    usual, massive = (table[table["massive"] == which] for which in (False, True))
    print("\n" + table.groupby(["layer", "massive"])["ratio"].agg(["count", "min", "max"]).round(1).to_string())
    assert usual["ratio"].max() < 0.75 * MASSIVE < 1.5 * MASSIVE < massive["ratio"].min()
    assert massive["template"].all() and massive.groupby(["prompt", "layer"]).size().min() > 1


def test_default_vectors_move_every_style_towards_its_positive_pole(field_model):
    """By the model's preference between its own two kinds of answers. Six questions are too few for every interval to
    leave out 0, so that the means are asserted: above 0, and above those of means over the message's own tokens."""
    layer, usual, rows = field_model.n_layers * 7 // 12, reference_norms(field_model), []
    for name, style in STYLES.items():
        given = poles(field_model, style, QUESTIONS[:6], 40)
        for pool in ("suffix", "content", "literal"):
            v = actadd(field_model, name, layer, pool=pool)
            arms = [edits(field_model, v, alpha_for(dose, v, usual)) for dose in (0.3, -0.3)]
            gain = bootstrap_mean([up - down for up, down in zip(*preference(field_model, given, arms), strict=True)])
            rows.append({"style": name, "pool": pool, "gain": gain.value, "low": gain.low, "high": gain.high})
    table = pd.DataFrame(rows)
    print(f"\nlayer {layer}, dose ±0.3, nats per token\n" + table.round(3).to_string(index=False))
    means = table.pivot(index="style", columns="pool", values="gain")
    assert (means["suffix"] > means["content"].clip(lower=0)).all()
