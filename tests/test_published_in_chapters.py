"""Published figures that a chapter's code writes out are those of book/published.yml."""

import ast
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = yaml.safe_load((ROOT / "book" / "published.yml").read_text(encoding="utf-8"))["figures"]


def constants(chapter):
    """Names in capitals and the literals that the chapter's code assigns to them."""
    cells = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8"))["cells"]
    found = {}
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse("".join(cell["source"])).body:
            if not isinstance(node, ast.Assign):
                continue
            [target] = node.targets
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            values = node.value.elts if isinstance(node.value, ast.Tuple) and len(names) > 1 else [node.value]
            for name, value in zip(names, values, strict=False):
                if isinstance(name, ast.Name) and name.id.isupper():
                    try:
                        found[name.id] = ast.literal_eval(value)
                    except ValueError:
                        continue
    return found


def at(figure, place):
    [places] = PUBLISHED[figure]["along"].values()
    return PUBLISHED[figure]["value"][places.index(place)]


SINK = {
    "MEAN_NORM_0": at("steering.residual_norm", 0),
    "MEAN_NORM_3": at("steering.residual_norm", 3),
    "MEAN_NORM_15": at("steering.residual_norm", 15),
    "TERSE_3": at("steering.vector_norm", 3),
    "TERSE_12": at("steering.vector_norm", 12),
    "TERSE_15": at("steering.vector_norm", 15),
    "MAKEFILE_3": PUBLISHED["steering.vector_norm_makefile"]["value"],
    "COSINE_TERSE": PUBLISHED["steering.cosine_terse"]["value"],
    "COSINE_MEAN": PUBLISHED["steering.cosine_mean"]["value"],
    "COSINE_LARGEST": PUBLISHED["steering.cosine_largest"]["value"],
}


@pytest.mark.parametrize("name", SINK)
def test_the_chapter_on_the_first_token_uses_the_published_figure(name):
    assert constants("06_sink")[name] == SINK[name]


def test_the_gates_chapter_uses_the_published_spreads():
    found = constants("02_gates_train")
    assert found["PUBLISHED"] == {name: PUBLISHED[f"gates.{name}.std"]["value"] for name in ("baseline", "chat")}
    assert found["PUBLISHED_DRAW"] == PUBLISHED["gates.init_logit_std"]["value"]


def test_the_chapter_on_updates_uses_the_published_ratios():
    found = constants("10_phase3b_updates")
    for lang in ("zh", "en"):
        assert list(found[f"PUBLISHED_{lang.upper()}"]) == PUBLISHED[f"z.update.{lang}"]["value"]


MASK = {
    "PUBLISHED_RANK": "z.effective_rank",
    "PUBLISHED_SIMILARITY": "z.layer_similarity",
    "PUBLISHED_DROP": "z.phase_boundary",
    "PUBLISHED_AVOIDANCE": "z.ffn_avoidance",
    "PUBLISHED_RATIO": "z.ratio_z",
    "PUBLISHED_RATIO_PERP": "z.ratio_z_perp",
}


@pytest.mark.parametrize("name", MASK)
def test_the_chapter_on_the_mask_uses_the_published_figure(name):
    assert constants("08_z_mask")[name] == PUBLISHED[MASK[name]]["value"]


def test_the_chapter_on_patching_uses_the_published_counts():
    found = constants("09_phase3a_patching")
    for name, figure in (("Z", "z"), ("PERP", "z_perp"), ("FULL", "full")):
        assert found[f"PUBLISHED_{name}"] == at(f"z.patch.{figure}_changed", "L32 k50")
    assert list(found["PUBLISHED_RANDOM"]) == PUBLISHED["z.patch.random_changed"]["value"]
    assert list(found["PUBLISHED_REST"]) == PUBLISHED["z.patch.random_complement_changed"]["value"]


def test_the_chapter_on_the_bridge_uses_the_published_figures():
    found = constants("12_phase3d_bridge")
    assert list(found["PUBLISHED_KS"]) == PUBLISHED["z.bridge.leave_one_out"]["along"]["k"]
    assert found["PUBLISHED_KS"] == tuple(PUBLISHED["z.bridge.noise"]["along"]["k"])
    assert list(found["PUBLISHED_Q2"]) == PUBLISHED["z.bridge.leave_one_out"]["value"]
    assert list(found["PUBLISHED_NOISE"]) == PUBLISHED["z.bridge.noise"]["value"]
    assert found["PUBLISHED_R2"] == PUBLISHED["z.bridge.in_sample"]["value"]
    assert found["PUBLISHED_NORMAL"] == PUBLISHED["z.bridge.leave_one_out_normal"]["value"]


def test_the_last_chapter_uses_the_planned_hours():
    assert list(constants("13_what_we_believe")["BUDGET"]) == PUBLISHED["z.budget"]["value"]
