"""Imports point one way; importing zkit is light; hooks are registered in one place only."""

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import zkbook
import zkit

ROOT = Path(zkit.__file__).parent
BOOK = Path(zkbook.__file__).parent
LAYERS = """
errors
subspaces | stats | causal | answers | replies | progress | foreign | writing | processes | \
reading yaml_files tensor_files
held cache sources gguf_model loading prompts template_trial templates eager hooks sites decoder tokens packing memory \
positions choice edits folding prefill batching recording scoring generation probe models readout anatomies \
refusals pooling tasks questions
patching phase3 | steering | gating
embedded
report __main__
zkbook.tables zkbook.claims zkbook.figures zkbook.explorable | zkbook.shapes | zkbook.extraction
zkbook.pages | zkbook.experiments zkbook.organism
zkbook.replication
zkbook.verbs | zkbook.site
"""
"""From the bottom up, a layer a line. What stands on two sides of a bar knows nothing of each other; else a module may
use those before it."""
PLACES = {
    name: (i, j, k)
    for i, line in enumerate(LAYERS.strip().replace("\\\n", "").splitlines())
    for j, group in enumerate(line.split("|"))
    for k, name in enumerate(group.split())
}

FILES = sorted([*ROOT.rglob("*.py"), *BOOK.rglob("*.py")])


def home(dotted: str) -> str:
    """The entry of LAYERS that a module belongs to."""
    package, _, rest = dotted.partition(".")
    inside = rest.split(".")[0] or "__init__"
    return inside if package == "zkit" else f"{package}.{inside}"


def dotted(path: Path) -> str:
    package = ROOT if path.is_relative_to(ROOT) else BOOK
    parts = (package.name, *path.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path) for path in FILES}


def imports(tree: ast.AST, module: str, package: bool) -> set[str]:
    """Modules of zkit and zkbook that the code imports anywhere, functions and type checking included."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: None if package else -1]
            base = (
                ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            whole = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else base for name in whole}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {ast.literal_eval(a) for a in node.args[:1] if isinstance(a, ast.Constant)}
        found |= imports(node, module, package)
    return {name for name in found if name.split(".")[0] in ("zkit", "zkbook")}


def allowed(importer: str, imported: str) -> bool:
    (i, j, k), (a, b, c) = PLACES[importer], PLACES[imported]
    return importer == imported or a < i or (a == i and b == j and c < k)


def test_the_rule_itself():
    assert allowed("models", "edits")
    assert not allowed("edits", "models")
    assert allowed("zkbook.claims", "subspaces")
    assert not allowed("subspaces", "stats")
    assert not allowed("steering", "zkbook.figures")
    assert not allowed("zkbook.pages", "zkbook.organism")
    assert allowed("zkbook.organism", "steering")
    assert allowed("zkbook.replication", "zkbook.organism")
    assert not allowed("zkbook.pages", "zkbook.replication")
    source = "def f():\n    from zkit import models\nfrom .vectors import x\nif TYPE_CHECKING:\n    import zkit.models"
    found = imports(ast.parse(source), "zkit.steering.apply", False)
    assert found == {"zkit.models", "zkit.steering.vectors"}


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_imports_point_one_way(path):
    module = dotted(path)
    for name in imports(ast.parse(path.read_text()), module, path.name == "__init__.py"):
        if module == "zkit":
            continue  # resolves names lazily
        if name == "zkit":  # through its lazy names everything is in reach, so only the top may
            assert module.startswith("zkbook."), f"{module} imports the lazy package itself"
            continue
        assert allowed(home(module), home(name)), f"{module} imports {name}, which stands above it"


def test_no_module_waits_for_itself():
    """Inside a package too: what a module imports, whenever it does, never leads back to it."""
    graph = {dotted(p): imports(ast.parse(p.read_text()), dotted(p), p.name == "__init__.py") - {"zkit"} for p in FILES}
    graphlib.TopologicalSorter({name: found & MODULES - {name} for name, found in graph.items()}).prepare()


def test_every_module_has_its_place():
    assert {home(module) for module in MODULES} - {"__init__", "zkbook.__init__"} == set(PLACES)


def fresh(code: str) -> list[str]:
    """The modules that a new interpreter has loaded after running ``code``."""
    code = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


HEAVY = {
    "torch",
    "transformers",
    "IPython",
    "numpy",
    "matplotlib",
    "plotly",
    "ipywidgets",
    "papermill",
    "pandas",
    "scipy",
}


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import zkit; dir(zkit); zkit.ZkitError", HEAVY),
        ("import zkit.sources; zkit.sources.resolve('embedded')", HEAVY),
        (
            "import zkit; zkit.load",
            {"IPython", "matplotlib", "plotly", "ipywidgets", "papermill", "zkit.steering", "zkbook.pages"},
        ),
        ("import zkbook.claims", {"torch", "IPython"}),
    ],
)
def test_what_is_not_needed_is_not_loaded(code, absent):
    assert not absent & set(fresh(code))


def test_lazy_names_resolve():
    assert zkit.load is __import__("zkit.models", fromlist=["load"]).load
    assert zkit.steer is zkit.steering.steer
    for name in zkit.__all__:
        assert getattr(zkit, name) is not None
    assert set(zkit.__all__) <= set(dir(zkit))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = zkit.nothing


def test_hooks_are_registered_where_the_primitive_is():
    found = {}
    for path in FILES:
        calls = [
            n.attr
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Attribute) and n.attr.startswith("register_")
        ]
        if hooks := [name for name in calls if "hook" in name]:
            found[dotted(path)] = len(hooks)
    assert found == {"zkit.hooks": 2}  # before a module runs, and after it


@pytest.mark.parametrize("path", FILES, ids=dotted)
def test_no_weights_are_written_but_in_a_copy(path):
    """Nothing but training and ``fold`` (which works on a copy) assigns parameters."""
    made = "nn.Parameter(" in path.read_text()
    assert not made or dotted(path) == "zkit.steering.apply" or home(dotted(path)) == "zkbook.organism"
