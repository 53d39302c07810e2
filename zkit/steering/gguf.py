"""Steering vectors as GGUF control vectors, the format of llama.cpp's ``--control-vector``.

``direction.n`` is the vector of layer n, counted from 0 as here: llama.cpp adds it to the output of layer n at every
token, as ``steer(..., first_token=True)`` does. There is no direction for layer 0. The metadata are those of repeng, of
which llama.cpp reads none, and the note under ``zkit.note``.
Source: llama.cpp, where ``common_control_vector_load_one`` (common/common.cpp) puts direction.n at row n - 1,
``llama_adapter_cvec::apply`` (src/llama-adapter.cpp) gives row n - 1 to layer n, and ``build_cvec`` adds it after the
layer's last residual sum (src/models/qwen3.cpp); repeng, ``ControlVector.export_gguf``.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zkit import writing
from zkit.errors import ZkitError
from zkit.reading import layer_number, located, size_of
from zkit.steering.vectors import SteeringVector, read_note, write_note
from zkit.tensor_files import LIMIT

ARCHITECTURE = "controlvector"
HINT, COUNT, NOTE = f"{ARCHITECTURE}.model_hint", f"{ARCHITECTURE}.layer_count", "zkit.note"
MOST_READS = 20_000
"""Most reads of a header. A control vector needs ten per layer, the vocabulary of a model hundreds of thousands."""
_NAME = re.compile(r"direction\.([1-9][0-9]*)")


def write_gguf(v: SteeringVector, path: str | Path, model_hint: str = "") -> None:
    """Write a control vector; the file appears whole or not at all.

    model_hint: written into the file's metadata and its note. If empty, the metadata have the note's ``model_hint``,
    else its ``model``, else an empty text; llama.cpp does not read it.
    Raises ZkitError for a vector at layer 0, a folder that does not exist, a file that cannot be written, and without
    the package gguf.
    """
    gguf = _package()
    path = Path(path)
    if v.layers[0] < 1:
        later = ", ".join(str(layer) for layer in v.layers if layer >= 1)
        remedy = f"keep the others with .at({later})" if later else "make the vector at a later layer"
        raise ZkitError(f"llama.cpp steers from layer 1 on and refuses a vector at layer {v.layers[0]}; {remedy}")
    if not path.parent.is_dir():
        raise ZkitError(f"there is no folder {path.parent} to write the control vector in; make it first")
    note = {**v.note, "model_hint": model_hint} if model_hint else dict(v.note)
    packed = write_note(note)
    text = gguf.GGUFValueType.STRING  # add_string omits empty texts, but repeng needs the key
    with writing.replacing(path) as part, closing(gguf.GGUFWriter(part, ARCHITECTURE)) as writer:
        writer.add_key_value(HINT, note.get("model_hint", note.get("model", "")), text)
        writer.add_uint32(COUNT, len(v.layers))
        writer.add_key_value(NOTE, packed, text)
        for layer in v.layers:
            writer.add_tensor(f"direction.{layer}", v.vectors[layer].detach().cpu().float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def read_gguf(path: str | Path) -> SteeringVector:
    """Read a control vector exactly. If zkit did not write it, the note has only the model hint, as its ``model``.

    Raises ZkitError for a missing or damaged file, one that holds something else than a control vector, tensors other
    than ``direction.n`` (n >= 1) of float32 and one width, values that are not finite, and without the package gguf.
    """
    gguf = _package()
    path = located(path, "control vector", "write one with zkit.steering.write_gguf")
    size_of(path, LIMIT)
    try:
        reader = _reader(gguf, path)
        architecture, hint, note = (_text(reader, key) for key in ("general.architecture", HINT, NOTE))
    except ZkitError:
        raise
    except (ValueError, LookupError, OverflowError, RecursionError, OSError) as error:
        raise ZkitError(f"{path} is not a whole GGUF file ({error}); download or write it again") from error
    if architecture != ARCHITECTURE:
        found = f"architecture {architecture!r}" if architecture else "no architecture"
        raise ZkitError(f"{path} has {found}, so it is no control vector ({ARCHITECTURE!r}); a model is not one")
    vectors = {_layer(path, tensor.name): _direction(path, tensor) for tensor in reader.tensors}
    own = read_note(note, f"{path}: the {NOTE}") if note else {"model": hint} if hint else {}
    try:
        return SteeringVector(vectors, own)
    except ZkitError as error:
        raise ZkitError(f"{path}: {error}; write the file again from one model") from error


def _package() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise ZkitError('GGUF files need an extra: pip install "zkit[gguf]"') from error
    return gguf


def _reader(gguf: Any, path: Path) -> Any:
    """The package's reader, which trusts the lengths in a file, with checks that it stays inside the file."""
    reads = 0

    class Bounded(gguf.GGUFReader):  # type: ignore[misc]
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            nonlocal reads
            reads += 1
            if reads > MOST_READS:
                raise ZkitError(f"{path} has more metadata than a control vector; a model is not one")
            if int(offset) + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError(f"it ends before byte {int(offset) + np.dtype(dtype).itemsize * int(count):,}")
            return super()._get(offset, dtype, count, override_order)

    return Bounded(path)


def _text(reader: Any, key: str) -> str:
    """The text of a key; empty if there is none."""
    field = reader.get_field(key)
    found = field.contents() if field else ""
    return found if isinstance(found, str) else ""


def _layer(path: Path, name: str) -> int:
    if name == "direction.0":
        raise ZkitError(f"{path} has direction.0, which llama.cpp refuses too; write the file without layer 0")
    if not (match := _NAME.fullmatch(name)):
        raise ZkitError(f"{path} has a tensor {name!r}; a control vector has direction.1, direction.2, ... alone")
    return layer_number(match[1], f"{path}: {name!r}")


def _direction(path: Path, tensor: Any) -> Float[Tensor, " d_model"]:
    kind, shape = tensor.tensor_type.name, tensor.shape.tolist()
    if kind != "F32":
        raise ZkitError(f"{path} has {tensor.name} as {kind}; llama.cpp wants F32: write it again, not quantised")
    if len(shape) != 1:
        raise ZkitError(f"{path} has {tensor.name} of shape {shape}; write it again with one vector for each layer")
    return torch.from_numpy(np.array(tensor.data, dtype=np.float32))  # a copy: the reader maps the file
