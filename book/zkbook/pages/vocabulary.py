"""The book's one vocabulary of parameters: name -> type with its range, and meaning.

No chapter's hash covers this file: what a chapter was given stands in its stamp, and a new name changes no old value.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


_Path = Annotated[str, Field(pattern=r"^[^\x00]*$")]
_File = Annotated[_Path, Field(json_schema_extra={"reads": "file"})]
FileOrFolder = Annotated[_Path, Field(json_schema_extra={"reads": "file or folder"})]
"""A path of what a chapter reads: it must be there, and its contents are part of what the page was made from."""

VOCABULARY: dict[str, tuple[Any, str]] = {
    "model": (Annotated[str, Field(min_length=1)], '"embedded", a Hugging Face id, or a folder or GGUF file'),
    "dtype": (Literal["auto", "float32", "bfloat16", "float16"], 'number format of the weights ("auto": the model\'s)'),
    "device": (
        Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")],
        'where the model runs: "auto", "cpu", "cuda", "cuda:1", "mps"',
    ),
    "profile": (Literal["smoke", "embedded", "field", "qwen"], "set of parameters that the runner chose"),
    "seed": (Annotated[int, Field(ge=0, lt=2**32)], "seed of every random draw"),
    "layer": (Annotated[int, Field(ge=-1)], "decoder layer, counted from 0; -1 applies the chapter's rule"),
    "alpha": (Finite, "factor on the steering vector; 0 leaves the model as it is"),
    "k": (Count, "number of directions in the subspace"),
    "doses": (
        Annotated[list[Finite], Field(min_length=1)],
        "steering strengths, as fractions of the median norm of a hidden state",
    ),
    "gates": (FileOrFolder, 'folder or file of gates; "" takes those that belong to the model'),
    "scale": (
        Literal["", "mean", "energy", "none"],
        'rescaling of soft gates; "" takes the one they were trained with',
    ),
    "variant": (Annotated[str, Field(min_length=1)], "named recipe that gates are trained by"),
    "forget": (_File, 'JSONL file of texts to forget; "" takes those of the embedded model'),
    "retain": (_File, 'JSONL file of texts to retain; "" takes those of the embedded model'),
    "tasks": (_File, 'JSONL file of questions, as zkit.questions describes it; "" takes those that ship'),
    "epochs": (Annotated[float, Field(gt=0, allow_inf_nan=False)], "passes over the texts to forget"),
    "n_texts": (
        Annotated[int, Field(ge=0)],
        "number of texts to forget that are used, and of ten times as many to retain; 0 takes all",
    ),
    "off_fractions": (
        Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(min_length=1)],
        "shares of all neurons that hard gates turn off",
    ),
    "n_random": (Count, "number of random masks that a mask stands beside"),
    "budget": (
        Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
        "steps of relearning after which to ask",
    ),
    "steps": (Count, "steps of learning a subspace"),
    "n_problems": (Count, "number of test problems of each kind"),
    "n_topics": (Count, "number of topics that texts are written about"),
    "n_prompts": (Count, "number of prompts"),
    "other": (FileOrFolder, 'folder of the chapters on another model, for comparison; "" for none'),
    "max_new_tokens": (Count, "longest answer, in tokens"),
    "out": (_Path, 'absolute path of the folder for results; "" takes the default'),
}
"""Parameter name -> (type with its range, meaning). A name means the same in every chapter."""
