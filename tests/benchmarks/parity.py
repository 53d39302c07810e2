"""Our vectors and steered logits beside those of steering-vectors and repeng, on the settings that they share with us.

Both ask for older transformers or numpy than the book's, so neither is among its requirements. To compare, put them in
a folder of their own, without what they depend on but scikit-learn::

    pip install --no-deps --target ../peers steering-vectors==0.12.2 repeng==0.4.0 scikit-learn joblib threadpoolctl \\
        cloudpickle
    PYTHONPATH=../peers python -m tests.benchmarks --only parity

Without them the comparison says why it is skipped. Differences are given as shares of their tolerance: 1e-4 for logits
in float32, 1e-5 of the norm for vectors, and none at all for a file.
"""

from __future__ import annotations

import importlib
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import zkit
from zkit import steering
from zkit.steering import SteeringVector, read_gguf, write_gguf
from zkit.steering.scorecard import asked

LOGITS, VECTORS = 1e-4, 1e-5
ALPHAS = (-2.0, 0.5, 2.0)
PROMPTS = ("Explain what a mutex is.", "How does bread rise?")
Steered = Callable[[SteeringVector, float], AbstractContextManager[Any]]


class Skip(Exception):
    """A package that is not here, or that does not work with what is."""


def _or_skip(compare: Callable[[zkit.Model], dict[str, Any]]) -> Callable[[zkit.Model], dict[str, Any]]:
    @wraps(compare)
    def run(model: zkit.Model) -> dict[str, Any]:
        try:
            return compare(model)
        except Skip as reason:
            return {"skipped": str(reason)}

    return run


@contextmanager
def _theirs(what: str) -> Iterator[None]:
    """Skip, with the reason, if what a package does here fails: an old one fails on new ones in any way."""
    try:
        yield
    except zkit.ZkitError:  # ours, so no reason to skip
        raise
    except Exception as error:
        raise Skip(f"{what} fails here: {type(error).__name__}: {error}") from error


@_or_skip
def steering_vectors(model: zkit.Model) -> dict[str, Any]:
    """Largest difference over its tolerance: their vector of pairs and ours, and the logits that each steers to."""
    with _theirs("import of steering_vectors"):
        peer = importlib.import_module("steering_vectors")
    worst = {"vectors": 0.0, "logits": 0.0}
    for style in steering.STYLES.values():
        positives, negatives = _pairs(style)
        ours = steering.mean_difference(model, positives, negatives, pool="last", chat=False)
        for size in (1, 4):  # one by one, and padded
            with _theirs("train_steering_vector"):
                theirs = peer.train_steering_vector(
                    model.hf,
                    model.tokenizer,
                    list(zip(positives, negatives, strict=True)),
                    read_token_index=-1,
                    aggregator=peer.mean_aggregator(),
                    batch_size=size,
                )
            worst["vectors"] = _largest(worst["vectors"], _relative(ours, theirs.layer_activations))

        def steered(v: SteeringVector, alpha: float) -> AbstractContextManager[Any]:
            return peer.SteeringVector(dict(v.vectors)).apply(model.hf, multiplier=alpha)

        worst["logits"] = _largest(worst["logits"], _logits_apart(model, ours, steered))
    return _result(worst, {"vectors": VECTORS, "logits": LOGITS}, "steering-vectors")


@_or_skip
def repeng(model: zkit.Model) -> dict[str, Any]:
    """Largest difference over its tolerance: the states of pairs, steered logits, and GGUF files both ways.

    Its states of the last layer are left out: it reads them behind the model's final norm, ours are what it steers.
    """
    with _theirs("import of repeng"), mock.patch.object(np, "float_", np.float64, create=True):
        peer = importlib.import_module("repeng")  # a type hint of it has a name that numpy 2 dropped
    worst = {"vectors": 0.0, "logits": 0.0, "files": 0.0}
    for style in steering.STYLES.values():
        positives, negatives = _pairs(style)
        every = steering.mean_difference(model, positives, negatives, pool="last", chat=False)
        states = _states(peer, model, [*positives, *negatives], every.layers[:-1])
        halves = {l: rows.split(len(positives)) for l, rows in states.items()}
        means = {l: (one - other).mean(0) for l, (one, other) in halves.items()}
        worst["vectors"] = _largest(worst["vectors"], _relative(every.at(*means), means))
        ours = every.at(*every.layers[1:])  # it trains no direction for layer 0, and llama.cpp takes none

        def steered(v: SteeringVector, alpha: float) -> AbstractContextManager[Any]:
            return _controlled(peer, model, v, alpha)

        worst["logits"] = _largest(worst["logits"], _logits_apart(model, ours, steered))
        with _theirs("its reading or writing of GGUF"):
            worst["files"] = _largest(worst["files"], _files_apart(peer, ours))
    return _result(worst, {"vectors": VECTORS, "logits": LOGITS, "files": 0.0}, "repeng")


def _largest(*differences: float) -> float:
    if not all(map(math.isfinite, differences)):
        raise SystemExit("a difference is not finite")
    return max(differences)


def _pairs(style: steering.Style) -> tuple[list[str], list[str]]:
    """Questions of different lengths with either instruction before them."""
    one, other = zip(*(asked(style, question) for question in steering.apply.NEUTRAL), strict=True)
    return list(one), list(other)


def _relative(ours: SteeringVector, theirs: dict[int, Float[Tensor, " d_model"]]) -> float:
    """Norm of the difference over ours, at the layer where it is largest; both must have the same layers."""
    if sorted(theirs) != ours.layers:
        raise SystemExit(f"their vector has layers {sorted(theirs)}, ours {ours.layers}")
    return _largest(*(float((theirs[l] - v).norm() / v.norm()) for l, v in ours.vectors.items()))


def _logits_apart(model: zkit.Model, v: SteeringVector, steered: Steered) -> float:
    """Largest difference of logits at any token, with all layers steered at once and each by itself."""
    batches = [model.tokenize([prompt]) for prompt in PROMPTS]
    worst, plain = 0.0, [_logits(model, batch) for batch in batches]
    for part in (v, *(v.at(layer) for layer in v.layers)):
        for alpha in ALPHAS:
            with zkit.steer(model, part, alpha, first_token=True):
                ours = [_logits(model, batch) for batch in batches]
            with _theirs("steering"), steered(part, alpha):
                theirs = [_logits(model, batch) for batch in batches]
            worst = _largest(worst, *(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)))
            if min(float((a - b).abs().max()) for a, b in zip(ours, plain, strict=True)) < 100 * LOGITS:
                raise SystemExit(f"steering layers {part.layers} at {alpha} leaves the logits as they are")
    if not all(torch.equal(_logits(model, batch), logits) for batch, logits in zip(batches, plain, strict=True)):
        raise SystemExit("the model does not come back as it was")
    return worst


def _logits(model: zkit.Model, batch: Any) -> Float[Tensor, "1 seq vocab"]:
    with torch.no_grad():
        return model.hf(**batch, use_cache=False).logits


def _states(
    peer: Any, model: zkit.Model, prompts: Sequence[str], layers: Sequence[int]
) -> dict[int, Float[Tensor, "n_prompts d_model"]]:
    """The states of the last tokens by repeng, without its progress bars."""
    with _theirs("batched_get_hiddens"), mock.patch.object(peer.extract.tqdm, "tqdm", lambda rows: rows):
        found = peer.extract.batched_get_hiddens(model.hf, model.tokenizer, list(prompts), list(layers), 32)
    return {layer: torch.from_numpy(rows) for layer, rows in found.items()}


def _control_vector(peer: Any, v: SteeringVector) -> Any:
    return peer.ControlVector("qwen3", {layer: x.numpy() for layer, x in v.vectors.items()})


@contextmanager
def _controlled(peer: Any, model: zkit.Model, v: SteeringVector, alpha: float) -> Iterator[None]:
    """Our vector as repeng's, in force inside the block; it replaces layers, so they are put back after it."""
    control = peer.ControlModel(model.hf, v.layers)
    try:
        control.set_control(_control_vector(peer, v), alpha)
        yield
    finally:
        control.unwrap()


def _files_apart(peer: Any, v: SteeringVector) -> float:
    """Largest difference after their import of our GGUF file, and after our reading of theirs."""
    with tempfile.TemporaryDirectory(prefix="zkit-parity-") as folder:
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        write_gguf(v, ours, model_hint="qwen3")
        read = peer.ControlVector.import_gguf(ours)
        _control_vector(peer, v).export_gguf(theirs)
        back = read_gguf(theirs)
        if read.model_type != "qwen3" or back.note != {"model": "qwen3"} or sorted(read.directions) != back.layers:
            raise SystemExit(f"a hint or a layer was lost: {read.model_type}, {back.note}, {sorted(read.directions)}")
        directions = {layer: torch.from_numpy(np.array(x)) for layer, x in read.directions.items()}
        both = (directions, back.vectors)
        return _largest(*(float((found[l] - x).abs().max()) for found in both for l, x in v.vectors.items()))


def _result(worst: dict[str, float], tolerance: dict[str, float], name: str) -> dict[str, Any]:
    """A difference where none is allowed counts as twice its tolerance."""
    shares = [d / tolerance[key] if tolerance[key] else 2.0 * (d > 0) for key, d in worst.items()]
    return {"ratio": max(shares), "target": 1.0, "at_most": True, "version": version(name)} | worst
