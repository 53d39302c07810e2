"""Read a notebook: what the runner and the book look at is there and of the right kind, else one error says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from zkit.errors import ZkitError
from zkit.reading import Checked, check, plain, read_text

LIMIT = 2**28
"""Bytes of a notebook, its figures included."""
_Texts = Annotated[list[str], Field(fail_fast=True)]


class _Open(Checked):
    model_config = ConfigDict(extra="allow")


class _CellMetadata(_Open):
    tags: _Texts = Field(default_factory=list)


class _Cell(_Open):
    cell_type: str
    source: str | _Texts
    metadata: _CellMetadata
    attachments: dict[str, Any] = Field(default_factory=dict)


class _Own(_Open):
    needs: _Texts = Field(default_factory=list)
    wants: _Texts = Field(default_factory=list)


class _Metadata(_Open):
    zkit: _Own = Field(default_factory=_Own)
    papermill: dict[str, Any] = Field(default_factory=dict)


class _Notebook(_Open):
    nbformat: Literal[4]
    metadata: _Metadata
    cells: Annotated[list[_Cell], Field(fail_fast=True)]


def read(path: Path) -> dict[str, Any]:
    """The notebook of a file. Raises ZkitError, naming the entry, if it is none of format 4 or cannot be read."""
    remedy = "save it with Jupyter again"
    try:
        found = json.loads(read_text(path, LIMIT))
    except (ValueError, RecursionError) as error:
        if isinstance(error, ZkitError):
            raise
        raise ZkitError(f"{path} is not a Jupyter notebook of format 4; {remedy}") from error
    check(_Notebook, found, f"{path} is not a Jupyter notebook of format 4", remedy)
    plain({"metadata": found["metadata"], "cells": [_without_outputs(cell) for cell in found["cells"]]}, str(path))
    return dict(found)


def _without_outputs(cell: dict[str, Any]) -> dict[str, Any]:
    """Outputs are what Python wrote, NaN included, and nobody here reads them."""
    return {name: value for name, value in cell.items() if name != "outputs"}
