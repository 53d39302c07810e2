"""What a run can know at its start: that its model, its device, the files it reads and the folder it writes to are
there. A mistake in one of them is told before a kernel starts or a model is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from zkbook.pages.parameters import Parameter
from zkit import sources, writing
from zkit.errors import ZkitError

ROOM = 2**20
"""Free bytes without which no chapter can leave anything."""


def located(
    known: Mapping[str, Parameter], values: Mapping[str, Any], given: Collection[str], beside: Path, chapter: str
) -> dict[str, Any]:
    """``values`` with the model and every file that is read made independent of the working directory.

    A relative path in ``given`` is taken from the working directory, the folder that the command was given in; one
    that is the notebook's own default from ``beside``. Raises ZkitError, naming that folder, if nothing is there.
    """
    found = dict(values)
    for name, parameter in known.items():
        if parameter.reads and found[name]:
            folder = Path.cwd() if name in given else beside
            found[name] = str(_existing(parameter, found[name], folder, chapter))
    if "model" in known:
        found["model"] = model(found["model"])
    return found


def model(name: str) -> str:
    """A model's name, made independent of the working directory. Raises ZkitError for a path that is not there."""
    source = sources.resolve(name)
    return name if source.embedded or source.path is None else str(source.path)


def check(known: Mapping[str, Parameter], values: Mapping[str, Any], out: Path) -> None:
    """Raises ZkitError if ``out`` cannot be written to or lies inside what is read, the device is not there, or the
    model is neither on this machine nor to be had. ``values`` as :func:`located` gives them."""
    for name in (name for name, parameter in known.items() if parameter.reads and values[name]):
        if out.resolve().is_relative_to(Path(values[name]).resolve()):
            raise ZkitError(
                f"{out} lies inside {name} = {values[name]}, so the run would change what it reads; "
                "choose another folder with -p out=FOLDER"
            )
    _check_folder(out)
    _check_device(str(values.get("device", "auto")))
    source = sources.resolve(values["model"]) if "model" in known else None
    if source is not None and source.path is None:
        try:
            source.folder()
        except ZkitError:
            if source.offline():
                raise


def _existing(parameter: Parameter, value: str, folder: Path, chapter: str) -> Path:
    typed = os.path.expanduser(value)
    path = folder / typed
    if os.path.isfile(path) or (os.path.isdir(path) and parameter.reads != "file"):
        if os.access(path, os.R_OK):
            return path.resolve()
        what = "cannot be read: no permission"
    elif os.path.exists(path):
        what = f"is not a {parameter.reads}"
    else:
        what = "is not there" if os.path.isabs(typed) else f"is not there: it was looked for in {folder}"
    raise ZkitError(f"{chapter}: {parameter.name} = {value!r} {what} ({parameter.meaning})")


def _check_folder(out: Path) -> None:
    """Whether ``out`` could be made and written to; leaves nothing."""
    above = next(folder for folder in (out, *out.parents) if os.path.exists(folder))
    if not above.is_dir():
        raise ZkitError(f"out = {out}: {above} is a file, not a folder; choose another with -p out=FOLDER")
    try:
        writing.check_folder(out)
    except ZkitError as error:
        raise ZkitError(f"out = {error} with -p out=FOLDER") from error
    if shutil.disk_usage(above).free < ROOM:
        raise ZkitError(f"no room on the disk for {out}; free some space or choose another with -p out=FOLDER")


def _check_device(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind not in ("cuda", "mps"):
        return
    import torch

    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        there = int(index or 0) < count
        have = f"this machine has {count} CUDA device{'s' * (count != 1)}" if count else "torch finds no CUDA here"
    else:
        there, have = torch.backends.mps.is_available(), "torch finds no MPS here"
    if not there:
        raise ZkitError(f'device = "{device}" is not there: {have}; use "auto" or "cpu"')
