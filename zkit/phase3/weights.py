"""What Phase 3 reads from a model: the attention weights of a layer, and Z computed from them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.errors import ZkitError
from zkit.held import no_grad
from zkit.phase3.z import (
    Attention,
    effective_rank,
    k_by_rule,
    layer_similarity,
    phase_boundary,
    spectra,
    z_space,
)
from zkit.subspaces import Subspace

if TYPE_CHECKING:
    from zkit.models import Model


def attention(model: Model | Any, layer: int) -> Attention:
    """The query and key weights of a layer in float32, head by head; their biases and the norm before them.

    ``model`` is a zkit Model or a plain transformers model. A norm of queries and keys (Qwen3) and the rotation of
    positions are not included. Raises ZkitError for an unknown layer and for a model without the projections.
    """
    hf = getattr(model, "hf", model)
    decoder = hf.get_decoder() if hasattr(hf, "get_decoder") else hf
    layers = getattr(model, "layers", None) if hf is not model else getattr(decoder, "layers", None)
    name = getattr(model, "id", type(hf).__name__)
    if layers is None:
        raise ZkitError(f"{name} has no decoder layers where they are looked for; load it with zkit.load")
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < len(layers):
        raise ZkitError(f"no layer {layer!r} in {name!r}: its layers are the integers 0 to {len(layers) - 1}")
    block = layers[layer]
    own = getattr(block, "self_attn", None)
    query, key = getattr(own, "q_proj", None), getattr(own, "k_proj", None)
    width = getattr(own, "head_dim", None)
    norm = getattr(block, "input_layernorm", None)
    if not (isinstance(query, torch.nn.Linear) and isinstance(key, torch.nn.Linear) and isinstance(width, int)):
        raise ZkitError(
            f"{name} has no self_attn.q_proj, k_proj and head_dim at layer {layer}, which Z is made from; "
            "Qwen, Llama, Mistral and Gemma decoders have them"
        )
    q, k = (_heads(linear.weight, width) for linear in (query, key))
    if q.shape[0] % k.shape[0]:
        raise ZkitError(f"{name} has {q.shape[0]} query heads for {k.shape[0]} key heads, which do not divide")
    biases = [None if linear.bias is None else _heads(linear.bias, width) for linear in (query, key)]
    gamma = None
    if norm is not None:  # its output for equal entries is its scale, however the scale is stored
        with no_grad():
            gamma = norm(torch.ones(1, 1, q.shape[-1]).to(query.weight))[0, 0].float().cpu()
    return Attention(q, k, biases[0], biases[1], gamma)


def z_mask(model: Model | Any, layer: int, k: int, **arm: Any) -> Subspace:
    """Z of a layer: k directions of the residual stream, computed from its attention weights.

    ``arm`` are options of :func:`zkit.phase3.z.z_space`. ``zkit.phase3.z_mask(model, layer=32, k=50)`` is the published
    Z of Qwen2.5-3B. Raises ZkitError for an unknown layer, a model without query and key projections, a k larger than
    the rank of a head's kernel, and options that the layer has no weights for.
    """
    return z_space(attention(model, layer), k, **arm)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The layers and numbers of directions of a model that correspond to the published ones (L32, L33; 20 and 50)."""

    ranks: Float[Tensor, "n_layers heads"]
    """Effective rank of every head's kernel."""
    similarity: list[float]
    """Similarity of Z at each layer to Z at the next, at the k that corresponds to the median rank of all layers."""
    layers: tuple[int, int]
    """The layer before the boundary, which is the primary one, and the boundary."""
    ks: tuple[int, int]
    """The published 20 and 50 as shares of the mean effective rank at the boundary."""


def chosen(model: Model) -> Chosen:
    """Layers and k by rule, from the weights alone (:func:`z.phase_boundary` and :func:`z.k_by_rule`).

    Raises ZkitError for a model without query and key projections, and for fewer than three layers.
    """
    weights = [attention(model, layer) for layer in range(model.n_layers)]
    ranks = torch.stack([effective_rank(spectra(each)) for each in weights])
    most = weights[0].q.shape[1]
    k = k_by_rule(float(ranks.mean(1).median()), 50, most)
    similarity = [layer_similarity(one, other) for one, other in pairwise([z_space(each, k) for each in weights])]
    boundary = phase_boundary(similarity)
    few, many = (k_by_rule(float(ranks[boundary].mean()), published, most) for published in (20, 50))
    return Chosen(ranks, similarity, (boundary - 1, boundary), (few, many))


def gate_rows(model: Model, layer: int) -> Float[Tensor, "d_ffn d"]:
    """The rows of ``gate_proj``: the direction that each feed-forward neuron of a layer reads.

    Raises ZkitError for an unknown layer and for a model without ``gate_proj``.
    """
    found = getattr(getattr(model.layers[model.check_layer(layer)], "mlp", None), "gate_proj", None)
    if not isinstance(found, torch.nn.Linear):
        raise ZkitError(f"{model.id!r} has no mlp.gate_proj at layer {layer}")
    return found.weight.detach().float().cpu()


def _heads(weights: Tensor, width: int) -> Tensor:
    return weights.detach().float().cpu().unflatten(0, (-1, width))
