"""Read untrusted files of tensors: safetensors and the state dicts of ``torch.save``.

A header is checked before memory is allocated for it, no code in a file is ever run, and the results are dense tensors
of real floating-point numbers. Every error is a ZkitError that names file, entry and remedy.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from re import Pattern
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from zkit.errors import ZkitError
from zkit.reading import DEPTH_LIMIT, layer_number, size_of

LIMIT = 2**30
"""Most bytes of a file. Gates and vectors of the largest open models have some 30 MB; a larger file is a model."""
_FLOATS = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
}  # fmt: skip


def dense(tensor: Any, where: str) -> Tensor:
    """``tensor``, detached, if it is a dense tensor of real floating-point numbers.

    Raises ZkitError, which begins with ``where``, for a tensor that is sparse, nested, quantised, on the device "meta",
    complex or of integers, and for anything that is no tensor.
    """
    if not isinstance(tensor, Tensor):
        raise ZkitError(f"{where} is a {type(tensor).__name__}; a tensor was expected")
    if tensor.layout != torch.strided or tensor.is_nested or tensor.is_quantized:
        raise ZkitError(f"{where} is a sparse, nested or quantised tensor; save it as a dense one")
    if tensor.is_meta:
        raise ZkitError(f"{where} is on the device 'meta', where tensors have no values; save it from a loaded model")
    if tensor.dtype not in _FLOATS.values():
        name = str(tensor.dtype).removeprefix("torch.")
        raise ZkitError(f"{where} has the type {name}; save it as float32 (or float64, float16, bfloat16)")
    return tensor.detach()


def read_safetensors(path: str | Path, limit: int = LIMIT) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, and its metadata.

    The library safetensors compares the header with the file's length before it reads a tensor.
    Raises ZkitError for a damaged file, more than ``limit`` bytes, and tensors that are not floating-point.
    """
    size_of(path, limit)
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            types = {name: file.get_slice(name).get_dtype() for name in names}
            if wrong := next((name for name in names if types[name] not in _FLOATS), None):
                raise ZkitError(f"{path}: {wrong!r} has the type {types[wrong]}; save it as float32")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ZkitError(f"{path} is not a safetensors file ({error}); copy it again") from error


def read_state(path: str | Path) -> Any:
    """The contents of a file of ``torch.save``: tensors, in dicts and lists with numbers and texts.

    The archive is checked first: its records must not be compressed, nor claim more bytes than the file has. The format
    before PyTorch 1.6 is not read, because it cannot be checked without reading it.
    Raises ZkitError for a damaged or too large file, pickled objects of other kinds, and tensors that are sparse,
    quantised or not floating-point (:func:`dense`).
    """
    size = size_of(path, LIMIT)
    try:
        _check_archive(path, size)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except ZkitError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        lines = str(error).splitlines()
        if type(error).__name__ == "UnpicklingError":
            raise ZkitError(
                f"{path} is damaged, or holds pickled objects besides tensors, which could run code; copy it again, or "
                "ask for a state dict of tensors"
            ) from error
        raise ZkitError(
            f"{path} cannot be read ({lines[0] if lines else type(error).__name__}); copy it again"
        ) from error
    _check_tensors(state, str(path), size)
    return state


def check_shapes(found: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], where: str, remedy: str) -> None:
    """Raise ZkitError unless ``found`` has exactly the names of ``wanted``, with finite tensors of these shapes."""
    for name in [*wanted, *found]:
        if name not in found or name not in wanted:
            raise ZkitError(f"{where} {'lacks' if name in wanted else 'has besides'} {name[:80]!r}; {remedy}")
        tensor, shape = found[name], tuple(wanted[name])
        if not isinstance(tensor, Tensor) or tuple(tensor.shape) != shape or not bool(tensor.isfinite().all()):
            raise ZkitError(f"{where}: {name} should be a finite tensor of shape {shape}; {remedy}")


def by_layer(names: Iterable[Any], pattern: Pattern[str], where: str) -> dict[int, str]:
    """Layer -> the name in which ``pattern`` finds the layer's number; names that do not match are left out.

    Raises ZkitError for an invalid layer number, and for two names of one layer.
    """
    found: dict[int, str] = {}
    for name in names:
        if isinstance(name, str) and (match := pattern.search(name)):
            layer = layer_number(match[1], f"{where}: {name[:80]!r}")
            if layer in found:
                raise ZkitError(f"{where} has two entries for layer {layer}, {found[layer]!r} and {name!r}; keep one")
            found[layer] = name
    return found


def _check_archive(path: str | Path, size: int) -> None:
    if not zipfile.is_zipfile(path):
        raise ZkitError(
            f"{path} cannot be read (it is not the archive that torch.save writes since PyTorch 1.6); copy it "
            "again, or load and save it with a newer PyTorch"
        )
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ZkitError(
                f"{path} cannot be read (its records are packed, those of torch.save are not); copy it again"
            )
        if sum(record.file_size for record in records) > size:
            raise ZkitError(f"{path} cannot be read (its records claim more than its {size:,} bytes); copy it again")
        for record in records:
            if record.filename.endswith("data.pkl"):
                _check_pickle(archive.read(record), path)


def _check_pickle(code: bytes, path: str | Path) -> None:
    """Refuse a pickle that uses a tuple twice: a few dozen nested ones, used as a key, would take for ever to hash."""
    before, kept, tuples = "", 0, set()
    for operation, argument, _ in pickletools.genops(code):
        name = operation.name
        if name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            if before.startswith("TUPLE"):
                tuples.add(kept if name == "MEMOIZE" else argument)
            kept += 1
        elif name in ("BINGET", "LONG_BINGET", "GET") and argument in tuples:
            raise ZkitError(
                f"{path} cannot be read (its pickle shares tuples, which no state dict does); copy it again"
            )
        before = name


def _check_tensors(state: Any, path: str, size: int) -> None:
    todo: list[tuple[Any, tuple[Any, ...]]] = [(state, ())]
    seen: set[int] = set()
    while todo:
        item, spot = todo.pop()
        if isinstance(item, Tensor):
            where = f"{path}: {'.'.join(map(str, spot))}" if spot else path
            if (numel := item.numel()) * item.element_size() > size:
                raise ZkitError(f"{where} claims {numel:,} numbers, more than the file holds; save it .contiguous()")
            dense(item, where)
        elif isinstance(item, Mapping | list | tuple) and id(item) not in seen:
            seen.add(id(item))  # a list may hold itself
            if len(spot) >= DEPTH_LIMIT:
                raise ZkitError(f"{path} nests deeper than {DEPTH_LIMIT} lists or dicts; save a flat state dict")
            pairs = item.items() if isinstance(item, Mapping) else enumerate(item)
            todo += [(inner, (*spot, key)) for key, inner in pairs]
