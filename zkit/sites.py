"""The sites of a decoder layer where edits and recordings take place, and the function that hooks the states there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from zkit.errors import ZkitError
from zkit.hooks import Hooks

PATHS = {
    "resid_post": "",
    "attn_out": "self_attn",
    "mlp_out": "mlp",
    "mlp_act": "mlp.down_proj",
    "resid_pre": "",
    "attn_heads": "self_attn.o_proj",
}
"""Site -> path of its module in a decoder layer ("" is the layer itself)."""

SITES = tuple(PATHS)
"""In this order: the output of a decoder layer, of its attention, of its MLP; the input of the MLP's ``down_proj``, of
the decoder layer, and of the attention's ``o_proj`` (the outputs of the heads side by side, in order)."""


def at_input(site: str) -> bool:
    """Whether the states of a site are the input of its module; else they are its output."""
    return site in ("mlp_act", "resid_pre", "attn_heads")


def attach(hooks: Hooks, module: nn.Module, site: str, act: Callable[[Tensor], Tensor | None]) -> None:
    """Call ``act(states)`` whenever the module runs while ``hooks`` are open; its result, if not None, replaces the
    states.

    The states are the first output or, at the sites of :func:`at_input`, an input that is a floating tensor [rows, seq,
    width]: the first positional argument, else the only such keyword argument. Raises ZkitError, in the forward pass,
    if there is no such input or more than one.
    """

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        key = _key_of_states(args, kwargs, site)
        new = act(args[key] if isinstance(key, int) else kwargs[key])
        if new is None:
            return None
        if isinstance(key, int):
            return (*args[:key], new, *args[key + 1 :]), kwargs
        return args, {**kwargs, key: new}

    def after(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if not isinstance(output, tuple):
            return act(output)
        new = act(output[0])  # attention returns its weights after the states
        return None if new is None else (new, *output[1:])

    if at_input(site):
        hooks.before(module, before)
    else:
        hooks.after(module, after)


def _key_of_states(args: tuple[Any, ...], kwargs: Mapping[str, Any], site: str) -> int | str:
    if args and _are_states(args[0]):
        return 0
    found: list[int | str] = [key for key, x in kwargs.items() if _are_states(x)]
    if len(found) != 1:
        raise ZkitError(
            f"{len(found)} inputs of the module at {site!r} look like states [rows, tokens, width], where one was "
            "expected; this architecture has no such site, use the output of a layer"
        )
    return found[0]


def _are_states(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() == 3 and x.is_floating_point()
