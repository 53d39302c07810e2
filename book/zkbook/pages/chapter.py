"""The handle that a chapter works with: parameters checked, results kept, the foot of the page shown."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import platform
import sys
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.display import display

from zkbook.pages import foot, inputs, parameters, places, provenance, results
from zkit import processes
from zkit.errors import ZkitError
from zkit.foreign import Html, visible

if TYPE_CHECKING:
    from zkbook.claims import Claim, Verdict
    from zkit.models import Model
    from zkit.questions import Questions

_GLUE = "application/papermill.record/"
_VERSIONS = ("numpy", "scipy", "pandas", "torch", "transformers", "tokenizers", "matplotlib", "plotly", "POT")


def begin(name: str, namespace: MutableMapping[str, Any]) -> Chapter:
    """Open a chapter; its second code cell is ``chapter = pages.begin("00_embedded_model", globals())``.

    ``name`` is the notebook's file name without ``.ipynb``. Checks name, type and range of every parameter, those
    that plain papermill injected too, and that model, device, files to be read and the folder for results are there.
    The model's path and those of files become absolute in ``namespace``: a relative one that papermill injected is
    taken from the kernel's folder, which is the caller's, and the notebook's own default from the notebook's folder.
    Raises ZkitError naming the parameter.
    """
    known = _declared(name, namespace)
    injected = {given: namespace[given] for given in _injected(namespace) if given in namespace}
    values = parameters.validate(known, {given: namespace[given] for given in known} | injected, name)
    values = inputs.located(known, values, injected, places.folder_of(name), name)
    inputs.check(known, values, places.out_folder(str(values.get("out", ""))))
    read = {given: values[given] for given, parameter in known.items() if parameter.reads and values[given]}
    namespace.update(read | {given: values[given] for given in ("model",) if given in values})
    return Chapter(name, values, read)


class Chapter:
    """An open chapter. Every figure it wants to keep goes through :meth:`stat`; :meth:`finish` writes them."""

    def __init__(self, name: str, values: Mapping[str, Any], read: Mapping[str, str] | None = None) -> None:
        """``read`` are those of ``values`` that are paths of what the chapter reads: their contents count."""
        self.name = name
        self.parameters = dict(values)
        self.out: Path = places.out_folder(str(values.get("out", "")))
        """Absolute folder of this run; results are in its ``results/``."""
        self.smoke: bool = values.get("profile") == "smoke"
        """Whether this is a smoke run, too small for any verdict."""
        self.stats: dict[str, dict[str, Any]] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        self._model: dict[str, str] | None = None
        self._weights: dict[str, str] = {}
        self._inputs: dict[str, str] = {}
        self._files = _contents(read or {})
        self._read = dict(read or {})
        self._begun = time.time()
        self._banners()

    @property
    def took(self) -> str:
        """How long the chapter has run so far, in words: "45 s", "3 min 20 s"."""
        minutes, seconds = divmod(round(time.time() - self._begun), 60)
        return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"

    def model(self, id: str | None = None) -> Model:
        """Load the chapter's model (parameters ``model``, ``dtype``, ``device``), or another one by ``id``.

        The hash of its weights becomes part of the chapter's provenance. Raises ZkitError as :func:`zkit.load` does.
        """
        import zkit

        asked = {name: self.parameters.get(name, "auto") for name in ("dtype", "device")}
        chosen = {name: value for name, value in asked.items() if value != "auto"}
        own = str(self.parameters.get("model", "embedded"))
        model = zkit.load(id or own, **chosen)
        sha256 = self._weights[model.id] = model.sha256
        if id is None or id == own:
            self._model = {"id": model.id, "sha256": sha256}
        return model

    def questions(self, model: Model) -> Questions:
        """What the chapter asks a model: the lines of the file ``tasks``, and of the kinds it lacks those that ship.

        Raises ZkitError as :func:`zkit.questions.read` does.
        """
        from zkit import questions

        shipped = questions.shipped(model.source.embedded)
        given = str(self.parameters.get("tasks", ""))
        return questions.read(given).before(shipped) if given else shipped

    def need(self, chapter: str) -> dict[str, Any]:
        """The results of another chapter of this run, as :data:`zkbook.pages.results.SCHEMA` describes them.

        The notebook's metadata lists it too (``{"zkit": {"needs": [...]}}``), which is what the runner orders by.
        Raises ZkitError naming the command that makes the results.
        """
        file = places.results_file(self.out, chapter)
        if not file.is_file():
            raise ZkitError(
                f"{self.name} needs the results of {chapter}, and {self.out} has none; make them with: "
                f"{places.command(chapter, self.parameters, self.out)}"
            )
        found = results.load(file)
        self._inputs[chapter] = results.digest(found)
        return found

    def want(self, chapter: str) -> dict[str, Any] | None:
        """The results of another chapter of this run, as :meth:`need` gives them; None where this run has none.

        The notebook's metadata lists it as ``zkit.wants``.
        """
        if places.results_file(self.out, chapter).is_file():
            return self.need(chapter)
        self._inputs[chapter] = ""
        return None

    def stat(
        self,
        key: str,
        value: Any,
        n: int | None = None,
        ci: tuple[float, float] | None = None,
        unit: str | None = None,
    ) -> None:
        """Keep a figure under ``key``: a number with its count, interval and unit, or a :class:`zkit.stats.Interval`.

        Raises ZkitError for NaN and infinity.
        """
        self.stats[key] = results.stat(key, value, n, ci, unit)

    def glue(self, key: str, form: str = ".3g", missing: str = "") -> None:
        """Make the figure ``key`` citable in prose: ``{glue}`key```, and from another page
        ``{glue}`executed/00_embedded_model.ipynb::key```.

        ``form`` is a format specification (``".0%"``) or a template over value, low, high, n and unit
        (``"{value:.0%} ({low:.0%} to {high:.0%}, n = {n})"``). ``missing`` is what the prose says where a model left
        nothing to measure. Raises ZkitError for a figure that was not kept, unless ``missing`` is given.
        """
        if missing and key not in self.stats:
            shown = missing
        else:
            kept = self._stat(key)
            low, high = kept["ci"] or (None, None)
            shown = form.format(low=low, high=high, **kept) if "{" in form else format(kept["value"], form)
        # Plain text alone is set as code.
        bundle = {f"{_GLUE}text/html": str(Html.escape(shown)), f"{_GLUE}text/plain": visible(shown)}
        display(bundle, raw=True, metadata={"scrapbook": {"name": key, "mime_prefix": _GLUE}})

    def claim(self, claim: Claim) -> Verdict:
        """Judge a claim by its rule, a piece of data, on the figures kept so far; keep and return the verdict.

        A smoke run decides nothing: its verdicts show what was found and stay open.
        """
        from zkbook import claims

        model = str(self.parameters.get("model", "embedded"))
        verdict = claims.judge(claim, self.stats, model)
        if self.smoke:
            verdict = replace(verdict, status="open" if model == claim.model else "not testable")
        self.claims[claim.id] = verdict.to_dict()
        return verdict

    def finish(self) -> None:
        """Write ``<out>/results/<chapter>.json`` atomically and show the foot of the page.

        Raises ZkitError if the disk is full; an older results file then stands.
        """
        file = places.results_file(self.out, self.name)
        shown = provenance.visible(self.parameters)
        shown |= {name: places.from_root(path) for name, path in self._read.items()}
        kept = {
            "parameters": shown,
            "model": self._model,
            "versions": _versions(),
            "stats": self.stats,
            "claims": list(self.claims.values()),
        }
        results.save(file, kept)
        now = _contents(self._read)
        files = {name: sha256 if now[name] == sha256 else provenance.EDITED for name, sha256 in self._files.items()}
        record = {
            "chapter": self.name,
            "out": str(self.out),
            "parameters": shown,
            "model": self._model,
            "files": files,
            "weights": self._weights,
            "inputs": self._inputs,
            "modules": provenance.imported_modules(since=self._begun),
            "peak_bytes": processes.peak_bytes(),
        }
        display(foot.foot(self.name, self._model, shown, files), raw=True, metadata={"zkit": record})

    def _banners(self) -> None:
        if self.smoke:
            display(
                foot.banner("A smoke run", "Too few items for a verdict; the figures only show that the code runs."),
                raw=True,
            )
        model = self.parameters.get("model", "embedded")
        if model != "embedded":
            body = f"The figures on this page are those of {model}. The prose was written about the embedded model."
            display(foot.banner("Another model", body), raw=True)

    def _stat(self, key: str) -> dict[str, Any]:
        if key not in self.stats:
            raise ZkitError(f"{self.name} has no stat {key!r}; it has: {', '.join(self.stats) or 'none yet'}")
        return self.stats[key]


def _declared(name: str, namespace: Mapping[str, Any]) -> dict[str, parameters.Parameter]:
    """The parameters among the annotated names. ``In`` cannot tell: nbval runs cells without a history."""
    known = {
        given: parameters.Parameter(given, _written(annotation), namespace[given])
        for given, annotation in namespace.get("__annotations__", {}).items()
        if given in namespace
    }
    known = {given: parameter for given, parameter in known.items() if parameter.is_typed}
    if not known:
        raise ZkitError(
            f"{name}: no cell of annotated parameters (`alpha: float = 2.0`) was executed before begin(); "
            "run the notebook from its first cell, and pass globals()"
        )
    return known


def _contents(read: Mapping[str, str]) -> dict[str, str]:
    return {name: provenance.contents_digest(Path(path)) for name, path in read.items()}


def _written(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _injected(namespace: Mapping[str, Any]) -> list[str]:
    """Names assigned by the cell that papermill puts after the parameters cell."""
    return [
        target.id
        for source in namespace.get("In", [])
        if source.lstrip().startswith("# Parameters")
        for node in _parsed(source)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]


def _parsed(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a cell with a magic
        return []


def _versions() -> dict[str, str]:
    """Versions of Python, zkit and of those libraries that the chapter imported."""
    versions = {"python": platform.python_version()}
    for package in ("zkit", *_VERSIONS):
        module = "ot" if package == "POT" else package
        if module in sys.modules:
            try:
                versions[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:  # imported from a checkout that is not installed
                continue
    return versions
