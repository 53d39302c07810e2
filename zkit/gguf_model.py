"""A GGUF file as a folder of safetensors, dequantised once by transformers and kept in the cache.

The folder holds the dequantised weights in float32, and the tokenizer and chat template of the file. It is a plain
model folder named by the sha256 of the file: ``<cache>/gguf/<sha256>``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zkit import cache
from zkit.errors import ZkitError, first_line

_RECORD = "made.json"
_SPECIMEN = "One, two: 3.14 = x  # fünf\n\n\t你好，世界。 <|im_start|>isn't it?"


def dequantised(file: Path) -> Path:
    """The folder of a GGUF file's model; made if it is not in the cache yet, which takes a minute or two.

    If several processes ask at once, one makes the folder, which appears whole or not at all, and the others wait.
    Raises ZkitError for a file that is not a GGUF file, is damaged, is one part of several, has no tokenizer, or has an
    architecture that transformers cannot read or reads incompletely; for a full disk; and without the extra gguf.
    """
    _check_kind(file)
    sha256 = cache.file_sha256(file)
    place = cache.folder() / "gguf" / sha256
    if _is_whole(place):
        return place
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{sha256}.lock")):
            if not _is_whole(place):
                _make(file, place)
    except OSError as error:
        raise ZkitError(
            f"cannot keep the dequantised {file.name} in {place.parent} ({error}); "
            f"set {cache.VARIABLE} to a folder that can be written"
        ) from error
    return place


def _is_whole(place: Path) -> bool:
    """Whether the folder exists and all its files are there in full size."""
    try:
        sizes = json.loads((place / _RECORD).read_text(encoding="utf-8"))["sizes"]
        return all((place / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _make(file: Path, place: Path) -> None:
    reader = _reader(file)
    values = sum(int(tensor.n_elements) for tensor in reader.tensors)
    cache.check_room(place.parent, int(values * 4 * 1.02) + 100_000_000)
    print(f"zkit: dequantising {file.name}, once ...", file=sys.stderr, flush=True)
    partial = place.with_name(f"{place.name}.part")  # the lock is held, so an existing one was left by a killed process
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        with _alone(file, partial) as folder, _quiet():
            hf, tokenizer = _converted(file, folder)
        _check_read_whole(file, reader, values, hf)
        hf.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        _check_tokenizer(file, tokenizer, partial)
        sizes = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
        record = {"file": file.name, "sha256": place.name, "dtype": "float32", "sizes": sizes, "made_by": _versions()}
        (partial / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        shutil.rmtree(place, ignore_errors=True)  # an incomplete one
        os.replace(partial, place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"zkit: kept {sum(sizes.values()) / 1e9:.2g} GB (float32) in {place}", file=sys.stderr, flush=True)


def _check_kind(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
    except OSError as error:
        raise ZkitError(f"{file} cannot be read ({error.strerror}); look at its permissions") from error
    if start != b"GGUF":
        raise ZkitError(f"{file} is not a GGUF file; give a model folder, a .gguf file or a hub id")


def _reader(file: Path) -> Any:
    """A reader of the file, after a check that it is one whole model with a tokenizer."""
    try:
        import gguf
    except ImportError as error:
        raise ZkitError('a model in a GGUF file needs an extra: pip install "zkit[gguf]"') from error
    try:
        reader = gguf.GGUFReader(file)
        architecture, parts = _value(reader, "general.architecture"), _value(reader, "split.count")
        tokens = reader.get_field("tokenizer.ggml.tokens")
    except Exception as error:  # the reader trusts the lengths in the file, so any exception may occur
        raise ZkitError(f"{file} is not a whole GGUF file ({first_line(error)}); download it again") from error
    if parts and int(parts) > 1:
        raise ZkitError(f"{file} is one of {parts} parts; join them first with `llama-gguf-split --merge`")
    if architecture == "controlvector":
        raise ZkitError(f"{file} holds a control vector; read it with zkit.steering.read_gguf")
    if not architecture or not reader.tensors:
        raise ZkitError(f"{file} holds no model (architecture {architecture!r}, {len(reader.tensors)} tensors)")
    if tokens is None or not _value(reader, "tokenizer.ggml.model"):
        raise ZkitError(f"{file} has no tokenizer; take a file that carries one, or the model's own folder")
    return reader


@contextmanager
def _alone(file: Path, partial: Path) -> Iterator[Path]:
    """A folder that holds only a link to the file: transformers would read a tokenizer or config.json beside it."""
    folder = partial / "source"
    folder.mkdir()
    (folder / "model.gguf").symlink_to(file.resolve())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _converted(file: Path, folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf", trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file="model.gguf",
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # of transformers, tokenizers, gguf and numpy
        raise ZkitError(f"transformers does not read {file} ({first_line(error)}); take the model's folder") from error
    hf, report = loaded
    lost = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if lost:
        raise ZkitError(f"{file} lacks {len(lost)} tensors or has them in another shape, the first {lost[0]!r}")
    # The dequantised model is a plain one, but transformers marks it as one that cannot be saved.
    del hf.config.quantization_config
    hf.hf_quantizer = None
    return hf, tokenizer


def _check_read_whole(file: Path, reader: Any, values: int, hf: Any) -> None:
    """Refuse a file of which transformers silently leaves something out (such as the rotary factors of Llama 3)."""
    read = sum(parameter.numel() for parameter in hf.parameters())
    if read != values:
        raise ZkitError(
            f"{file} holds {values} weights of which transformers makes {read}, so that the model would be another; "
            "take the model's folder of safetensors"
        )
    asked = _value(reader, f"{_value(reader, 'general.architecture')}.rope.scaling.type")
    rotary = getattr(hf.config, "rope_parameters", None) or {}
    if asked not in (None, "", "none") and rotary.get("rope_type", "default") == "default":
        raise ZkitError(
            f"{file} scales its rotary positions ({asked!r}), which transformers leaves out; "
            "take the model's folder of safetensors"
        )


def _check_tokenizer(file: Path, tokenizer: Any, folder: Path) -> None:
    from transformers import AutoTokenizer

    again = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    same = all(again(_SPECIMEN, add_special_tokens=s).input_ids == tokenizer(_SPECIMEN, add_special_tokens=s).input_ids
               for s in (True, False))  # fmt: skip
    if not same or again.chat_template != tokenizer.chat_template:
        raise ZkitError(f"the tokenizer of {file} does not survive being saved; take the model's folder")


def _value(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


@contextmanager
def _quiet() -> Iterator[None]:
    """Turn off transformers' notices about its own kernels for GGUF blocks."""
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("transformers", "gguf", "torch")}
