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
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
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
from zkit.steering import SteeringVector
from zkit.steering.preference import asked

LOGITS, VECTORS = 1e-4, 1e-5
ALPHAS = (-2.0, 0.5, 2.0)
PROMPTS = ("Explain what a mutex is.", "How does bread rise?")
Steered = Callable[[SteeringVector, float], AbstractContextManager[Any]]


class Skip(Exception):
    """A package that is not here, or that does not work with what is."""


def steering_vectors(model: zkit.Model) -> dict[str, Any]:
    """Largest difference over its tolerance: their vector of pairs and ours, and the logits that each steers to."""
    try:
        peer = _package("steering_vectors")
    except Skip as reason:
        return {"skipped": str(reason)}
    worst = {"vectors": 0.0, "logits": 0.0}
    for style in steering.STYLES.values():
        positives, negatives = _pairs(style)
        ours = steering.mean_difference(model, positives, negatives, pool="last", chat=False)
        for size in (1, 4):  # one by one, and padded
            theirs = peer.train_steering_vector(
                model.hf,
                model.tokenizer,
                list(zip(positives, negatives, strict=True)),
                read_token_index=-1,
                aggregator=peer.mean_aggregator(),
                batch_size=size,
            )
            worst["vectors"] = max(worst["vectors"], _relative(ours, theirs.layer_activations))

        def steered(v: SteeringVector, alpha: float) -> AbstractContextManager[Any]:
            return peer.SteeringVector(dict(v.vectors)).apply(model.hf, multiplier=alpha)

        worst["logits"] = max(worst["logits"], _logits_apart(model, ours, steered))
    return _result(worst, {"vectors": VECTORS, "logits": LOGITS}, "steering-vectors")


def repeng(model: zkit.Model) -> dict[str, Any]:
    """Largest difference over its tolerance: the states of pairs, steered logits, and GGUF files both ways.

    Its states of the last layer are left out: it reads them behind the model's final norm, ours are what it steers.
    """
    try:
        with mock.patch.object(np, "float_", np.float64, create=True):  # numpy 2 has no such name; a hint uses it
            peer = _package("repeng")
    except Skip as reason:
        return {"skipped": str(reason)}
    worst = {"vectors": 0.0, "logits": 0.0, "files": 0.0}
    steered_layers = range(1, model.n_layers)  # as it trains them, and llama.cpp steers them
    for style in steering.STYLES.values():
        positives, negatives = _pairs(style)
        ours = steering.mean_difference(model, positives, negatives, steered_layers, pool="last", chat=False)
        both = [prompt for pair in zip(positives, negatives, strict=True) for prompt in pair]
        layers = range(model.n_layers - 1)
        with mock.patch.object(peer.extract.tqdm, "tqdm", lambda rows: rows):  # no bars
            hidden = peer.extract.batched_get_hiddens(model.hf, model.tokenizer, both, layers, 32)
        means = {l: torch.from_numpy((rows[::2] - rows[1::2]).mean(0)) for l, rows in hidden.items() if l in ours.layers}
        worst["vectors"] = max(worst["vectors"], _relative(ours.at(*means), means))

        def steered(v: SteeringVector, alpha: float) -> AbstractContextManager[Any]:
            return _Controlled(peer, model, {l: x.numpy() for l, x in v.vectors.items()}, alpha)

        worst["logits"] = max(worst["logits"], _logits_apart(model, ours, steered))
        worst["files"] = max(worst["files"], _files_apart(peer, ours))
    return _result(worst, {"vectors": VECTORS, "logits": LOGITS, "files": 0.0}, "repeng")


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # an old package fails on new ones in any way
        raise Skip(f"{name} does not import here: {type(error).__name__}: {error}") from error


def _pairs(style: steering.Style) -> tuple[list[str], list[str]]:
    """Questions of different lengths with either instruction before them."""
    one, other = zip(*(asked(style, question) for question in steering.strength.NEUTRAL), strict=True)
    return list(one), list(other)


def _relative(ours: SteeringVector, theirs: dict[int, Float[Tensor, " d_model"]]) -> float:
    """Norm of the difference over ours, at the layer where it is largest; both must have the same layers."""
    if sorted(theirs) != ours.layers:
        raise SystemExit(f"their vector has layers {sorted(theirs)}, ours {ours.layers}")
    return max(float((theirs[l] - v).norm() / v.norm()) for l, v in ours.vectors.items())


def _logits_apart(model: zkit.Model, v: SteeringVector, steered: Steered) -> float:
    """Largest difference of logits at any token, with all layers steered at once and each by itself."""
    batches = [model.tokenize([prompt]) for prompt in PROMPTS]
    worst, plain = 0.0, [_logits(model, batch) for batch in batches]
    for part in (v, *(v.at(layer) for layer in v.layers)):
        for alpha in ALPHAS:
            with zkit.steer(model, part, alpha, sink=True):
                ours = [_logits(model, batch) for batch in batches]
            with steered(part, alpha):
                theirs = [_logits(model, batch) for batch in batches]
            worst = max(worst, *(float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)))
            if min(float((a - b).abs().max()) for a, b in zip(ours, plain, strict=True)) < 100 * LOGITS:
                raise SystemExit(f"steering layers {part.layers} at {alpha} leaves the logits as they are")
    if not all(torch.equal(_logits(model, batch), logits) for batch, logits in zip(batches, plain, strict=True)):
        raise SystemExit("the model does not come back as it was")
    return worst


def _logits(model: zkit.Model, batch: Any) -> Float[Tensor, "1 seq vocab"]:
    with torch.no_grad():
        return model.hf(**batch, use_cache=False).logits


class _Controlled:
    """Our vector as repeng's, in force inside the block; it replaces layers, so they are put back after it."""

    def __init__(self, peer: Any, model: zkit.Model, directions: dict[int, Any], alpha: float) -> None:
        self.vector = peer.ControlVector("qwen3", directions)
        self.wrap, self.alpha = lambda: peer.ControlModel(model.hf, list(directions)), alpha

    def __enter__(self) -> None:
        self.control = self.wrap()
        self.control.set_control(self.vector, self.alpha)

    def __exit__(self, *_: object) -> None:
        self.control.unwrap()


def _files_apart(peer: Any, v: SteeringVector) -> float:
    """Largest difference after their import of our GGUF file, and after our reading of theirs."""
    with tempfile.TemporaryDirectory(prefix="zkit-parity-") as folder:
        ours, theirs = Path(folder) / "ours.gguf", Path(folder) / "theirs.gguf"
        v.to_gguf(ours, model_hint="qwen3")
        read = peer.ControlVector.import_gguf(ours)
        peer.ControlVector("qwen3", {l: x.numpy() for l, x in v.vectors.items()}).export_gguf(theirs)
        back = SteeringVector.from_gguf(theirs)
        if read.model_type != "qwen3" or back.note != {"model": "qwen3"} or sorted(read.directions) != back.layers:
            raise SystemExit(f"a hint or a layer was lost: {read.model_type}, {back.note}, {sorted(read.directions)}")
        return max(
            float((torch.from_numpy(np.array(x)) - v.vectors[l]).abs().max())
            for found in (read.directions, {l: x.numpy() for l, x in back.vectors.items()})
            for l, x in found.items()
        )


def _result(worst: dict[str, float], tolerance: dict[str, float], name: str) -> dict[str, Any]:
    """A difference where none is allowed counts as twice its tolerance."""
    shares = [d / tolerance[key] if tolerance[key] else 2.0 * (d > 0) for key, d in worst.items()]
    return {"ratio": max(shares), "target": 1.0, "at_most": True, "version": version(name)} | worst
