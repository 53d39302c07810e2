"""What load refuses before it reads any weights: names, devices; and adapters, which are merged into their base."""

import ast
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import zkit
from zkbook.pages.places import PACKAGES
from zkit import loading, sources


@pytest.fixture
def folder(tmp_path):
    model = tiny.shared()
    model.hf.save_pretrained(tmp_path / "model")
    model.tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", [None, 3, 1.5, True, b"embedded", ["embedded"], {}])
def test_what_cannot_name_a_model(name):
    with pytest.raises(zkit.ZkitError, match="a model is named by a string or a path, got"):
        zkit.load(name)


@pytest.mark.parametrize(
    "name",
    ["a b", "org/na me", "", " ", "-x", "org/-x", "a..b", "a/b/c", "x" * 5000, "org/name\n", "a\0b", "模型", "a//b"],
)
def test_what_is_no_name_of_a_model(name, monkeypatch):
    """Said at once, whether or not there is a network."""
    monkeypatch.setattr(sources.Source, "offline", None)
    with pytest.raises(
        zkit.ZkitError, match="does not exist; give an existing folder or GGUF file, a hub id"
    ) as caught:
        zkit.load(name)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "there is no device 'cuda' here"),
        ({"device": "cuda:7"}, "there is no device 'cuda:7' here"),
        ({"device": torch.device("cuda", 7)}, "there is no device 'cuda:7' here"),
        ({"device": "mps"}, "there is no device 'mps' here"),
        ({"device": "gpu"}, "unknown device 'gpu'; use 'cpu', 'cuda'"),
        ({"device": "cuda:x"}, "unknown device 'cuda:x'"),
        ({"device": ""}, "unknown device ''"),
        ({"device": "meta"}, "unknown device 'meta'"),
        ({"device": 0}, "unknown device 0"),
        ({"device_map": "cuda"}, "there is no device 'cuda' here"),
        ({"device_map": "everywhere"}, "unknown device 'everywhere'"),
        ({"device_map": {"": "cuda:1"}}, "there is no device 'cuda:1' here"),
        ({"device_map": {"": 3}}, "there is no device 'cuda:3' here"),
        ({"device_map": {"": "nowhere"}}, "unknown device 'nowhere'"),
        ({"device": "cpu", "device_map": "auto"}, "device or device_map, not both"),
        ({"dtype": "int8"}, "unknown dtype 'int8'"),
    ],
)
def test_devices_are_looked_for_before_weights_are_read(folder, options, message, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(loading, "_plain", None)
    with pytest.raises(zkit.ZkitError, match=message) as caught:
        zkit.load(folder, **options)
    assert len(str(caught.value)) < 400


def test_devices_that_are_there(folder):
    for options in ({"device": torch.device("cpu")}, {"device_map": {"": "cpu"}}, {"device_map": "auto"}):
        assert zkit.load(folder, **options).device.type in ("cpu", "cuda")


@pytest.fixture
def adapter(folder, tmp_path):
    """A folder as PEFT saves it: an adapter alone, which names its base."""
    path = tmp_path / "adapter"
    path.mkdir()
    (path / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "base_model_name_or_path": str(folder), "r": 1, "target_modules": ["q_proj"]})
    )
    save_file({"x": torch.zeros(1)}, path / "adapter_model.safetensors")
    return path


def test_the_hash_of_an_adapter_covers_its_base(adapter, folder):
    first = sources.resolve(adapter).sha256()
    assert sources.resolve(adapter).base() == sources.resolve(folder)
    assert sources.resolve(folder).base() is None
    tiny.model(seed=1).hf.save_pretrained(folder)
    second = sources.resolve(adapter).sha256()
    save_file({"x": torch.ones(1)}, adapter / "adapter_model.safetensors")
    assert len({first, second, sources.resolve(adapter).sha256(), sources.resolve(folder).sha256()}) == 4
    shutil.rmtree(folder)
    with pytest.raises(zkit.ZkitError, match=r"adapter_config\.json names no base model that can be found"):
        sources.resolve(adapter).sha256()


@pytest.mark.parametrize(
    "text", ["{", "[]", "null", "{}", '{"base_model_name_or_path": null}', '{"base_model_name_or_path": 3}']
)
def test_an_adapter_of_nothing(adapter, text):
    (adapter / "adapter_config.json").write_text(text)
    with pytest.raises(
        zkit.ZkitError, match=r"adapter_config\.json names no base model that can be found .*correct it"
    ):
        zkit.load(adapter)


def test_a_missing_peft_is_named(adapter, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(zkit.ZkitError, match=f"is an adapter of '{folder}', which needs .*: pip install peft"):
        zkit.load(adapter)


def test_an_adapter_is_merged_into_its_base(adapter, folder, monkeypatch):
    """With a stand-in for PEFT, whose adapter doubles one matrix."""

    def merged(hf, location, **options):
        assert location == str(adapter) and options == {"local_files_only": False}
        hf.model.layers[1].mlp.up_proj.weight.mul_(2)
        return SimpleNamespace(merge_and_unload=lambda safe_merge: hf)

    peft = ModuleType("peft")
    peft.__spec__ = SimpleNamespace()
    peft.PeftModel = SimpleNamespace(from_pretrained=merged)
    monkeypatch.setitem(sys.modules, "peft", peft)
    with torch.no_grad():
        found = zkit.load(adapter)
    assert found.id == str(adapter) and found.sha256 == sources.resolve(adapter).sha256()
    base = zkit.load(folder).hf.model.layers[1].mlp.up_proj.weight
    assert torch.equal(found.hf.model.layers[1].mlp.up_proj.weight, 2 * base)


def test_an_adapter_that_does_not_fit(adapter, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("size mismatch\nfor everything")

    peft = ModuleType("peft")
    peft.__spec__ = SimpleNamespace()
    peft.PeftModel = SimpleNamespace(from_pretrained=broken)
    monkeypatch.setitem(sys.modules, "peft", peft)
    with pytest.raises(zkit.ZkitError, match=r"cannot be merged into .*\(RuntimeError: size mismatch\); merge it"):
        zkit.load(adapter)


def test_paths_in_names_stay_paths(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    assert sources.resolve("model").path == sources.resolve(Path("model")).path == folder


# Code in a model folder.

BOMB = "open({mark!r}, 'a').write('ran')\n"
"""Tells on itself as soon as it is imported."""


def write(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def with_code(place, kind, mark):
    """A folder with Python code of its own for one part of the model."""
    model = tiny.shared("llama")
    model.hf.save_pretrained(place)
    model.tokenizer.save_pretrained(place)
    (place / "own.py").write_text(
        BOMB.format(mark=str(mark))
        + "from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast\n"
        "class Own(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = Own\n"
        "class OwnTokenizer(PreTrainedTokenizerFast):\n    pass\n"
    )
    if kind in ("model", "config"):
        parts = {"AutoConfig": "own.Own"} | ({"AutoModelForCausalLM": "own.OwnModel"} if kind == "model" else {})
        write(place / "config.json", model_type="own", auto_map=parts)
    elif kind == "known":
        write(place / "config.json", auto_map={"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.OwnModel"})
    elif kind == "tokenizer":
        parts = {"AutoTokenizer": [None, "own.OwnTokenizer"]}
        write(place / "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map=parts)
    else:
        (place / "custom_generate").mkdir()
        code = BOMB.format(mark=str(mark)) + "def generate(model, **_):\n    return 1\n"
        (place / "custom_generate" / "generate.py").write_text(code)


TRY = """
import sys, zkit
for place in sys.argv[1:]:
    try:
        zkit.load(place).generate(["Hi"], 1)
        print("loaded")
    except zkit.ZkitError as error:
        print(error)
"""


@pytest.mark.parametrize("said", ["y\n" * 50, None], ids=["yes", "no input"])
def test_no_code_in_a_folder_is_run_whatever_stands_on_standard_input(tmp_path, said):
    kinds, mark = ("model", "config", "tokenizer", "known", "generate"), tmp_path / "mark"
    for kind in kinds:
        with_code(tmp_path / kind, kind, mark)
    given = {"stdin": subprocess.DEVNULL} if said is None else {"input": said}
    done = subprocess.run(
        [sys.executable, "-c", TRY, *(str(tmp_path / kind) for kind in kinds)],
        capture_output=True, text=True, timeout=120, **given,
    )  # fmt: skip
    assert not mark.exists()
    lines = done.stdout.splitlines()
    assert len(lines) == len(kinds), done.stderr
    for kind, line in zip(kinds[:3], lines, strict=False):
        assert line.startswith(f"{tmp_path / kind} cannot be loaded without running Python code that it brings along")
        assert "hand them over: zkit.Model(hf, tokenizer, zkit.sources.resolve(" in line
    assert lines[3:] == ["loaded"] * 2  # transformers has code of its own for these
    assert "Do you wish to run" not in done.stdout + done.stderr


def test_the_code_above_would_run(tmp_path, monkeypatch):
    """Where it is allowed to: else the test before it shows nothing."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    for kind in ("model", "tokenizer"):
        mark = tmp_path / f"mark of {kind}"
        with_code(tmp_path / kind, kind, mark)
        AutoTokenizer.from_pretrained(tmp_path / kind, trust_remote_code=True)
        AutoModelForCausalLM.from_pretrained(tmp_path / kind, trust_remote_code=True)
        assert mark.exists()


def test_what_is_trusted_can_be_handed_over(folder):
    model = zkit.Model(
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
        zkit.sources.resolve(folder),
    )
    assert model.id == str(folder) and model.generate(["Hi"], 1)


def test_every_call_that_loads_says_that_no_code_is_run():
    files = [file for package in PACKAGES.values() for file in package.rglob("*.py")]
    calls = [node for file in files for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    loads = [node for node in calls if ast.unparse(node.func).endswith(".from_pretrained")]
    assert len(loads) >= 8
    for node in loads:
        said = {word.arg: ast.unparse(word.value) for word in node.keywords}
        # PEFT has no code of a folder to run and no such option
        assert said.get("trust_remote_code") == "False" or ast.unparse(node.func).startswith("PeftModel."), ast.unparse(
            node
        )


def test_weights_that_do_not_fit_are_told_in_one_sentence(tmp_path, caplog, monkeypatch):
    """transformers tells of them in a table of thirty lines."""
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    saved = shutil.copytree(sources.resolve("embedded").folder(), tmp_path / "model")
    weights = load_file(saved / "model.safetensors")
    unused = {"extra.weight": torch.zeros(3), "extra.bias": torch.zeros(3)}
    save_file(weights | unused, saved / "model.safetensors", {"format": "pt"})
    zkit.load(str(saved))
    [told] = {*caplog.messages}
    assert told.endswith("has 2 tensors that its architecture does not use, the first 'extra.bias'")
    caplog.clear()
    wide = {name: torch.zeros(len(w) + 3, *w.shape[1:]) for name, w in list(weights.items())[:9]}
    save_file(weights | wide, saved / "model.safetensors", {"format": "pt"})
    with pytest.raises(zkit.ZkitError, match=r"9 tensors missing or of another shape, the first .* in the file and \["):
        zkit.load(str(saved))
    assert not caplog.messages
