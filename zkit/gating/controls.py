"""Controls for masks: random neurons in the same numbers, neurons with the lowest scores (such as the logits that
training started from), and pruning by importance, which needs no training.

Every mask is [n_layers, d_mlp], 1 for neurons that stay on and 0 for those turned off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zkit.edits import Edit, edit
from zkit.errors import ZkitError
from zkit.gating.apply import EVERY_TOKEN
from zkit.gating.texts import Text, batch, target_logits, tokens
from zkit.models import Model
from zkit.packing import packed

Masks = list[Float[Tensor, "n_layers d_mlp"]]


def random_masks(off: Bool[Tensor, "n_layers d_mlp"], n: int, seed: int = 0) -> Masks:
    """``n`` masks that turn off as many neurons of each layer as ``off`` does, chosen at random."""
    generator = torch.Generator().manual_seed(seed)
    masks = []
    for _ in range(n):
        ranks = torch.rand(off.shape, generator=generator).argsort(-1).argsort(-1)
        masks.append((ranks >= off.sum(-1, keepdim=True)).float())
    return masks


def lowest(
    scores: Float[Tensor, "n_layers d_mlp"], off: Bool[Tensor, "n_layers d_mlp"]
) -> Float[Tensor, "n_layers d_mlp"]:
    """A mask that turns off, in each layer, as many neurons as ``off`` does, those with the lowest scores."""
    ranks = scores.argsort(-1).argsort(-1)
    return (ranks >= off.sum(-1, keepdim=True)).float()


def importance(model: Model, texts: Sequence[Text], chat: bool = True) -> Float[Tensor, "n_layers d_mlp"]:
    """Mean absolute activation of every neuron at the positions that predict the texts' tokens.

    All layers are recorded in the same passes. Raises ZkitError for no texts, and for a text without a prompt if
    ``chat``.
    """
    if not texts:
        raise ZkitError("importance needs texts; the list is empty")
    encoded = tokens(model, texts, chat)
    total = torch.zeros(model.n_layers, model.width("mlp_act"), device=model.device)
    count = 0
    for group in packed([len(t.ids) for t in encoded]):
        rows = batch([encoded[i] for i in group], int(model.tokenizer.pad_token_id), model.device)

        def note(layer: int, where: Tensor = rows.targets) -> Callable[[Tensor], Tensor]:
            def fn(h: Tensor) -> Tensor:
                total[layer] += h[where].float().abs().sum(0)
                return h

            return fn

        watchers = [Edit("mlp_act", layer, note(layer), EVERY_TOKEN, sound=True) for layer in range(model.n_layers)]
        with torch.no_grad(), edit(model, watchers):
            target_logits(model, rows)
        count += len(rows.labels)
    return (total / count).cpu()


def selective_pruning(
    model: Model, forget: Sequence[Text], retain: Sequence[Text], chat: bool = True, eps: float = 1e-6
) -> Float[Tensor, "n_layers d_mlp"]:
    """Importance for the texts ``retain`` over importance for ``forget`` (plus ``eps``); prune the lowest scores first.

    chat: whether texts go through the chat template. Source: Pochinkov and Schoots 2024, selective pruning by mean
    absolute activation. Raises ZkitError for no texts.
    """
    return importance(model, retain, chat) / (importance(model, forget, chat) + eps)


def matched(
    damage: Callable[[Float[Tensor, "n_layers d_mlp"]], float],
    target: float,
    off: Bool[Tensor, "n_layers d_mlp"],
    seed: int = 0,
    rounds: int = 10,
) -> Float[Tensor, "n_layers d_mlp"]:
    """A random mask whose ``damage`` is ``target``, found by bisection over the number of neurons off.

    off: the numbers of neurons off in the layers are in proportion to those of this mask. seed: of the one random order
    in which neurons are turned off. rounds: of the bisection, which assumes that damage grows with the number.
    Raises ZkitError if the largest such mask does less damage.
    """
    generator = torch.Generator().manual_seed(seed)
    ranks = torch.rand(off.shape, generator=generator).argsort(-1).argsort(-1)
    share: Int[Tensor, "n_layers 1"] = off.sum(-1, keepdim=True)
    low, high = 0.0, float(off.shape[-1] / share.max().clamp(min=1))

    def mask(times: float) -> Tensor:
        return (ranks >= (share * times).round()).float()

    if damage(mask(high)) < target:
        raise ZkitError(f"random masks do less damage than {target:.3g} even at {high:.1f} times as many neurons off")
    for _ in range(rounds):
        middle = (low + high) / 2
        low, high = (middle, high) if damage(mask(middle)) < target else (low, middle)
    return mask((low + high) / 2)
