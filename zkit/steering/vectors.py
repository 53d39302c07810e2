"""Steering vectors: their arithmetic, their file format, and orthogonalisation against others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import check, located, parse_json, plain
from zkit.subspaces import spanned_by
from zkit.tensor_files import by_layer, dense, read_safetensors

_FORMAT = "zkit-steering-vector-1"
_NAME = re.compile(r"^layer\.(.+)$")


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A vector [d_model] for each of some layers; steering adds each at the output of its layer.

    ``a * v``, ``v / a``, ``-v``, ``v + w`` and ``v - w`` act layer by layer (a sum of vectors of different layers has
    all of these layers). ``note`` says how the vector was made and is saved with it.
    Raises ZkitError for no layers, different widths, values that are not finite, and tensors that are not dense
    floating-point.
    """

    vectors: Mapping[int, Float[Tensor, " d_model"]]
    note: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.vectors or len({tuple(v.shape) for v in self.vectors.values()}) != 1:
            raise ZkitError("a steering vector needs at least one layer and the same width at each")
        for layer, v in self.vectors.items():
            dense(v, f"the steering vector at layer {layer}")
            if v.dim() != 1 or not bool(torch.isfinite(v).all()):
                raise ZkitError(f"the steering vector at layer {layer} must be one finite vector [d_model]")

    @property
    def layers(self) -> list[int]:
        return sorted(self.vectors)

    @property
    def width(self) -> int:
        return next(iter(self.vectors.values())).shape[0]

    @property
    def norms(self) -> dict[int, float]:
        """The Euclidean norm at each layer."""
        return {layer: float(self.vectors[layer].norm()) for layer in self.layers}

    @property
    def norm(self) -> float:
        """The norm of a single-layer vector. Raises ZkitError if it has several layers."""
        if len(self.vectors) != 1:
            raise ZkitError(f"this vector has layers {self.layers}; take one with .at(layer), or use .norms")
        return next(iter(self.norms.values()))

    def at(self, *layers: int) -> SteeringVector:
        """The part at some layers. Raises ZkitError for no layers, and for one that the vector does not have."""
        missing = [layer for layer in layers if layer not in self.vectors]
        if missing or not layers:
            raise ZkitError(f"this vector has layers {self.layers}, not {missing or 'none'}")
        return SteeringVector({layer: self.vectors[layer] for layer in layers}, self.note)

    def unit(self) -> SteeringVector:
        """The same directions with norm 1 at each layer. Raises ZkitError for a zero vector."""
        if any(norm == 0 for norm in self.norms.values()):
            raise ZkitError("a zero vector has no direction; were the two prompts the same?")
        return self._map(lambda v: v / v.norm())

    def _map(self, fn: Callable[[Tensor], Tensor]) -> SteeringVector:
        return SteeringVector({layer: fn(v) for layer, v in self.vectors.items()}, self.note)

    def __mul__(self, factor: float) -> SteeringVector:
        return self._map(lambda v: v * factor)

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> SteeringVector:
        return self._map(lambda v: v / factor)

    def __neg__(self) -> SteeringVector:
        return self._map(torch.neg)

    def __add__(self, other: SteeringVector) -> SteeringVector:
        if self.width != other.width:
            raise ZkitError(f"cannot add vectors of widths {self.width} and {other.width}: their models differ")
        layers = sorted({*self.vectors, *other.vectors})
        zero = torch.zeros(self.width)
        total = {layer: self.vectors.get(layer, zero) + other.vectors.get(layer, zero) for layer in layers}
        return SteeringVector(total, {"sum of": f"{_term(self.note)} and {_term(other.note)}"})

    def __sub__(self, other: SteeringVector) -> SteeringVector:
        return self + -other

    def save(self, path: str | Path) -> None:
        """Write safetensors with the note as metadata; the file appears whole or not at all.

        Raises ZkitError if the folder does not exist, for a note with other values than texts, and if the file cannot
        be written.
        """
        path, note = Path(path), write_note(self.note)
        if not path.parent.is_dir():
            raise ZkitError(f"there is no folder {path.parent} to save the vector in; make it first")
        tensors = {f"layer.{layer}": self.vectors[layer].contiguous() for layer in self.layers}
        writing.write(path, save(tensors, {"format": _FORMAT, "note": note}))

    @classmethod
    def load(cls, path: str | Path) -> SteeringVector:
        """Read what :meth:`save` wrote, exactly.

        Raises ZkitError for a missing or damaged file, one without this format in its metadata or with other tensors,
        and a note that is missing or has other values than texts.
        """
        path = located(path, "steering vector", "make one with zkit.steering.contrast and .save")
        tensors, meta = read_safetensors(path)
        if meta.get("format") != _FORMAT:
            raise ZkitError(f"{path} is not a steering vector of zkit: its metadata lack format = {_FORMAT}")
        layers = by_layer(tensors, _NAME, str(path))
        if foreign := sorted(set(tensors) - set(layers.values())):
            raise ZkitError(
                f"{path} has a tensor {foreign[0][:80]!r}; a steering vector has layer.0, layer.1, ... alone"
            )
        note = read_note(meta.get("note", ""), f"the note of {path}")
        try:
            return cls({layer: tensors[name] for layer, name in layers.items()}, note)
        except ZkitError as error:
            raise ZkitError(f"{path}: {error}; save the vector again") from error


def _term(note: Mapping[str, str]) -> str:
    """A note as a part of the note of a sum. Notes of sums are joined flat: nested quotes double with every level."""
    return note["sum of"] if set(note) == {"sum of"} else json.dumps(dict(note))


def read_note(text: str, where: str) -> dict[str, str]:
    """The note of a file, from JSON. Raises ZkitError, which names ``where``, unless it is an object of texts."""
    return check(dict[str, str], parse_json(text, where), where, "a note is one JSON object of texts")


def write_note(note: Mapping[str, str]) -> str:
    """Inverse of :func:`read_note`. Raises ZkitError for a note with other values than texts."""
    return json.dumps(check(dict[str, str], plain(dict(note), "the vector's note"), "the vector's note", "give texts"))


def orthogonalise(vectors: Mapping[str, SteeringVector]) -> dict[str, SteeringVector]:
    """Each vector without its part in the span of the others, layer by layer.

    Each result is orthogonal to all the other given vectors, so that adding it moves no state along them. It is not
    rescaled. Raises ZkitError for fewer than two vectors, different layers or widths, and a vector in the span of the
    others.
    """
    if len(vectors) < 2 or len({(tuple(v.layers), v.width) for v in vectors.values()}) != 1:
        raise ZkitError("orthogonalising needs at least two vectors of the same layers and width")
    found = {}
    for name, v in vectors.items():
        parts = {}
        for layer in v.layers:
            others = spanned_by(torch.stack([w.vectors[layer] for key, w in vectors.items() if key != name]))
            parts[layer] = others.reject(v.vectors[layer])
            if float(parts[layer].norm()) <= 1e-5 * float(v.vectors[layer].norm()):
                raise ZkitError(f"at layer {layer} the vector {name!r} lies in the span of the others: nothing is left")
        found[name] = SteeringVector(parts, {**v.note, "orthogonal to": ", ".join(k for k in vectors if k != name)})
    return found
