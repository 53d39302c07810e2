"""Where a model's files are, and their digest. Imports no torch, so that checking a book is quick."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from zkit.cache import file_sha256
from zkit.errors import ZkitError

EMBEDDED = "embedded"
_HERE = Path(__file__).parent
_TWINS = _HERE.parent / "book" / "twins"
_ORGANISMS = {
    EMBEDDED: _HERE / "embedded" / "weights",
    "embedded-never-knew": _TWINS / "never-knew",
    "embedded-sink": _TWINS / "sink",
}
"""Name -> folder, of the model that ships with the library and of its twins, which are in the repository only."""
_WEIGHTS = "*.safetensors"
_ADAPTER = "adapter_config.json"
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
    """A model's name and the folder or GGUF file that holds it (None: it is on the hub)."""

    id: str
    path: Path | None
    gguf: bool = False
    """Whether it is a GGUF file; on the hub its name follows the repository's: ``org/name/file.gguf``."""

    @property
    def embedded(self) -> bool:
        """Whether it is the embedded model or one of its twins, whose training corpus is known."""
        return self.id in _ORGANISMS

    @property
    def location(self) -> str:
        """The argument of transformers' ``from_pretrained``; for a GGUF file, the folder or repository it is in."""
        if self.path is None:
            return "/".join(self.id.split("/")[:2])
        return str(self.folder())

    def offline(self) -> bool:
        """Whether this is a hub id and the hub does not answer within five seconds.

        This makes a single request, because the hub's own client retries for most of a minute before it fails.
        """
        if self.path is not None:
            return False
        from huggingface_hub import constants, get_session

        if constants.HF_HUB_OFFLINE:
            return True
        try:
            get_session().head(constants.ENDPOINT, timeout=5)
        except Exception:  # from any HTTP library that the hub's client uses
            return True
        return False

    def file(self, offline: bool = True) -> Path:
        """The GGUF file on this machine, downloaded unless ``offline``. Raises ZkitError if it is not available."""
        if self.path is not None:
            return self.path
        from huggingface_hub import hf_hub_download

        name = self.id.removeprefix(self.location + "/")
        try:
            return Path(hf_hub_download(self.location, name, local_files_only=offline))
        except Exception as error:  # from the hub's client or its HTTP library
            where = "is not cached" if offline else "is not given out by the Hugging Face hub"
            raise ZkitError(
                f"cannot load model {self.id!r}: it is no file here, and {name} of {self.location} {where}; "
                f"check the name, or download it first (`hf download {self.location} {name}`)"
            ) from error

    def folder(self) -> Path:
        """The local folder; for a hub id, its cached snapshot. Raises ZkitError if that is not on this machine."""
        if self.path is not None:
            return self.path.parent if self.gguf else self.path
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.location, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, FileNotFoundError) as error:
            raise ZkitError(
                f"model {self.id!r} is neither a folder here nor in the local Hugging Face cache; "
                f"download it first (`hf download {self.location}`) or give the path of a folder"
            ) from error

    def base(self) -> Source | None:
        """The base model of an adapter (PEFT); None for a folder that is no adapter. Reads local files only.

        Raises ZkitError for an adapter that does not name a base model that can be found.
        """
        file = self.folder() / _ADAPTER
        return adapter_base(file) if not self.gguf and file.is_file() else None

    def sha256(self) -> str:
        """Digest of the files of weights, configuration and tokenizer: their names and contents, in order of name.

        For an adapter, it covers the files of its base too; for a GGUF file, it is the sha256 of the file.
        Raises ZkitError if the files are not on this machine or there are no safetensors among them.
        """
        if self.gguf:
            return file_sha256(self.file())
        folder = self.folder()
        if not any(folder.glob(_WEIGHTS)):
            raise ZkitError(
                f"{folder} holds no *.safetensors; save the model with `save_pretrained` (safetensors is its default)"
            )
        digest = hashlib.sha256()
        for file in sorted({file for pattern in _FILES for file in folder.glob(pattern)}):
            with file.open("rb") as stream:
                digest.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
        if (base := self.base()) is not None:
            digest.update(base.sha256().encode())
        return digest.hexdigest()


def resolve(model: str | Path, gguf: str | None = None) -> Source:
    """The source that ``model`` names: the embedded model or a twin, a folder, a GGUF file, or else a hub id.

    A hub id is like ``org/name``, or ``org/name/file.gguf`` for a GGUF file of a repository. ``gguf`` names a GGUF file
    in the folder or repository ``model``.
    Raises ZkitError for something that cannot be a name, a path that does not exist, and a twin that is not there.
    """
    if not isinstance(model, str | Path):
        raise ZkitError(f"a model is named by a string or a path, got {model!r}; give {EMBEDDED!r}, a folder, ...")
    if gguf is not None:
        return _inside(model, gguf)
    if isinstance(model, str) and model in _ORGANISMS:
        return _organism(model)
    text, path = str(model), Path(model).expanduser()
    try:
        if text and path.is_dir():
            return Source(text, path.resolve())
        if text and path.is_file():
            return Source(text, path.resolve(), gguf=True)
    except (OSError, ValueError):  # too long for a path, or with a zero byte
        pass
    repository, file = "/".join(text.split("/")[:2]), "/".join(text.split("/")[2:])
    looks_like_a_path = isinstance(model, Path) or text.startswith((".", "/", "~")) or "\\" in text
    if looks_like_a_path or not _is_hub_id(repository) or (file and not _is_gguf_name(file)):
        raise ZkitError(
            f"model {text[:200]!r} does not exist; give an existing folder or GGUF file, a hub id such as "
            f"'Qwen/Qwen3-0.6B', or {EMBEDDED!r}"
        )
    if not file and _is_gguf_name(text):
        raise ZkitError(f"there is no GGUF file {text!r} here; on the hub its name is org/name/{text.split('/')[-1]}")
    return Source(text, None, gguf=bool(file))


def adapter_base(file: str | Path) -> Source:
    """The base model that an ``adapter_config.json`` names. Raises ZkitError if it names none that can be found."""
    try:
        return resolve(json.loads(Path(file).read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (OSError, ValueError, LookupError, TypeError) as error:  # ZkitError among them
        raise ZkitError(f"{file} names no base model that can be found ({error}); correct it there") from error


def _inside(model: str | Path, gguf: str) -> Source:
    """The source of a GGUF file in a folder or a hub repository. Raises ZkitError if it is not there."""
    if not isinstance(gguf, str) or not _is_gguf_name(gguf):
        raise ZkitError(f"gguf={gguf!r} is no name of a GGUF file inside {str(model)!r}; give one such as 'file.gguf'")
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / gguf).is_file():
            there = ", ".join(sorted(file.name for file in folder.glob("*.gguf"))[:5]) or "none"
            raise ZkitError(f"there is no file {gguf} in {folder}; GGUF files there: {there}")
        return resolve(str(folder / gguf))
    if folder.is_file() or str(model) in _ORGANISMS or str(model).count("/") != 1:
        raise ZkitError(f"gguf={gguf!r} names a file of a folder or of a hub repository, and {str(model)!r} is neither")
    return resolve(f"{model}/{gguf}")


def _is_gguf_name(file: str) -> bool:
    return file.endswith(".gguf") and not file.startswith("/") and ".." not in file.split("/")


def _is_hub_id(text: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return True


def _organism(name: str) -> Source:
    path = _ORGANISMS[name]
    if not path.is_dir():
        raise ZkitError(
            f"model {name!r} is not at {path}: the twins of the embedded model are in the repository of the book and "
            f"not in an installed zkit; give the path of the twin's folder in a checkout, or make it there with "
            f"`python -m zkbook.organism train --twin {path.name}`"
        )
    return Source(name, path)
