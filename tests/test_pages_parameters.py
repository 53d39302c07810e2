"""Parameters: what a chapter declares, and the refusal of whatever it is wrongly given."""

import json
import math

import papermill
import pytest
from tiny_book import PARAMETERS, write_chapter

from zkbook.pages import parameters, profiles, sourcebook
from zkit.errors import ZkitError

KNOWN = parameters.declared(
    PARAMETERS + "layer: int = -1\ndoses: list = [0, 0.5]\ndtype: str = 'auto'\ndevice: str = 'auto'\n", "chapter"
)
TYPED = KNOWN | parameters.declared(
    'flag: bool = False\nlabel: str = ""\nwords: list[str] = []\ncounts: list[int] = []\npairs: list = []\n', "chapter"
)


def test_a_cell_declares_names_annotations_and_defaults_in_order():
    found = parameters.declared(
        '"""Doc."""\nalpha: float = 2.0  # a = b\ndoses: list[float] = [\n    0, 1.5,\n]\n', "c"
    )
    assert [(p.name, p.annotation, p.default) for p in found.values()] == [
        ("alpha", "float", 2.0),
        ("doses", "list[float]", [0, 1.5]),
    ]


def test_papermill_reads_the_same_parameters(tmp_path):
    path = write_chapter(tmp_path, "c")
    assert list(papermill.inspect_notebook(path)) == list(sourcebook.read(path).parameters)


def test_defaults_are_completed_by_what_is_given():
    values = parameters.validate(KNOWN, {"alpha": 3, "doses": [0, 1]}, "chapter")
    assert values["alpha"] == 3.0 and isinstance(values["alpha"], float)
    assert values["seed"] == 0 and values["doses"] == [0.0, 1.0]


def test_unknown_name_lists_the_chapters_own_and_the_closest():
    with pytest.raises(
        ZkitError, match=r"chapter has no parameter 'alfa'; did you mean 'alpha'\?.*alpha, seed, profile"
    ):
        parameters.validate(KNOWN, {"alfa": 1.0}, "chapter")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", "much"),
        ("alpha", True),
        ("alpha", None),
        ("alpha", math.nan),
        ("alpha", math.inf),
        ("alpha", -math.inf),
        ("layer", -2),
        ("layer", 3.0),
        ("layer", True),
        ("seed", -1),
        ("seed", 2**32),
        ("doses", []),
        ("doses", [0.5, math.nan]),
        ("doses", ["a"]),
        ("doses", 0.5),
        ("dtype", "float8"),
        ("device", "gpu"),
        ("profile", "large"),
        ("out", 3),
    ],
)
def test_wrong_type_range_or_not_finite_is_refused_by_name(name, value):
    with pytest.raises(ZkitError, match=rf"chapter: parameter {name} = .* is refused"):
        parameters.validate(KNOWN, {name: value}, "chapter")


@pytest.mark.parametrize("value", ["cpu", "cuda", "cuda:1", "mps", "auto"])
def test_devices(value):
    assert parameters.validate(KNOWN, {"device": value}, "c")["device"] == value


def test_names_outside_the_vocabulary_are_checked_by_their_annotation():
    own = parameters.declared("temperature: float = 1.0\nwords: list[str] = []\nanything = None\n", "mine")
    assert parameters.validate(own, {"anything": {"a": 1}}, "mine")["anything"] == {"a": 1}
    for wrong in ({"temperature": math.inf}, {"temperature": "hot"}, {"words": [1]}):
        with pytest.raises(ZkitError, match="is refused"):
            parameters.validate(own, wrong, "mine")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("alpha: float = 1 +", "not Python"),
        ("alpha: float = compute()", "must be a literal"),
        ("import os", "not of the form"),
        ("alpha: float", "not of the form"),
        ("alpha: int = 1", "annotate 'alpha' as float"),
        ("alpha = 1.0", "annotate 'alpha' as float"),
    ],
)
def test_malformed_parameters_cell_is_refused(source, message):
    with pytest.raises(ZkitError, match=message):
        parameters.declared(source, "chapter")


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("alpha=3", 3.0),
        ("alpha=3e-4", 3e-4),
        ("alpha=-.5", -0.5),
        ("alpha=1_000.5", 1000.5),
        ("doses=[0, .5]", [0, 0.5]),
        ("doses=[5e-1, 1.0]", [0.5, 1.0]),
        ("doses=[1_0, '5e-1', 010]", [10.0, 0.5, 10.0]),
        ("seed=010", 10),
        ("seed=0", 0),
        ("seed= 7 ", 7),
        ("seed=1_000", 1000),
        ("out=yes", "yes"),
        ("out=a=b", "a=b"),
        ("device=cuda:1", "cuda:1"),
        ("flag=yes", True),
        ("flag=false", False),
        ("label=010", "010"),
        ("label=null", "null"),
        ("label='quoted'", "'quoted'"),
        ("words=[010, yes, 1:30, null, 'a, b']", ["010", "yes", "1:30", "null", "a, b"]),
        ("counts=[010, 1_000]", [10, 1000]),
        ("pairs=[[5e-1, 010], [a, '010'], [true, {b: 1e3}]]", [[0.5, 10], ["a", "010"], [True, {"b": 1000.0}]]),
    ],
)
def test_typed_values_are_read_by_the_declared_type(typed, value):
    name, found = parameters.parse(typed, TYPED)
    checked = parameters.validate(TYPED, {name: found}, "chapter")[name]
    assert checked == value and type(checked) is type(value)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("alpha=nan", "alpha = nan is refused: alpha should be a finite number"),
        ("alpha=inf", "alpha = inf is refused"),
        ("alpha=.inf", "alpha = '.inf' is refused: alpha should be a valid number"),
        ("alpha=", "alpha = '' is refused"),
        ("alpha=much", "alpha = 'much' is refused"),
        ("alpha=yes", "alpha = 'yes' is refused"),
        ("alpha=null", "alpha = 'null' is refused"),
        ("alpha=1:30", "alpha = '1:30' is refused"),
        ("alpha=0x10", "alpha = '0x10' is refused"),
        ("alpha=[1", "neither a number, a list nor plain text"),
        ("alpha=[1]", r"alpha = \[1\] is refused"),
        ("alpha={a: 1}", "alpha = {'a': 1} is refused"),
        ("seed=true", "seed = 'true' is refused: seed should be a valid integer"),
        ("seed=1.5", "seed = 1.5 is refused: seed should be a valid integer"),
        ("seed=0x10", "seed = '0x10' is refused"),
        ("seed=0o10", "seed = '0o10' is refused"),
        ("seed=1:30", "seed = '1:30' is refused"),
        ("seed=1__0", "seed = '1__0' is refused"),
        ("doses=null", "doses = 'null' is refused: doses should be a valid list"),
        ("doses=0.1, 0.2", "doses = '0.1, 0.2' is refused: doses should be a valid list"),
        ("doses=[0.1, yes]", r"doses = \[0.1, 'yes'\] is refused: doses\[1\] should be a valid number"),
        ("doses=[0.1, 1:30]", r"doses\[1\] should be a valid number"),
        ("doses=&a [*a]", r"has an alias \(\*\); write it out"),
        ("doses=" + "[" * 50_000, "nests deeper than 64 lists; write it flat"),
        ("doses=[[", "neither a number, a list nor plain text"),
        ("flag=1", "flag = 1 is refused: flag should be a valid boolean"),
        ("out=a\0b", "out = .* is refused"),
    ],
)
def test_typed_nonsense_never_becomes_a_value(typed, words):
    with pytest.raises(ZkitError, match=words):
        parameters.validate(TYPED, dict([parameters.parse(typed, TYPED)]), "chapter")


@pytest.mark.parametrize("typed", ["alpha", "=3"])
def test_an_option_without_name_or_value_is_refused(typed):
    with pytest.raises(ZkitError, match="name=value"):
        parameters.parse(typed, KNOWN)


def test_every_profile_names_a_model_or_asks_for_one_and_passes_the_vocabulary():
    for notebook, by_profile in profiles._table().items():
        for profile, values in by_profile.items():
            assert profile in profiles.names(), notebook
            known = {name: parameters.Parameter(name, "", value) for name, value in values.items()}
            parameters.validate(known, values, notebook)
    assert all(profiles.model_of(profile) for profile in profiles.names() if profile != "field")
    with pytest.raises(ZkitError, match="'field' has sizes but no model of its own; name one with --model"):
        profiles.model_of("field")


def test_unknown_profile_is_refused(tmp_path):
    clean = sourcebook.read(write_chapter(tmp_path, "c", parameters="alpha: float = 1.0"))
    with pytest.raises(ZkitError, match="no profile 'larg'; choose one of smoke, embedded, field, qwen"):
        sourcebook.plan(clean, "larg")


def test_profile_sets_only_what_the_chapter_declares(tmp_path):
    with_model = sourcebook.read(
        write_chapter(tmp_path, "a", parameters='model: str = "embedded"\ndtype: str = "auto"')
    )
    without = sourcebook.read(write_chapter(tmp_path, "b", parameters="alpha: float = 1.0"))
    assert sourcebook.plan(with_model, "qwen").parameters == {"model": "Qwen/Qwen3-0.6B", "dtype": "bfloat16"}
    assert sourcebook.plan(without, "qwen").parameters == {"alpha": 1.0}


def test_given_beats_model_option_beats_profile(tmp_path):
    clean = sourcebook.read(write_chapter(tmp_path, "a", parameters='model: str = "embedded"'))
    folder = tmp_path / "weights"
    folder.mkdir()
    assert sourcebook.plan(clean, "qwen", "org/other").parameters["model"] == "org/other"
    chosen = sourcebook.plan(clean, "qwen", "org/other", {"model": str(folder)})
    assert chosen.parameters["model"] == str(folder) and chosen.out.name.startswith("qwen-weights@")


def test_all_chapters_of_a_run_share_its_folder_and_model_folders_are_made_absolute(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path / "weights")
    with_model = sourcebook.read(write_chapter(tmp_path, "a", parameters='model: str = "embedded"'))
    without = sourcebook.read(write_chapter(tmp_path, "b", parameters="alpha: float = 1.0"))
    for model in (".", "../weights/", str(tmp_path / "weights")):
        plans = [sourcebook.plan(clean, "smoke", model) for clean in (with_model, without)]
        assert plans[0].out == plans[1].out and plans[0].out.name.startswith("smoke-weights@")
        assert plans[0].parameters["model"] == plans[0].given["model"] == str(tmp_path / "weights")
    by_parameter = sourcebook.plan(with_model, "smoke", None, {"model": "."})
    assert (by_parameter.parameters, by_parameter.out) == (plans[0].parameters, plans[0].out)


def test_missing_model_folder_is_refused_before_a_kernel_starts(tmp_path):
    clean = sourcebook.read(write_chapter(tmp_path, "a", parameters='model: str = "embedded"'))
    with pytest.raises(ZkitError, match="does not exist"):
        sourcebook.plan(clean, "embedded", None, {"model": str(tmp_path / "nowhere")})


def test_relative_out_is_refused_and_the_shells_is_made_absolute(tmp_path, monkeypatch):
    clean = sourcebook.read(write_chapter(tmp_path, "a"))
    with pytest.raises(ZkitError, match="absolute"):
        sourcebook.plan(clean, "embedded", None, {"out": "here"})
    monkeypatch.chdir(tmp_path)
    assert sourcebook.typed(["out=here"], clean) == {"out": str(tmp_path / "here")}


def test_notebook_that_is_missing_or_is_none_is_refused(tmp_path):
    with pytest.raises(ZkitError, match="there is no notebook"):
        sourcebook.read(tmp_path / "a.ipynb")
    code = {"cell_type": "code", "metadata": {}, "source": ["x = 1"]}
    whole = {"nbformat": 4, "cells": [code], "metadata": {"zkit": {"needs": ["a"]}}}
    (tmp_path / "b.ipynb").write_text(json.dumps(whole))
    assert sourcebook.read(tmp_path / "b.ipynb").needs == ["a"]
    broken = [whole | {"cells": 3}, whole | {"cells": [code | {"source": 3}]}, whole | {"metadata": []}, [], None]
    broken += [whole | {"cells": [{"cell_type": "code"}]}, whole | {"metadata": {"zkit": {"needs": "a"}}}]
    broken += [whole | {"nbformat": 3}, whole | {"cells": [code | {"metadata": {"tags": None}}]}]
    broken += [whole | {"cells": [code | {"source": "\ud800"}]}]
    said = r"b\.ipynb.*(not a Jupyter notebook|cannot be read as text|half a character)"
    for content in ("{]", "[" * 50_000, "\ud800", *map(json.dumps, broken)):
        (tmp_path / "b.ipynb").write_bytes(content.encode(errors="surrogatepass"))
        with pytest.raises(ZkitError, match=said):
            sourcebook.read(tmp_path / "b.ipynb")


def test_chapters_are_ordered_by_needs_and_bad_needs_are_refused(tmp_path):
    def cleaned(**needs):
        return [sourcebook.read(write_chapter(tmp_path, name, needs=tuple(n))) for name, n in needs.items()]

    names = [chapter.name for chapter in sourcebook.in_order(cleaned(a=["c"], b=[], c=["b"]))]
    assert names == ["b", "c", "a"]
    with pytest.raises(ZkitError, match="circle: a, b"):
        sourcebook.in_order(cleaned(a=["b"], b=["a"], c=[]))
    with pytest.raises(ZkitError, match="a needs zz, which is not a chapter"):
        sourcebook.in_order(cleaned(a=["zz"]))


def test_what_a_chapter_wants_comes_before_it_and_is_no_need(tmp_path):
    clean = [sourcebook.read(write_chapter(tmp_path, name, wants=wants)) for name, wants in (("a", ("b",)), ("b", ()))]
    assert [chapter.name for chapter in sourcebook.in_order(clean)] == ["b", "a"]
    sourcebook.missing_needs(sourcebook.plan(clean[0], "embedded", None, {"out": str(tmp_path / "out")}))
    with pytest.raises(ZkitError, match="a wants zz, which is not a chapter"):
        sourcebook.in_order([sourcebook.read(write_chapter(tmp_path, "a", wants=("zz",)))])
