"""Read a model and its tokenizer with transformers, from the hub, a folder or a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as hf_logging

from zkit import gguf_model
from zkit.errors import ZkitError, first_line
from zkit.sources import Source, adapter_base

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
_PLACEMENTS = ("auto", "balanced", "balanced_low_0", "sequential")


def read(
    source: Source,
    dtype: str | torch.dtype | None,
    device: str | torch.device | None,
    device_map: str | Mapping[str, Any] | None,
    attn_implementation: str | None,
) -> tuple[Any, Any]:
    """The transformers module and the tokenizer. Options are checked before any weights are read.

    source: where the model is. The others: see :func:`zkit.load`. An adapter is merged into its base, so that the
    result is a plain model. Raises ZkitError for an unknown dtype or device, a model that transformers cannot read or
    that needs code of its own, a folder without a tokenizer, and weights that are incomplete.
    """
    if device is not None and device_map is not None:
        raise ZkitError("give device or device_map, not both")
    options = {"dtype": _dtype(dtype), "device_map": device_map, "attn_implementation": attn_implementation}
    for place in _places(device, device_map):
        _check_device(place)
    offline = source.offline()  # then only cached files can be used
    base = _base(source, offline)
    with _bars_off(source.path is not None):
        if base is not None:
            hf, tokenizer = _merged(source, base, options, offline)
        else:
            hf, tokenizer = _plain(source, options, offline)
    if device is not None:
        hf = hf.to(device)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return hf, tokenizer


def _plain(source: Source, options: Mapping[str, Any], offline: bool) -> tuple[Any, Any]:
    if source.gguf:
        location, local = str(gguf_model.dequantised(source.file(offline))), True
    else:
        location, local = source.location, offline
    if source.path is not None and not source.gguf and not _has_tokenizer(source):
        raise ZkitError(
            f"{source.path} has no tokenizer ({', '.join(_TOKENIZER_FILES)}); "
            "save the model's tokenizer beside the weights with `tokenizer.save_pretrained`"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, local_files_only=local, trust_remote_code=False)
        with _only_errors():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                location,
                local_files_only=local,
                trust_remote_code=False,  # if unset, transformers asks, and takes a y on standard input for yes
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, with their names
                **{name: value for name, value in options.items() if value is not None},
            )
    except Exception as error:  # for broken files, transformers, tokenizers and safetensors raise many types
        _refuse_code(source, error)
        raise ZkitError(
            f"cannot load model {source.id!r}: {_problem(source, offline)} ({first_line(error)})"
        ) from error
    hf, report = loaded
    _check_report(source, report)
    return hf, tokenizer


def _check_report(source: Source, report: Mapping[str, Any]) -> None:
    """Raise ZkitError for missing or misshapen tensors, and warn of unused ones, where transformers prints a table."""
    missing = sorted(report["missing_keys"])
    other = sorted(
        f"{name}, {list(found)} in the file and {list(wanted)} in the model"
        for name, found, wanted in report.get("mismatched_keys", ())
    )
    if missing or other:
        raise ZkitError(
            f"the weights of {source.id!r} do not fit its config.json: {len(missing) + len(other)} tensors missing or "
            f"of another shape, the first {[*missing, *other][0]!r}; restore the checkpoint's own config.json"
        )
    if unused := sorted(report.get("unexpected_keys", ())):
        hf_logging.get_logger("transformers.zkit").warning(
            f"{source.id!r} has {len(unused)} tensors that its architecture does not use, the first {unused[0]!r}"
        )


def _base(source: Source, offline: bool) -> Source | None:
    """The base model of an adapter; None if the source is a model."""
    if source.gguf:
        return None
    if source.path is not None:
        return source.base()
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        found = find_adapter_config_file(source.location, local_files_only=offline)
    except Exception:  # loading the model, which follows, gives the better error message
        return None
    return None if found is None else adapter_base(found)


def _merged(source: Source, base: Source, options: Mapping[str, Any], offline: bool) -> tuple[Any, Any]:
    if find_spec("peft") is None:
        raise ZkitError(f"{source.id!r} is an adapter of {base.id!r}, which needs another package: pip install peft")
    from peft import PeftModel

    hf, tokenizer = _plain(base, options, base.offline())
    try:
        hf = PeftModel.from_pretrained(hf, source.location, local_files_only=offline).merge_and_unload(safe_merge=True)
        if source.path is None or _has_tokenizer(source):
            tokenizer = AutoTokenizer.from_pretrained(
                source.location, local_files_only=offline, trust_remote_code=False
            )
    except Exception as error:  # of peft, safetensors and transformers
        _refuse_code(source, error)
        raise ZkitError(
            f"the adapter {source.id!r} cannot be merged into {base.id!r} ({first_line(error)}); "
            "merge it yourself and save the whole model"
        ) from error
    return hf, tokenizer


def _refuse_code(source: Source, error: Exception) -> None:
    """Raise a clear ZkitError if transformers failed because it was not allowed to run code of the model's folder."""
    if "trust_remote_code" in str(error):
        raise ZkitError(
            f"{source.path or source.id} cannot be loaded without running Python code that it brings along, and zkit "
            "runs none; take a model that transformers itself has code for. If you have read the code and trust it, "
            "load the parts with transformers and hand them over: "
            f"zkit.Model(hf, tokenizer, zkit.sources.resolve({source.id!r}))"
        ) from error


def _has_tokenizer(source: Source) -> bool:
    return any((source.folder() / name).is_file() for name in _TOKENIZER_FILES)


def _problem(source: Source, offline: bool) -> str:
    if source.gguf:
        return "its dequantised copy in the cache cannot be read; remove it there"
    if source.path is not None:
        return f"{source.path} does not hold a usable model; save one there with `save_pretrained`"
    if offline:
        return "it is no folder here, it is not cached, and the Hugging Face hub does not answer; give a folder"
    return "it is no folder here, and the Hugging Face hub does not give it out; check the name"


def _dtype(dtype: str | torch.dtype | None) -> torch.dtype | str:
    if dtype is None or dtype in ("", "auto"):
        return "auto"
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if found not in (torch.float32, torch.bfloat16, torch.float16):
        raise ZkitError(f"unknown dtype {dtype!r}; use 'float32', 'bfloat16', 'float16' or 'auto'")
    return found


def _places(device: Any, device_map: Any) -> list[Any]:
    """Every device that the caller names, or numbers in a device map."""
    if isinstance(device_map, Mapping):
        asked = [f"cuda:{place}" if type(place) is int else place for place in device_map.values()]
        return [place for place in asked if place != "disk"]
    return [place for place in (device, device_map) if place is not None and place not in _PLACEMENTS]


def _check_device(device: Any) -> None:
    try:
        if not isinstance(device, str | torch.device) or torch.device(device).type == "meta":
            raise TypeError
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ZkitError(f"unknown device {device!r}; use 'cpu', 'cuda', 'cuda:1' or 'mps'") from error
    try:
        torch.empty(0, device=found)
    except Exception as error:  # each backend has its own
        raise ZkitError(
            f"there is no device {str(device)!r} here ({first_line(error)}); use device='cpu', or leave it out"
        ) from error


@contextmanager
def _only_errors() -> Iterator[None]:
    """Turn off transformers' table of the tensors that did not fit, which has some thirty lines."""
    level = hf_logging.get_verbosity()
    hf_logging.set_verbosity_error()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)


@contextmanager
def _bars_off(off: bool) -> Iterator[None]:
    """Turn off transformers' progress bars if ``off``: reading a local folder takes only seconds."""
    shown = hf_logging.is_progress_bar_enabled()
    if off:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()
