"""Record states: one forward pass gives every layer and stops after the last one asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zkit.errors import ZkitError
from zkit.positions import Positions, Tracker, parse, prompt_width
from zkit.prompts import Prompt, check_answers, check_batch_size, check_prompts
from zkit.tokens import massive

if TYPE_CHECKING:
    from zkit.models import Model

Reduce = Callable[[Float[Tensor, "batch seq width"], Bool[Tensor, "batch seq"]], Any]


def record(
    model: Model,
    prompts: Sequence[Prompt],
    pool: str = "mean",
    *,
    site: str = "layer",
    layers: Sequence[int] | None = None,
    positions: str | Positions | None = None,
    first_token: bool = False,
    massive: bool = False,
    answers: Sequence[str] | None = None,
    chat: bool = True,
    batch_size: int = 32,
) -> Float[Tensor, "n_prompts n_layers width"]:
    """States of the prompts at one site of every layer (or of ``layers``), pooled over ``positions``, in float32.

    pool: ``"mean"`` over the chosen tokens, or the ``"last"`` of them, whatever it carries. A mean is over
    ``positions="content"`` unless others are given: the tokens of the messages without those of the chat template
    (:func:`zkit.tokens.content_mask`), and of the answers. It leaves out the first token, and at each layer the massive
    ones (:func:`zkit.tokens.massive`, at the site), so that it does not depend on the length of the prompt through
    states that are the same in every prompt; ``first_token=True`` and ``massive=True`` let them in where ``positions``
    cover them. ``"last"`` is over ``"all"`` unless others are given: the last token of the prompt, template included.
    ``answers`` follow the prompts, one each; they are the positions ``"generated"``.
    States are recorded as edits in force leave them.

    Raises ZkitError for an empty list, an unknown site, layer or pool, a prompt in which nothing is chosen, a template
    that does not leave the messages as they are, an answer without a token, and states that are not finite.
    """
    if pool not in POOLS:
        raise ZkitError(f"unknown pool {pool!r}; use 'mean', 'last', or zkit.token_states for every token")
    where = positions if positions is not None else "content" if pool == "mean" else "all"
    chosen = _Choice(
        parse("all" if where == "content" else where, first_token), where == "content", massive or pool == "last"
    )
    batches = _batches(model, prompts, POOLS[pool], site, layers, chosen, chat, batch_size, answers)
    return torch.cat([torch.stack(states, dim=1) for states in batches])


def mean_state(
    model: Model, prompts: Iterable[Prompt], pool: str = "mean", *, batch_size: int = 32, **options: Any
) -> Float[Tensor, "n_layers width"]:
    """The mean over prompts of :func:`record`, kept as a running sum: memory does not grow with their number.

    ``prompts`` may be any iterable; ``options`` are those of :func:`record`, but for ``answers``, which do not stream.
    Raises as :func:`record` does.
    """
    if options.get("answers") is not None:
        raise ZkitError(
            "mean_state takes its prompts one batch at a time and has no answers; use zkit.record(...).mean(0)"
        )
    if isinstance(prompts, str):
        check_prompts(prompts)
    total, n, stream = torch.zeros((), dtype=torch.float64), 0, iter(prompts)
    while chunk := list(islice(stream, check_batch_size(batch_size))):
        total = total + record(model, chunk, pool, batch_size=batch_size, **options).double().sum(0)
        n += len(chunk)
    if n == 0:
        raise ZkitError("the list of prompts is empty; give at least one prompt")
    return (total / n).float()


def token_states(
    model: Model,
    prompts: Sequence[Prompt],
    *,
    site: str = "layer",
    layers: Sequence[int] | None = None,
    chat: bool = True,
    batch_size: int = 32,
) -> list[Float[Tensor, "n_tokens n_layers width"]]:
    """The states of every real token of each prompt, the first included, in float32. Raises as :func:`record` does."""
    batches = _batches(model, prompts, _every_token, site, layers, _Choice(_EVERY, massive=True), chat, batch_size)
    return [torch.stack(rows, dim=1) for layers_of_rows in batches for rows in zip(*layers_of_rows, strict=True)]


def _mean(h: Tensor, chosen: Tensor) -> Float[Tensor, "batch width"]:
    kept = torch.where(chosen[..., None], h.float(), 0.0)  # padding may hold anything, NaN included
    return kept.sum(1) / chosen.sum(1, keepdim=True)


def _last(h: Tensor, chosen: Tensor) -> Float[Tensor, "batch width"]:
    place = torch.where(chosen, torch.arange(chosen.shape[1], device=chosen.device), -1).argmax(1)
    return h[torch.arange(h.shape[0], device=h.device), place].float()


def _every_token(h: Tensor, chosen: Tensor) -> list[Float[Tensor, "n_tokens width"]]:
    return [row[mask].float() for row, mask in zip(h, chosen, strict=True)]


POOLS: dict[str, Reduce] = {"mean": _mean, "last": _last}
_EVERY = parse("all", first_token=True)


@dataclass(frozen=True)
class _Choice:
    """Which tokens are pooled: those at some positions, of the messages only or not, massive ones among them or not."""

    positions: Positions
    content: bool = False
    massive: bool = False

    def nothing(self, layer: int) -> str:
        """What to say where no token is chosen."""
        kind = "content" if self.content else self.positions.kind
        usual = "" if self.massive else f" that is not massive at layer {layer}"
        return f"positions {kind!r} choose no token of a prompt{usual}; widen them or lengthen it"


class _Enough(Exception):
    """Raised by the hook on the last layer wanted: the rest of the forward pass is not needed."""


def _batches(
    model: Model,
    prompts: Sequence[Prompt],
    reduce: Reduce,
    site: str,
    layers: Sequence[int] | None,
    choice: _Choice,
    chat: bool,
    batch_size: int,
    answers: Sequence[str] | None = None,
) -> Iterator[list[Any]]:
    """For each batch of prompts the reduced states of each layer, in the order of ``layers``, on the CPU."""
    if isinstance(layers, int):
        raise ZkitError(f"layers must be a list of layers, got {layers}; write layers=[{layers}]")
    wanted = list(range(model.n_layers)) if layers is None else [model.check_layer(layer) for layer in layers]
    if not wanted:
        raise ZkitError(f"no layers asked for; give some of 0 to {model.n_layers - 1}, or None for all")
    if answers is not None:
        check_answers(prompts, answers)
    for start in range(0, len(check_prompts(prompts)), check_batch_size(batch_size)):
        stop = start + batch_size
        if answers is None:
            batch = model.tokenize(prompts[start:stop], chat)
            width = batch["input_ids"].shape[1]
        else:
            batch, width = model.tokenize_answered(prompts[start:stop], answers[start:stop], chat)
        content = None
        if choice.content:
            content = batch["attention_mask"].bool()
            content[:, :width] = model.content_mask(prompts[start:stop], chat)
        found: dict[int, Any] = {}
        tracker = Tracker()
        with ExitStack() as stack:
            stack.callback(model.decoder.register_forward_pre_hook(tracker, with_kwargs=True).remove)
            for layer in set(wanted):
                keep = _keeper(found, layer, max(wanted), reduce, choice, content, tracker)
                stack.callback(_attach(model.site(site, layer), site, keep).remove)
            stack.enter_context(prompt_width(model.decoder, width))
            stack.enter_context(torch.no_grad())
            stack.enter_context(suppress(_Enough))
            model.decoder(**batch, use_cache=False)
        yield [found[layer] for layer in wanted]


def _keeper(
    found: dict[int, Any],
    layer: int,
    final: int,
    reduce: Reduce,
    choice: _Choice,
    content: Bool[Tensor, "batch seq"] | None,
    tracker: Tracker,
) -> Callable[[Tensor], None]:
    def keep(h: Float[Tensor, "batch seq width"]) -> None:
        chosen, real = tracker.select(choice.positions), tracker.select(_EVERY)
        assert isinstance(chosen, Tensor) and isinstance(real, Tensor)  # the prompt is never wholly past
        chosen = chosen.to(h.device)
        if content is not None:
            chosen = chosen & content.to(h.device)
        if not choice.massive:
            chosen = chosen & ~massive(h.float().norm(dim=-1), real.to(h.device))
        if not bool(chosen.any(1).all()):
            raise ZkitError(choice.nothing(layer))
        states = reduce(h, chosen)
        rows = states if isinstance(states, list) else [states]
        if not all(bool(torch.isfinite(row).all()) for row in rows):
            raise ZkitError(
                f"states at layer {layer} are not finite; load the model in float32 or bfloat16, "
                "and check the weights and any edit in force"
            )
        found[layer] = [row.cpu() for row in rows] if isinstance(states, list) else states.cpu()
        if layer == final:
            raise _Enough

    return keep


def _attach(module: nn.Module, site: str, keep: Callable[[Tensor], None]) -> Any:
    if site == "down_proj_in":
        return module.register_forward_pre_hook(lambda _, args: keep(args[0]))
    return module.register_forward_hook(lambda _, args, out: keep(out[0] if isinstance(out, tuple) else out))
