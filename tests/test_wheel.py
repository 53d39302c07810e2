"""The wheel holds everything that the library needs, and works where the repository is not."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import zkit
from zkit.sources import resolve

ROOT = Path(zkit.__file__).parents[1]
WEIGHTS = ROOT / "zkit" / "embedded" / "weights" / "model.safetensors"


def run(*command, **options):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that no build folder appears in the repository."""
    source = tmp_path_factory.mktemp("source")
    hidden = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "zkit", source / "zkit", ignore=hidden)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    pip = ["-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", source / "dist", source]
    run(*pip, cwd=source)
    [path] = (source / "dist").glob("zkit-*.whl")
    return path


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {"zkit/steering/topic_lenses.yml", "zkit/embedded/weights/tokenizer.json"} <= inside
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "zkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert here <= inside
    assert not [name for name in inside if name.startswith(("tests", "notebooks", "book", "zkbook"))]
    assert wheel.stat().st_size < 12e6


CODE = """
import json, sys
sys.modules["zkbook"] = None  # the library does without the book's package
import zkit
model, question = zkit.load(), ["What is two plus three?"]
said = [model.generate(question, 8)]
with zkit.steer(model, zkit.steering.actadd(model, "terse", layer=4), dose=0.3):
    said.append(model.generate(question, 8))
with zkit.gate(model, zkit.embedded.gates("chat_energy")):
    said.append(model.generate(question, 8))
from zkit.questions import shipped

asked = [len(shipped(own).tasks()) * len(shipped(own).topics()) * len(shipped(own).problems()) for own in (True, False)]
print(json.dumps([zkit.__file__, model.id, model.sha256, said, asked]))
"""


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("elsewhere")
    run("-m", "pip", "install", "--no-deps", "--no-index", "-q", "--target", target, wheel)
    return target


def elsewhere(installed, tmp_path, *command):
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1", "HF_HUB_OFFLINE": "1"}
    return run(*command, cwd=tmp_path, env=environment)


def test_the_library_works_elsewhere(installed, tmp_path):
    found = elsewhere(installed, tmp_path, "-c", "import zkit; print(zkit.__file__)")
    assert Path(found.strip()) == installed / "zkit" / "__init__.py"
    assert "usage" in elsewhere(installed, tmp_path, "-m", "zkit", "--help")


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"the embedded model is not there yet: {WEIGHTS}")
def test_the_embedded_model_answers_elsewhere(installed, tmp_path):
    file, name, sha, said, asked = json.loads(elsewhere(installed, tmp_path, "-c", CODE).splitlines()[-1])
    assert Path(file).is_relative_to(installed)
    assert name == "embedded"
    assert sha == resolve("embedded").sha256()
    assert all(answer.strip() for [answer] in said) and all(asked)
