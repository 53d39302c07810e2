"""The handle inside a notebook: its own check of the parameters, and results that are whole or not there."""

import json
import math
from types import SimpleNamespace

import disks
import numpy as np
import pytest
from tiny_book import PARAMETERS

from zkbook.pages import begin, chapter, foot, places, provenance, results
from zkit.errors import ZkitError

SHOWN = []


@pytest.fixture(autouse=True)
def shown(monkeypatch):
    SHOWN.clear()
    monkeypatch.setattr(chapter, "display", lambda data, raw=False, metadata=None: SHOWN.append((data, metadata)))


def namespace(tmp_path, injected="", **values):
    """What ``globals()`` is after the parameters cell and the cell that papermill injected."""
    space = {"In": ["", PARAMETERS, *([f"# Parameters\n{injected}"] if injected else []), "current"]}
    exec(PARAMETERS, space)
    exec(injected, space)
    return space | {"out": str(tmp_path)} | values


def saved(tmp_path, name="00_c"):
    return json.loads((tmp_path / "results" / f"{name}.json").read_text())


def test_results_follow_the_schema(tmp_path):
    handle = begin("00_c", namespace(tmp_path))
    handle.stat("share", 0.5, n=20, ci=(0.3, 0.7), unit="of prompts")
    handle.stat("count", np.int64(3))
    handle.finish()
    kept = saved(tmp_path)
    assert list(kept) == ["schema", "parameters", "model", "versions", "stats", "claims"]
    assert kept["schema"] == 1 and kept["model"] is None
    assert kept["parameters"] == {"alpha": 2.0, "seed": 0, "profile": "embedded"}
    assert kept["stats"]["share"] == {"value": 0.5, "n": 20, "ci": [0.3, 0.7], "unit": "of prompts"}
    assert kept["stats"]["count"] == {"value": 3, "n": None, "ci": None, "unit": None}


def test_an_interval_brings_its_count_and_bounds(tmp_path):
    handle = begin("00_c", namespace(tmp_path))
    handle.stat("share", SimpleNamespace(value=0.5, low=0.3, high=0.7, n=20))
    assert handle.stats["share"] == {"value": 0.5, "n": 20, "ci": [0.3, 0.7], "unit": None}


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan"), "text", None, np.zeros(2), [1.0]])
def test_what_is_no_finite_number_is_refused_by_key(tmp_path, value):
    handle = begin("00_c", namespace(tmp_path))
    with pytest.raises(ZkitError, match="'share'"):
        handle.stat("share", value)
    assert not handle.stats


@pytest.mark.parametrize("wrong", [{"ci": (0.7, 0.3)}, {"ci": (math.nan, 1)}, {"ci": (1, 2, 3)}, {"n": -1}, {"n": 1.5}])
def test_broken_intervals_and_counts_are_refused(tmp_path, wrong):
    with pytest.raises(ZkitError, match="'share'"):
        begin("00_c", namespace(tmp_path)).stat("share", 0.5, **wrong)


def test_a_key_that_prose_cannot_cite_is_refused(tmp_path):
    with pytest.raises(ZkitError, match="stat key 'a:b'"):
        begin("00_c", namespace(tmp_path)).stat("a:b", 1)


def test_plain_papermill_cannot_inject_an_unknown_name(tmp_path):
    with pytest.raises(ZkitError, match="no parameter 'alfa'; did you mean 'alpha'"):
        begin("00_c", namespace(tmp_path, injected="alfa = 3.0"))


@pytest.mark.parametrize("injected", ['alpha = "much"', 'alpha = float("nan")', 'alpha = float("inf")', "seed = -1"])
def test_plain_papermill_cannot_inject_a_bad_value(tmp_path, injected):
    with pytest.raises(ZkitError, match="is refused"):
        begin("00_c", namespace(tmp_path, injected=injected))


def test_injected_values_are_taken(tmp_path):
    assert begin("00_c", namespace(tmp_path, injected="alpha = 3")).parameters["alpha"] == 3.0


def test_cells_with_magics_and_annotated_names_of_other_kinds_do_no_harm(tmp_path):
    space = namespace(tmp_path)
    space["In"].insert(1, "%load_ext autoreload\n!ls")
    exec("x: object = object()", space)
    assert list(begin("00_c", space).parameters) == ["alpha", "seed", "profile", "out"]


def test_parameters_are_found_without_a_history_as_under_nbval(tmp_path):
    space = namespace(tmp_path) | {"In": [""]}
    assert begin("00_c", space).parameters["alpha"] == 2.0
    with pytest.raises(ZkitError, match="alpha = 'much' is refused"):
        begin("00_c", space | {"alpha": "much"})


def test_begin_without_a_parameters_cell_says_what_to_do(tmp_path):
    with pytest.raises(ZkitError, match="first cell"):
        begin("00_c", {"In": ["", "x = 1"]})


def test_need_reads_results_and_names_the_command_that_makes_them(tmp_path):
    handle = begin("01_d", namespace(tmp_path))
    with pytest.raises(ZkitError, match=r"python -m zkit run notebooks/00_c.ipynb -p out=.*"):
        handle.need("00_c")
    begin("00_c", namespace(tmp_path)).finish()
    assert handle.need("00_c")["parameters"]["alpha"] == 2.0


def test_need_command_keeps_profile_and_model(tmp_path):
    values = {"profile": "smoke", "model": "org/m"}
    assert "--profile smoke --model org/m -p out=" in places.command("00_c", values, tmp_path)


LEFT = {
    "schema": 1,
    "parameters": {"alpha": 2.0},
    "model": None,
    "versions": {"python": "3.11"},
    "stats": {"x": {"value": 1, "n": None, "ci": [0.5, 1.5], "unit": "of prompts"}},
    "claims": [],
}


def with_stat(**changes):
    return json.dumps(LEFT | {"stats": {"x": LEFT["stats"]["x"] | changes}})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "not of results schema 1"),
        ("null", "not of results schema 1"),
        ('"text"', "not of results schema 1"),
        ('{"schema": 99}', "not of results schema 1"),
        ("[" * 100_000, "nests deeper|is not JSON"),
        (json.dumps(LEFT).replace("2.0", '{"a":' * 300 + "1" + "}" * 300), "nests deeper"),
        (json.dumps(LEFT).encode("utf-16-le"), "cannot be read as text|is not JSON"),
        (json.dumps(LEFT | {"stats": []}), "stats"),
        (json.dumps(LEFT | {"stats": {"x": 1}}), r"stats\.x"),
        (json.dumps(LEFT | {"claims": None}), "claims"),
        (json.dumps(LEFT | {"parameters": "all"}), "parameters"),
        (json.dumps({name: value for name, value in LEFT.items() if name != "stats"}), "stats"),
        (json.dumps(LEFT | {"novelty": 1}), "novelty"),
        (with_stat(value=math.nan), "NaN|nan|finite"),
        (with_stat(value=math.inf), "Infinity|inf|finite"),
        (with_stat(value=1).replace('"value": 1', '"value": 1e999'), "inf|finite"),
        (with_stat(value=10**400), "integer of"),
        (with_stat(value=True), r"stats\.x\.value.*True"),
        (with_stat(value="0.5"), r"stats\.x\.value.*0\.5"),
        (with_stat(value=None), r"stats\.x\.value.*None"),
        (with_stat(n="many"), r"stats\.x\.n.*many"),
        (with_stat(n=-1), r"stats\.x\.n.*-1"),
        (with_stat(n=True), r"stats\.x\.n.*True"),
        (with_stat(ci=[0.5]), r"stats\.x\.ci"),
        (with_stat(ci=[0.5, "x"]), r"stats\.x\.ci\.1"),
        (with_stat(ci=0.5), r"stats\.x\.ci"),
        (with_stat(unit=3), r"stats\.x\.unit"),
    ],
)
def test_what_are_no_results_is_refused_by_file_and_entry(tmp_path, content, words):
    path = tmp_path / "results" / "00_c.json"
    path.parent.mkdir()
    path.write_text(json.dumps(LEFT))
    handle = begin("01_d", namespace(tmp_path))
    assert handle.need("00_c") == LEFT
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ZkitError, match=words) as refused:
        handle.need("00_c")
    assert "00_c.json" in str(refused.value)
    assert provenance.results_digest(tmp_path, "00_c") == ""


def test_default_folder_does_not_depend_on_the_working_directory(tmp_path, monkeypatch):
    before = places.local_folder()
    monkeypatch.chdir(tmp_path)
    assert places.out_folder("") == before and before.is_absolute()


def test_installed_without_a_book_results_go_to_the_users_data_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert places.local_folder() == tmp_path / "data" / "zkit" / "runs" / "local"


def test_full_disk_while_writing_results_leaves_the_old_file(tmp_path, monkeypatch):
    handle = begin("00_c", namespace(tmp_path))
    handle.stat("x", 1)
    handle.finish()
    before = saved(tmp_path)
    handle.stat("x", 2)

    with disks.full(), pytest.raises(ZkitError, match=r"no room on the disk for .*00_c.json \(No space left"):
        handle.finish()
    assert saved(tmp_path) == before
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["00_c.json"]


def test_glue_formats_the_kept_figure(tmp_path):
    handle = begin("00_c", namespace(tmp_path))
    handle.stat("share", 0.5, n=20, ci=(0.3, 0.7))
    handle.glue("share", ".0%")
    handle.glue("share", "{value:.0%} ({low:.0%} to {high:.0%}, n = {n})")
    texts = [data["application/papermill.record/text/plain"] for data, _ in SHOWN]
    assert texts == ["50%", "50% (30% to 70%, n = 20)"]
    assert SHOWN[0][1]["scrapbook"] == {"name": "share", "mime_prefix": "application/papermill.record/"}
    with pytest.raises(ZkitError, match=r"no stat 'shore'; it has: share"):
        handle.glue("shore")
    handle.glue("shore", missing="(nothing to measure)")
    handle.glue("share", ".0%", missing="(nothing to measure)")
    texts = [data["application/papermill.record/text/plain"] for data, _ in SHOWN[2:]]
    assert texts == ["(nothing to measure)", "50%"]


def test_smoke_and_foreign_models_carry_a_banner_and_the_book_run_none(tmp_path):
    begin("00_c", namespace(tmp_path))
    assert not SHOWN
    begin("00_c", namespace(tmp_path, profile="smoke"))
    assert "Too few items for a verdict" in SHOWN[-1][0]["text/html"]
    chapter.Chapter("00_c", {"model": "org/<m>", "out": str(tmp_path)})
    assert "those of org/&lt;m&gt;" in SHOWN[-1][0]["text/html"]


def test_a_smoke_run_decides_no_claim(tmp_path):
    from zkbook.claims import Bound, Claim

    claim = Claim("C1", "It is large.", "here", "embedded", Bound("x", ">", 1.0), "x exceeds 1")
    for profile, status in (("embedded", "confirmed"), ("smoke", "open")):
        handle = begin("00_c", namespace(tmp_path, profile=profile))
        handle.stat("x", 2.0)
        assert handle.claim(claim).status == status
        handle.finish()
        assert [kept["status"] for kept in saved(tmp_path)["claims"]] == [status]


def test_foot_shows_model_and_parameters_but_no_path(tmp_path):
    begin("00_c", namespace(tmp_path)).finish()
    data, metadata = SHOWN[-1]
    assert str(tmp_path) not in data["text/html"] + data["text/plain"]
    assert foot.UNSTAMPED in data["text/html"] and "alpha" in data["text/html"]
    modules = metadata["zkit"]["modules"]
    assert "zkbook.pages.chapter" in modules and "zkit.errors" in modules
    stamped = foot.foot("00_c", {"id": "<m>", "sha256": "ab" * 32}, {"alpha": 2.0}, {"alpha": "ef" * 32}, "cd" * 32)
    assert "2.0 (sha256 efefefefefef)" in stamped["text/html"]
    assert "cdcdcdcdcdcd" in stamped["text/html"] and "&lt;m&gt; (sha256 abababababab)" in stamped["text/html"]


def test_results_digest_sees_figures_and_not_versions():
    one = {"schema": 1, "versions": {"numpy": "1"}, "stats": {"x": {"value": 1}}}
    assert results.digest(one) == results.digest(one | {"versions": {"numpy": "2"}})
    assert results.digest(one) != results.digest(one | {"stats": {"x": {"value": 2}}})
