"""Put the scripts that pages load into book/_assets/vendor, from installed packages: no page asks another host.

MathJax comes from sphinx-mathjax-offline (version 3.2.2), plotly.min.js from plotly itself. Files already there and
unchanged are left alone, so that a build can tell that nothing happened.
"""

import importlib.metadata
from pathlib import Path

# The combined component, its fonts, and the TeX extensions it loads on demand.
MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/", "input/tex/extensions/")


def place(root: Path) -> Path:
    """Where a book has the scripts that its pages load."""
    return root / "book" / "_assets" / "vendor"


def vendor(folder: Path) -> None:
    """Fill ``folder`` with ``mathjax/`` and ``plotly.min.js``. SystemExit names a package that is missing."""
    for source, name in [*_mathjax(), (_file("plotly", "plotly/package_data/plotly.min.js"), "plotly.min.js")]:
        target, content = folder / name, source.read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def _mathjax() -> list[tuple[Path, str]]:
    root = "sphinx-mathjax-offline/static/mathjax/"
    wanted = [
        file
        for file in _distribution("sphinx-mathjax-offline").files or []
        if str(file).startswith(root) and str(file)[len(root) :].startswith(MATHJAX)
    ]
    if not wanted:
        raise SystemExit("sphinx-mathjax-offline holds no MathJax; install the version that requirements.txt names")
    return [(Path(str(file.locate())), f"mathjax/{str(file)[len(root) :]}") for file in wanted]


def _file(package: str, path: str) -> Path:
    found = Path(str(_distribution(package).locate_file(path)))
    if not found.is_file():
        raise SystemExit(f"{package} holds no {path}; install the version that requirements.txt names")
    return found


def _distribution(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is not installed; pip install -r requirements.txt brings it") from None
