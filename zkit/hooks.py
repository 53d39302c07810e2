"""Hooks on the modules of a model that act only inside a `with` statement."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from zkit import eager
from zkit.held import Held


class Hook:
    """A function that is called when a module runs, while the block of the hook is open."""

    def __init__(self, block: Hooks, act: Callable[..., Any]) -> None:
        self.block, self.act = block, act

    def __call__(self, *args: Any) -> Any:
        return self.act(*args) if self.block.in_force else None


class Hooks(Held):
    """A block of hooks. While it has any, compiled functions run uncompiled.

    The block notes a module before it registers a hook there and later searches the noted modules for its hooks, so
    that an interruption while registering leaves none behind. If the closing of the block is interrupted twice, a hook
    may remain on its module. It then does nothing, and the next block that uses the module removes it.

    always: whether to turn compiled code off even if torch's compiler, which takes seconds to import, has not been
    imported yet. Nothing is compiled then, but code that runs inside the block may compile something.
    """

    def __init__(self, always: bool = True) -> None:
        self._always = always
        self._modules: list[nn.Module] = []

    def before(self, module: nn.Module, act: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        """Call ``act(module, args, kwargs)`` before the module runs; its result, if not None, replaces both."""
        self._note(module)
        module.register_forward_pre_hook(Hook(self, act), with_kwargs=True)

    def after(self, module: nn.Module, act: Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], Any]) -> None:
        """Call ``act(module, args, kwargs, output)`` after the module runs; its result, if not None, is the output."""
        self._note(module)
        module.register_forward_hook(Hook(self, act), with_kwargs=True)

    def _note(self, module: nn.Module) -> None:
        if not self._modules and (self._always or "torch._dynamo" in sys.modules):
            eager.begin(self)
        self._modules.append(module)
        _clear(module, lambda block: not block.in_force)

    def _close(self) -> None:
        eager.end(self)
        for module in self._modules:
            _clear(module, lambda block: block is self)
        self._modules.clear()


def acting_before(module: nn.Module) -> list[Callable[..., Any]]:
    """The functions that open blocks call before ``module`` runs, in order."""
    hooks = list(module._forward_pre_hooks.values())
    return [hook.act for hook in hooks if isinstance(hook, Hook) and hook.block.in_force]


def _clear(module: nn.Module, which: Callable[[Hooks], bool]) -> None:
    """Remove from a module the hooks of blocks for which ``which`` is true, and torch's records of removed hooks."""
    for hooks, notes in (
        (module._forward_pre_hooks, module._forward_pre_hooks_with_kwargs),
        (module._forward_hooks, module._forward_hooks_with_kwargs),
    ):
        for key, hook in list(hooks.items()):
            if isinstance(hook, Hook) and which(hook.block):
                hooks.pop(key, None)
        for key in [key for key in notes if key not in hooks]:
            notes.pop(key, None)
