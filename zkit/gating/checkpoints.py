"""Read gates in every published layout, and write a folder that contains all of these files.

A folder holds ``lambda_logits.pt`` (a state dict with one vector for each layer, or one tensor for all of them,
[n_layers, d_mlp] or flat) and may hold ``neuron_indices.json``, ``gate_stats.json`` and thresholds. Folders written by
zkit also hold ``gates.safetensors``: the same logits with the note, without a pickle.
Source: the cards of the Qwen3 lambda gates and their folders.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import ConfigDict, Field, PositiveInt
from safetensors.torch import save as packed
from torch import Tensor

from zkit import writing
from zkit.errors import ZkitError
from zkit.gating.gates import Gates, knowledge_neurons, stack
from zkit.reading import Checked, check, layer_number, parse_json, read_json, read_text
from zkit.tensor_files import by_layer, read_safetensors, read_state

SAFETENSORS, PICKLE = "gates.safetensors", "lambda_logits.pt"
INDICES, STATISTICS = "neuron_indices.json", "gate_stats.json"
THRESHOLDS = ("selected_thresholds.txt", "thresholds.txt")
_FORMAT = "zkit-gates-1"
_KEY = re.compile(r"(?:^|\.)layers\.([^.]+)\.mlp\.lambda_logits$")
WRITTEN_KEY = "module.model.layers.{}.mlp.lambda_logits"


def load(path: str | Path, n_layers: int | None = None) -> Gates:
    """Gates from a folder, a ``.safetensors`` or a ``.pt`` file.

    If a folder has both, ``gates.safetensors`` is read and must agree with ``lambda_logits.pt``. No code in a file is
    ever run. The note is completed from the folder: by its thresholds, and by the number of neurons that its
    ``neuron_indices.json`` lists although they are not below 0.5, or omits although they are. A flat tensor, layer
    after layer, is divided into ``n_layers`` layers (None: as many as ``gate_stats.json`` states); gates of another
    number of layers are then refused.
    Raises ZkitError for a missing or damaged file, pickled objects, missing layers, two tensors for one layer, a flat
    tensor without a known number of layers, tensors that are not dense floating-point, logits that are not finite, and
    other files of the folder that are damaged or belong to other gates.
    """
    if not isinstance(path, str | Path) or not os.path.exists(path):
        raise ZkitError(f"there are no gates at {path}; give a folder with {PICKLE} or {SAFETENSORS}, or such a file")
    path = Path(path)
    if not path.is_dir():
        return _read(path, n_layers)
    safe, pickled = path / SAFETENSORS, path / PICKLE
    if not safe.is_file() and not pickled.is_file():
        raise ZkitError(f"{path} holds neither {PICKLE} nor {SAFETENSORS}; give the folder of one variant")
    statistics = _statistics(path / STATISTICS)
    gates = _read(safe if safe.is_file() else pickled, statistics.n_layers if n_layers is None else n_layers)
    if safe.is_file() and pickled.is_file() and not torch.equal(_read(pickled, gates.n_layers).logits, gates.logits):
        raise ZkitError(f"{safe} and {pickled} hold different gates; keep the one you mean")
    return Gates(gates.logits, {**gates.note, **_beside(path, gates, statistics)})


def save(gates: Gates, folder: str | Path) -> Path:
    """Write the gates as a folder in zkit's layout and return its path. The folder appears whole or not at all.

    Raises ZkitError if the folder holds other files, if it cannot be written, and for a note that is not JSON.
    """
    folder = Path(folder)
    if folder.exists() and not ({p.name for p in folder.iterdir()} <= _WRITTEN if folder.is_dir() else False):
        raise ZkitError(f"{folder} holds other files; give a new folder for the gates")
    own = {key: value for key, value in gates.note.items() if key not in _DERIVED}
    pickled = io.BytesIO()
    torch.save({WRITTEN_KEY.format(i): row.clone() for i, row in enumerate(gates.logits)}, pickled)
    contents = {
        SAFETENSORS: _packed(replace(gates, note=own), torch.float32),
        PICKLE: pickled.getvalue(),
        INDICES: json.dumps(knowledge_neurons(gates)).encode(),
        STATISTICS: (json.dumps(gates.statistics(), indent=1) + "\n").encode(),
        THRESHOLDS[0]: (",".join(repr(t) for t in gates.thresholds) + "\n").encode(),
    }
    with writing.folder(folder) as part:
        for name, data in contents.items():
            (part / name).write_bytes(data)
    return folder


_WRITTEN = {SAFETENSORS, PICKLE, INDICES, STATISTICS, THRESHOLDS[0]}
_DERIVED = ("thresholds", "indices_wrong")


def save_half(gates: Gates, path: str | Path) -> Path:
    """Write one ``.safetensors`` file with the note and the logits in float16; returns its path.

    Raises ZkitError for a logit that float16 cannot hold, and if the file cannot be written.
    """
    path = Path(path)
    if not bool(torch.isfinite(gates.logits.half()).all()):
        raise ZkitError(f"a logit of {float(gates.logits.abs().max()):.0f} does not fit float16; use gating.save")
    writing.write(path, _packed(gates, torch.float16))
    return path


def _packed(gates: Gates, dtype: torch.dtype) -> bytes:
    try:
        note = json.dumps(dict(gates.note))
    except (TypeError, ValueError) as error:
        raise ZkitError(
            f"the gates' note cannot be written as JSON ({error}); keep to text, numbers and lists"
        ) from error
    _read_note(note, "the gates' note")  # checks that what is written can be read again
    return packed({"logits": gates.logits.to(dtype).contiguous()}, {"format": _FORMAT, "note": note})


class _Note(Checked):
    """The known fields of a note; further ones are allowed."""

    model_config = ConfigDict(extra="allow")
    variant: str | None = None
    scale: str | None = None
    gate: str | None = None
    model: str | None = None
    model_sha256: str | None = None
    recipe: dict[str, Any] | None = None


def _read_note(text: str, where: str) -> dict[str, Any]:
    note: dict[str, Any] = parse_json(text, where)
    check(_Note, note, where, "mend the note and save the gates again")
    return note


_Row = Annotated[list[int], Field(fail_fast=True)]


class _Statistics(Checked):
    """The fields of ``gate_stats.json`` that can be compared with the gates; published files have more."""

    model_config = ConfigDict(extra="allow")
    total_gates: int | None = None
    n_layers: PositiveInt | None = None
    d_mlp: PositiveInt | None = None


def _read(path: Path, n_layers: int | None) -> Gates:
    note: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        state, meta = read_safetensors(path)
        kind = meta.get("format", "")
        if kind == _FORMAT:
            if set(state) != {"logits"} or "note" not in meta:
                raise ZkitError(
                    f"{path} should hold the tensor 'logits' and a note; copy it again, or save the gates anew"
                )
            note = _read_note(meta["note"], f"the note of {path}")
        elif kind.startswith("zkit-"):
            raise ZkitError(f"{path} is a {kind} file, not one of gates ({_FORMAT}); give the gates")
        found: Any = state
    else:
        found = read_state(path)
    try:
        logits = found if isinstance(found, Tensor) else _from_state(found, path)
        return Gates(_shaped(logits, n_layers, path), note)
    except ZkitError as error:
        raise ZkitError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _from_state(state: Any, path: Path) -> Tensor:
    """The logits in a state dict: a vector for each layer under ``...layers.<i>.mlp.lambda_logits``, or one tensor."""
    if not isinstance(state, Mapping):
        raise ZkitError(f"{path} holds a {type(state).__name__}; a state dict of gate logits was expected")
    names = by_layer(state, _KEY, str(path))
    if not names:
        whole = [value for value in state.values() if isinstance(value, Tensor) and value.dim() in (1, 2)]
        if len(state) == 1 and whole:
            return whole[0]
        raise ZkitError(
            f"{path} has no keys like '{WRITTEN_KEY.format('<i>')}' and is not one tensor [n_layers, d_mlp]; "
            f"its keys begin with {', '.join(ascii(key)[:80] for key in list(state)[:3]) or 'nothing'}"
        )
    if lacking := max(names) + 1 - len(names):
        first = ", ".join(str(i) for i in islice((i for i in range(max(names)) if i not in names), 9))
        more = "" if lacking <= 9 else f" and {lacking - 9:,} more"
        raise ZkitError(f"{path} lacks the gates of layers {first}{more}; copy the checkpoint again")
    for name in names.values():
        if not isinstance(state[name], Tensor):
            raise ZkitError(f"{path} holds a {type(state[name]).__name__} under {name!r}; a tensor was expected")
    return stack([state[names[i]].detach().flatten().float() for i in range(len(names))])


def _shaped(logits: Tensor, n_layers: int | None, path: Path) -> Tensor:
    if logits.dim() == 1:
        if n_layers is None:
            raise ZkitError(
                f"{path} holds {len(logits):,} gates in a row; gate logits must be [n_layers, d_mlp], so say how many "
                "layers they are: load(path, n_layers=model.n_layers)"
            )
        if n_layers < 1 or len(logits) % n_layers:
            raise ZkitError(f"{path} holds {len(logits):,} gates in a row, which are not {n_layers} equal layers")
        return logits.reshape(n_layers, -1)
    if n_layers is not None and logits.dim() == 2 and len(logits) != n_layers:
        raise ZkitError(f"{path} holds gates of {len(logits)} layers, not of {n_layers}; load those of your model")
    return logits


def _beside(folder: Path, gates: Gates, statistics: _Statistics) -> dict[str, Any]:
    """Note entries from the other files of a folder. Raises ZkitError for files that belong to other gates."""
    note: dict[str, Any] = {}
    for name in THRESHOLDS:
        if (folder / name).is_file():
            note["thresholds"] = _thresholds(folder / name)
            break
    if (folder / INDICES).is_file():
        own = {(i, n) for i, row in knowledge_neurons(gates).items() for n in row}
        note["indices_wrong"] = len(_indices(folder / INDICES, gates) ^ own)
    for name, ours in (("total_gates", gates.logits.numel()), ("n_layers", gates.n_layers), ("d_mlp", gates.d_mlp)):
        said = getattr(statistics, name)
        if said is not None and said != ours:
            what = {"total_gates": "gates", "n_layers": "layers", "d_mlp": "gates in a layer"}[name]
            raise ZkitError(
                f"{folder / STATISTICS} speaks of {said:,} {what}, {folder} holds {ours:,}; "
                "the files belong to different gates"
            )
    return note


def _statistics(path: Path) -> _Statistics:
    return (
        check(_Statistics, read_json(path), str(path), "copy it again or take it away")
        if path.is_file()
        else _Statistics()
    )


def _indices(path: Path, gates: Gates) -> set[tuple[int, int]]:
    """The neurons that a ``neuron_indices.json`` lists, as pairs (layer, neuron)."""
    rows = check(dict[str, _Row], read_json(path), str(path), "copy it again or take it away")
    found = set()
    for name, row in rows.items():
        layer = layer_number(name, str(path))
        if layer >= gates.n_layers or not all(0 <= n < gates.d_mlp for n in row):
            raise ZkitError(f"{path} lists neurons of layer {layer} that the gates do not have; it belongs to others")
        if len(set(row)) != len(row):
            raise ZkitError(f"{path} lists a neuron of layer {layer} twice; copy it again or take it away")
        found |= {(layer, n) for n in row}
    return found


def _thresholds(path: Path) -> list[float]:
    text = read_text(path)
    words = re.split(r"[,\s]+", text.strip())
    if not all(re.fullmatch(r"[-+]?[0-9]*\.?[0-9]+(e[-+]?[0-9]+)?", word) for word in words):
        raise ZkitError(f"{path} should list numbers between 0 and 1, separated by commas: {text[:60]!r}")
    for x in map(float, words):
        if not 0 < x < 1:
            raise ZkitError(f"{path} lists {x}, which is no gate; expected 0 to 1")
    return list(map(float, words))
