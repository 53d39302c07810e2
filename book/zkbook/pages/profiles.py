"""The profiles: named sets of parameters for every notebook, in one YAML file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import yaml

from zkit.errors import ZkitError

FILE = Path(__file__).with_name("profiles.yml")
EVERY = "*"


def names() -> list[str]:
    return list(_table()[EVERY])


def model_of(profile: str) -> str:
    """The model that a profile runs unless another is asked for.

    Raises ZkitError for an unknown profile, and for one that has no model of its own.
    """
    known = _known(profile)
    if "model" not in known:
        raise ZkitError(f"profile {profile!r} has sizes but no model of its own; name one with --model, or MODEL=")
    return str(known["model"])


def parameters_of(notebook: str, profile: str, declares: set[str]) -> dict[str, Any]:
    """What ``profile`` sets for ``notebook``: entries for every notebook where it declares the name, then its own.

    Raises ZkitError for an unknown profile.
    """
    shared = {name: value for name, value in _known(profile).items() if name in declares}
    named = {"profile": profile} if "profile" in declares else {}
    return named | shared | _table().get(notebook, {}).get(profile, {})


def _known(profile: str) -> dict[str, Any]:
    if profile not in names():
        raise ZkitError(f"there is no profile {profile!r}; choose one of {', '.join(names())}")
    return _table()[EVERY][profile]


@functools.cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
