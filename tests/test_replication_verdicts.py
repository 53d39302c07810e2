"""Rules of replication: pure functions of a printed number, a tolerance and a measurement."""

from pathlib import Path

import pytest
import yaml

from zkbook import shapes
from zkbook.replication import records
from zkbook.replication.records import Figure, Measure, Tolerance, number, read
from zkbook.replication.verdicts import Measured, NotMeasured, Verdict, bounds, is_same_model, judge
from zkit.errors import ZkitError

FILE = Path(__file__).resolve().parent.parent / "book" / "published.yml"
PUBLISHED = read(FILE)
NEAR = Tolerance(absolute=2.0)


def verdict(value, tolerance=NEAR, printed=10.0, same_model=True, untrained=False):
    found = value if isinstance(value, NotMeasured) else Measured(value=value)
    return judge(printed, tolerance, found, same_model=same_model, untrained=untrained)


@pytest.mark.parametrize("value", [8.0, 10.0, 12.0])
def test_inside_the_tolerance_is_reproduced(value):
    assert verdict(value) == Verdict("reproduced")


@pytest.mark.parametrize("value", [7.99, 12.01, -10.0])
def test_outside_of_it_is_not(value):
    assert verdict(value) == Verdict("not reproduced", "outside 8 to 12")


@pytest.mark.parametrize(
    ("printed", "tolerance", "ends"),
    [
        (10.0, Tolerance(absolute=0.0), (10, 10)),
        (-311.0, Tolerance(relative=0.5), (-466.5, -155.5)),
        ([16.0, 35.0], Tolerance(range=[20.0, 30.0]), (20, 30)),
        (0.0, Tolerance(range=[0.0, 5.0]), (0, 5)),
        (0.5, Tolerance(relative=0.1), (0.45, 0.55)),
    ],
)
def test_bounds(printed, tolerance, ends):
    assert bounds(printed, tolerance) == pytest.approx(ends)


def test_another_model_replicates_nothing_however_near_it_lies():
    for value in (10.0, 99.0):
        assert verdict(value, same_model=False) == Verdict("cannot be compared", "another model")


def test_untrained_weights_reproduce_nothing_whatever_their_shape():
    for same in (True, False):
        assert str(verdict(10.0, same_model=same, untrained=True)) == "not reproduced: untrained weights"


def test_what_is_not_measured_says_why_before_anything_else():
    asked = NotMeasured(why="needs a folder")
    said = "not measured: needs a folder"
    for same in (True, False):
        assert str(verdict(asked, same_model=same)) == f"cannot be compared: {said}"
        random = verdict(asked, same_model=same, untrained=True)
        assert str(random) == f"not reproduced: untrained weights; {said}"
    broken = verdict(NotMeasured(why="out of memory", failed=True))
    assert str(broken) == "cannot be compared: failed: out of memory"


SHAPE = PUBLISHED.models["qwen3-0.6b"]
OWN = SHAPE.model_dump(exclude={"id", "source"}) | {"id": "elsewhere"}


def test_a_model_is_the_published_one_by_name_and_by_shape():
    assert is_same_model("Qwen/Qwen3-0.6B", OWN, SHAPE)
    assert not is_same_model("Qwen/Qwen3-0.6B-Base", OWN, SHAPE)  # a shape alone proves nothing
    assert not is_same_model("Qwen/Qwen3-0.6B", OWN | {"layers": 10}, SHAPE)
    assert not is_same_model("", OWN, SHAPE)


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_shapes_of_both_published_families_are_written_as_published(family):
    from tiny import config

    found = shapes.from_config(config(family).to_dict(), "tiny")
    assert found["architecture"] in {shape.architecture for shape in PUBLISHED.models.values()}
    assert (found["id"], found["layers"], found["kv_heads"]) == ("tiny", 4, 2)


def figure(**changes):
    plain = {"topic": "z", "says": "a", "unit": "b", "model": "qwen2.5-3b", "source": "phase3spec"}
    return Figure(**plain | changes)


def test_places_and_printed_numbers_go_together():
    ends = Measure(by="shape", tolerance=NEAR)
    inside = Measure(by="shape", tolerance=Tolerance(range=[1.0, 2.0]))
    for found, places, printed in (
        (figure(value=3.0), [""], [3.0]),
        (figure(value=[3.0, 4.0], along={"layer": [0, "2 to 6"]}), ["layer 0", "layer 2 to 6"], [3.0, 4.0]),
        (figure(range=[1.0, 2.0], measured=ends), ["smallest", "largest"], [1.0, 2.0]),
        (figure(range=[1.0, 2.0], measured=inside), [""], [[1.0, 2.0]]),
    ):
        assert (found.places, found.printed) == (places, printed)


def test_numbers_are_written_whole_or_to_four_digits():
    assert [number(x) for x in (86016.0, 0.1, 487.52, -311)] == ["86,016", "0.1", "487.5", "-311"]


BROKEN = [
    ({"z.shape": {"topic": "astrology"}}, "figures.z.shape names the unknown topic 'astrology'"),
    ({"z.shape": {"model": "gpt"}}, "unknown model 'gpt'"),
    ({"z.shape": {"value": [1, 2]}}, "has 2 values for 5 places"),
    ({"z.shape": {"not_measured": "no"}}, "needs measured or not_measured, one of them"),
    ({"z.shape": {"measured": {"by": "shape", "tolerance": {}}}}, "needs one tolerance"),
    ({"z.shape": {"measured": {"by": "shape", "tolerance": {"absolute": 1, "relative": 1}}}}, "needs one tolerance"),
    ({"z.shape": {"measured": {"by": "shape", "tolerance": {"absolute": -1}}}}, "greater than or equal to 0"),
    ({"z.shape": {"range": [1, 2]}}, "needs a value or a range, one of them"),
    ({"z.shape": {"mood": "good"}}, "has the unknown field 'figures.z.shape.mood'"),
]


@pytest.mark.parametrize(("changes", "message"), BROKEN)
def test_a_broken_record_is_named(tmp_path, changes, message):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for key, fields in changes.items():
        content["figures"][key] |= fields
    (tmp_path / "published.yml").write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.raises(ZkitError, match=r"published\.yml") as error:
        records.read(tmp_path / "published.yml")
    assert message in str(error.value)
