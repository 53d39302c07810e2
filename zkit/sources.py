"""Where a model's files are and what they hash to. Imports no torch: checking a book must be quick."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from zkit.errors import ZkitError

EMBEDDED = "embedded"
_ORGANISMS = {EMBEDDED: "weights", "embedded-never-knew": "twins/never-knew", "embedded-sink": "twins/sink"}
"""Models that ship with the library -> their folders in ``zkit/organism``."""
_WEIGHTS = "*.safetensors"
_FILES = (
    _WEIGHTS,
    "*config.json",
    "tokenizer.json",
    "tokenizer.model",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class Source:
    """A model's name and, unless it is a hub id, the folder that holds it."""

    id: str
    path: Path | None

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded model or a twin of it, so that its corpus is known."""
        return self.id in _ORGANISMS

    @property
    def location(self) -> str:
        """What transformers' ``from_pretrained`` takes."""
        return self.id if self.path is None else str(self.path)

    def offline(self) -> bool:
        """Whether this is a hub id and the hub does not answer within five seconds.

        One request, because the hub's own client retries for most of a minute before it says so.
        """
        if self.path is not None:
            return False
        from huggingface_hub import constants, get_session

        if constants.HF_HUB_OFFLINE:
            return True
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # of whichever HTTP library the hub's client uses
            return True
        return False

    def folder(self) -> Path:
        """The local folder; for a hub id, its cached snapshot. ZkitError if the snapshot is not on this machine."""
        if self.path is not None:
            return self.path
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.id, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, FileNotFoundError) as error:
            raise ZkitError(
                f"model {self.id!r} is neither a folder here nor in the local Hugging Face cache; "
                f"download it first (`hf download {self.id}`) or give the path of a folder"
            ) from error

    def sha256(self) -> str:
        """Digest over weights, configuration and tokenizer: names and contents, in order of name.

        Raises ZkitError if the files are not on this machine or there are no safetensors among them.
        """
        folder = self.folder()
        if not any(folder.glob(_WEIGHTS)):
            raise ZkitError(
                f"{folder} holds no *.safetensors; save the model with `save_pretrained` (safetensors is its default)"
            )
        digest = hashlib.sha256()
        for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
            with file.open("rb") as stream:
                digest.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


def resolve(model: str | Path) -> Source:
    """Say what ``model`` names: the embedded model or a twin, a folder, or (else, if like ``org/name``) a hub id.

    Raises ZkitError for a path that does not exist, and for a twin that is not there.
    """
    if isinstance(model, str) and model in _ORGANISMS:
        return _organism(model)
    text, path = str(model), Path(model).expanduser()
    if text and path.is_dir():
        return Source(text, path.resolve())
    if not text or isinstance(model, Path) or text.startswith((".", "/", "~")) or text.count("/") > 1 or "\\" in text:
        raise ZkitError(f"model folder {text!r} does not exist; give an existing folder, a hub id, or {EMBEDDED!r}")
    return Source(text, None)


def _organism(name: str) -> Source:
    path = Path(str(files("zkit").joinpath("organism", _ORGANISMS[name])))
    if not path.is_dir():
        twin = "" if name == EMBEDDED else f" --twin {path.name}"
        raise ZkitError(
            f"model {name!r} is not there yet: make it with `python -m zkit.organism train{twin} --out FOLDER` "
            f"and move FOLDER/model to {path}"
        )
    return Source(name, path)
