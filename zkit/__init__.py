"""zkit: hooks, subspaces, steering and measurement for small language models.

Names are imported on first use, so ``import zkit`` is quick and a program loads only the modules that it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zkit import embedded, gating, generation, patching, phase3, positions, stats, steering, subspaces
    from zkit.anatomies import anatomy
    from zkit.edits import Edit, edit
    from zkit.errors import ZkitError
    from zkit.gating import gate
    from zkit.models import Model, load
    from zkit.recording import mean_state, record, token_states
    from zkit.steering import steer
    from zkit.subspaces import Subspace

_HOMES = {
    "load": "models",
    "Model": "models",
    "record": "recording",
    "mean_state": "recording",
    "token_states": "recording",
    "anatomy": "anatomies",
    "Edit": "edits",
    "edit": "edits",
    "Subspace": "subspaces",
    "steer": "steering",
    "gate": "gating",
    "ZkitError": "errors",
}
_MODULES = (
    "embedded",
    "gating",
    "generation",
    "patching",
    "phase3",
    "positions",
    "stats",
    "steering",
    "subspaces",
)

__all__ = [*_HOMES, *_MODULES]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"zkit.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"zkit.{name}")
    raise AttributeError(f"module 'zkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
