"""Token states of many prompts, taken once and kept in a folder: experiments on the same prompts read them.

Each site is a file of its own, under a name that hashes all that the states depend on, so that an experiment which
needs the layers' outputs finds them where one that needs attention and MLP too has put them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from zkit import writing
from zkit.errors import ZkitError
from zkit.positions import trackers
from zkit.prompts import Prompt, check_prompts
from zkit.recording import token_states
from zkit.tensor_files import read_safetensors

if TYPE_CHECKING:
    from zkit.models import Model

_FORMAT = "zkit token states 1"
_LIMIT = 2**36
"""Bytes of a file. Forty prompts of 100 tokens through a model of 36 layers and width 2,048 take 1.2 GB in float32."""

States = dict[str, list[Float[Tensor, "n_tokens n_layers width"]]]


def extract(model: Model, prompts: Sequence[Prompt], sites: Sequence[str], chat: bool, folder: str | Path) -> States:
    """What :func:`zkit.token_states` gives for these prompts at these sites, read from ``folder`` if it is there.

    What is missing, damaged or of other prompts is recorded, all sites in the same passes, and written. The files
    belong to the weights that the model was loaded with; a model that was changed in memory needs a folder of its own.
    Raises ZkitError inside a block of edits, as :func:`zkit.token_states` does, and if a file cannot be written.
    """
    check_prompts(prompts)
    if isinstance(sites, str):
        raise ZkitError(f"sites must be a list, got {sites!r}; write [{sites!r}]")
    if trackers(model.decoder):
        raise ZkitError("extract keeps the states of the model as it is; call it outside of the block of edits")
    files = {site: Path(folder) / f"{key(model, prompts, site, chat)}.safetensors" for site in sites}
    found = {site: _read(file, len(prompts)) for site, file in files.items()}
    missing = [site for site, states in found.items() if states is None]
    if missing:
        writing.check_folder(folder)
        for site, states in token_states(model, prompts, site=missing, chat=chat).items():
            writing.write(files[site], _packed(states))
            found[site] = states
    return {site: states for site, states in found.items() if states is not None}


def key(model: Model, prompts: Sequence[Prompt], site: str, chat: bool) -> str:
    """Name of the states of these prompts at one site: a hash of the model, its dtype and device, and the texts."""
    texts = model.render(prompts) if chat else list(prompts)
    parts = [_FORMAT, model.sha256, str(model.dtype), model.device.type, site, chat, texts]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _packed(states: Sequence[Tensor]) -> bytes:
    tensors = {str(i): prompt for i, prompt in enumerate(states)}
    return save(tensors, {"format": _FORMAT, "sha256": _digest(tensors)})


def _read(file: Path, n: int) -> list[Tensor] | None:
    """The states of ``n`` prompts; None if the file is not there, or does not hold what was written under its name."""
    if not file.is_file():
        return None
    try:
        tensors, metadata = read_safetensors(file, _LIMIT)
    except ZkitError:
        return None
    whole = set(tensors) == {str(i) for i in range(n)} and metadata.get("sha256") == _digest(tensors)
    return [tensors[str(i)] for i in range(n)] if whole else None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(f"{name} {tuple(tensors[name].shape)}".encode())
        found.update(tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()
