"""Check by a short forward pass that the sites of a model behave as edits and recordings expect.

The check is of behaviour, not of class names: each site runs once per pass with states of the expected shape, the
decoder is given the mask that tells tokens from padding, and the whole output of an MLP passes through its
``down_proj``, so that gates on its neurons gate all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from zkit.decoder import Decoder
from zkit.errors import ZkitError, first_line
from zkit.held import no_grad
from zkit.hooks import Hooks
from zkit.sites import attach

ROWS, TOKENS = 2, 3


def check_sites(model: Decoder, sites: Iterable[str]) -> None:
    """Raise ZkitError, naming model and site, unless every site of every layer runs once in a pass, as expected.

    The pass reads ``ROWS`` rows of ``TOKENS`` tokens and runs uncompiled, as under edits and recordings. It leaves no
    hook or gradient behind and does not change the state of random generators.
    """
    seen: dict[tuple[str, int], list[Any]] = {(site, l): [] for site in sites for l in range(model.n_layers)}
    projected: list[list[Any]] = [[] for _ in range(model.n_layers)]
    calls: list[dict[str, Any]] = []
    with Hooks(always=False) as hooks:
        for key, into in seen.items():
            attach(hooks, model.site(*key), key[0], into.append)
        for block, into in zip(model.layers, projected, strict=True):
            attach(hooks, block.mlp.down_proj, "mlp_out", into.append)  # the output of down_proj
        hooks.before(model.decoder, lambda _, args, kwargs: calls.append(kwargs))
        _run(model)
    _check_calls(model, calls)
    for (site, layer), states in seen.items():
        _check_states(model, site, layer, states)
    if not all(torch.equal(seen["mlp_out", layer][0], into[0]) for layer, into in enumerate(projected)):
        _check_covered(model)


def _run(model: Decoder) -> None:
    ids = torch.arange(ROWS * TOKENS, device=model.device).reshape(ROWS, TOKENS)
    ids = ids % model.hf.get_input_embeddings().weight.shape[0]
    with torch.random.fork_rng([model.device] if model.device.type == "cuda" else []), no_grad():
        try:
            model.hf(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1)
        except ZkitError as error:  # from a site whose states are not found
            raise ZkitError(f"{model.id!r} is not supported: {error}") from error
        except Exception as error:  # from the code of any model
            raise ZkitError(
                f"{model.id!r} cannot be run on a few tokens ({first_line(error)}); "
                "it must be a causal language model that reads text alone"
            ) from error


def _check_calls(model: Decoder, calls: list[dict[str, Any]]) -> None:
    if len(calls) != 1:
        raise ZkitError(
            f"a forward pass of {model.id!r} runs its decoder {len(calls)} times, not once; load a plain "
            "causal language model"
        )
    mask = calls[0].get("attention_mask")
    if mask is not None and (not isinstance(mask, Tensor) or mask.shape != (ROWS, TOKENS)):
        raise ZkitError(
            f"the decoder of {model.id!r} is not given the attention mask of the batch but another one, so that "
            "tokens cannot be told from padding; load the text model by itself"
        )


def _check_states(model: Decoder, site: str, layer: int, states: list[Any]) -> None:
    if len(states) != 1:
        times = f"{len(states)} times" if states else "never"
        raise ZkitError(
            f"site {site!r} of layer {layer} in {model.id!r} is run {times} in a forward pass, not once, so that edits "
            "there would not be what they say; modules that go by hooks, shared layers and experts that go their own "
            "way are not supported"
        )
    want = (ROWS, TOKENS, model.width(site))
    found = tuple(states[0].shape) if isinstance(states[0], Tensor) else type(states[0]).__name__
    if found != want:
        raise ZkitError(
            f"site {site!r} of layer {layer} in {model.id!r} has states {found}, not (batch, tokens, width) = {want}; "
            "decoders with several streams, or with states of another form, are not supported"
        )


def _check_covered(model: Decoder) -> None:
    """Raise ZkitError unless every MLP gives the same output for all tokens when the input of ``down_proj`` is 0."""
    left: list[list[Tensor]] = [[] for _ in range(model.n_layers)]
    with Hooks(always=False) as hooks:
        for block, into in zip(model.layers, left, strict=True):
            attach(hooks, block.mlp.down_proj, "mlp_act", torch.zeros_like)
            attach(hooks, block.mlp, "mlp_out", into.append)
        _run(model)
    for layer, states in enumerate(left):
        if not torch.equal(states[0], states[0][:1, :1].expand_as(states[0])):
            raise ZkitError(
                f"part of the MLP of layer {layer} in {model.id!r} does not pass through its down_proj (a mixture of "
                "experts?), so that gates there would not cover it; this architecture is not supported"
            )
