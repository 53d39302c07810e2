"""Run both probes on a model and write what they found beside its weights."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zkbook.organism.probes import gates, interchange
from zkit import writing
from zkit.models import load
from zkit.stats import Interval

PROBES_FILE = "probes.json"
COMMAND = "python -m zkbook.organism probes"


def _plain(found: object) -> object:
    """Intervals as dictionaries, at any depth."""
    if isinstance(found, Interval):
        return asdict(found)
    return {str(k): _plain(v) for k, v in found.items()} if isinstance(found, Mapping) else found


def write_probes(folder: Path) -> dict[str, Any]:
    """Train soft gates, patch problems, write `probes.json` into the model's folder; returns what stands in it.

    Raises ZkitError if the folder holds no model or cannot be written to.
    """
    model = load(str(folder))
    writing.check_place(folder / PROBES_FILE)
    start = time.monotonic()
    found: dict[str, Any] = {
        "command": COMMAND,
        "sha256": model.sha256,
        "interchange": _plain(interchange.probe(model)),
        "gates": _plain(gates.probe(model)),
    }
    found["seconds"] = round(time.monotonic() - start, 1)
    writing.write(folder / PROBES_FILE, json.dumps(found, indent=1) + "\n")
    return found
