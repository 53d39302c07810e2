"""Record states: one forward pass gives every layer and stops after the last one asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zkit.batching import check_lengths, check_rows_free, tokens
from zkit.choice import Choice
from zkit.decoder import Decoder
from zkit.errors import ZkitError
from zkit.held import no_grad
from zkit.hooks import Hooks
from zkit.memory import Room, room
from zkit.packing import OVERHEAD, packed
from zkit.positions import Positions, Tracker, follow, parse, prompt_width
from zkit.progress import progress
from zkit.prompts import Prompt, check_answers, check_prompts
from zkit.sites import attach
from zkit.tokens import content_mask, massive

Reduce = Callable[[Float[Tensor, "batch seq width"], Bool[Tensor, "batch seq"]], Any]
Several = list[str] | tuple[str, ...]


@overload
def record(
    model: Decoder,
    prompts: Sequence[Prompt],
    pool: str = ...,
    *,
    site: str = ...,
    layers: Sequence[int] | None = ...,
    positions: str | Positions | None = ...,
    first_token: bool = ...,
    massive: bool = ...,
    answers: Sequence[str] | None = ...,
    chat: bool = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
) -> Float[Tensor, "n_prompts n_layers width"]: ...
@overload
def record(
    model: Decoder,
    prompts: Sequence[Prompt],
    pool: str = ...,
    *,
    site: Several,
    layers: Sequence[int] | None = ...,
    positions: str | Positions | None = ...,
    first_token: bool = ...,
    massive: bool = ...,
    answers: Sequence[str] | None = ...,
    chat: bool = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
) -> dict[str, Float[Tensor, "n_prompts n_layers width"]]: ...
def record(
    model: Decoder,
    prompts: Sequence[Prompt],
    pool: str = "mean",
    *,
    site: str | Several = "resid_post",
    layers: Sequence[int] | None = None,
    positions: str | Positions | None = None,
    first_token: bool = False,
    massive: bool = False,
    answers: Sequence[str] | None = None,
    chat: bool = True,
    batch_size: int | None = None,
    memory: int | None = None,
) -> Any:
    """States of the prompts at one site of every layer, pooled over ``positions``, in float32, with the edits in force.

    site: one site, or several such as ``("resid_pre", "mlp_out")``, which come from the same passes as a dict by site.
    layers: their numbers (None: all).
    pool: ``"mean"`` over the chosen tokens, or the ``"last"`` of them, massive or not.
    positions: the tokens to choose from. ``"content"``, the default of a mean: the tokens of the messages without those
    of the chat template (:func:`zkit.tokens.content_mask`), and the answers. ``"suffix"``: the tokens that the chat
    template puts after the last message. ``"all"``, the default of ``"last"``, which then takes the last token of the
    prompt, template included. Or others (:mod:`zkit.positions`).
    first_token, massive: whether a mean includes the first token, and at each layer the massive ones
    (:func:`zkit.tokens.massive`, at the site), if ``positions`` cover them. By default it does not: these states are
    the same in every prompt, and their share in a mean depends on the length of the prompt.
    answers: texts that follow the prompts, one each; their positions are ``"generated"``.
    chat: whether to use the chat template. batch_size, memory: see :func:`zkit.generation.complete`.

    Raises ZkitError for an empty list, an unknown site, layer or pool, a prompt in which no token is chosen, a template
    that changes or drops a message, an answer without a token, a prompt that with its answer needs more positions than
    the model has, and states that are not finite.
    """
    if pool not in POOLS:
        raise ZkitError(f"unknown pool {pool!r}; use 'mean', 'last', or zkit.token_states for every token")
    where = positions if positions is not None else "content" if pool == "mean" else "all"
    part = where if where in ("content", "suffix") else ""
    choice = Choice(parse("all" if part else where, first_token), str(part), massive or pool == "last")
    limits = room(model, batch_size, memory)
    found = _in_order(_batches(model, prompts, POOLS[pool], site, layers, choice, chat, limits, answers))
    pooled = {name: torch.stack([torch.stack(row) for row in rows]) for name, rows in found.items()}
    return pooled[site] if isinstance(site, str) else pooled


def mean_state(
    model: Decoder, prompts: Iterable[Prompt], pool: str = "mean", *, batch_size: int | None = None, **options: Any
) -> Float[Tensor, "n_layers width"]:
    """The mean over prompts of :func:`record`, computed as a running sum: memory does not grow with their number.

    prompts: any iterable; ``batch_size`` of them are in memory at a time (None: :data:`zkit.memory.ROWS`). pool and
    other options: see :func:`record`; ``answers`` and several sites are not supported.
    Raises ZkitError for no prompts, an unknown site, layer or pool, a prompt in which no token is chosen, and other
    input that :func:`record` refuses.
    """
    if options.get("answers") is not None or not isinstance(options.get("site", "resid_post"), str):
        raise ZkitError(
            "mean_state takes its prompts a batch at a time, without answers, at one site; use zkit.record(...).mean(0)"
        )
    held = room(model, batch_size).rows
    if isinstance(prompts, str):
        check_prompts(prompts)
    total, n, stream = torch.zeros((), dtype=torch.float64), 0, iter(prompts)
    while chunk := list(islice(stream, held)):
        total = total + record(model, chunk, pool, batch_size=batch_size, **options).double().sum(0)
        n += len(chunk)
    if n == 0:
        raise ZkitError("the list of prompts is empty; give at least one prompt")
    return (total / n).float()


@overload
def token_states(
    model: Decoder,
    prompts: Sequence[Prompt],
    *,
    site: str = ...,
    layers: Sequence[int] | None = ...,
    chat: bool = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
) -> list[Float[Tensor, "n_tokens n_layers width"]]: ...
@overload
def token_states(
    model: Decoder,
    prompts: Sequence[Prompt],
    *,
    site: Several,
    layers: Sequence[int] | None = ...,
    chat: bool = ...,
    batch_size: int | None = ...,
    memory: int | None = ...,
) -> dict[str, list[Float[Tensor, "n_tokens n_layers width"]]]: ...
def token_states(
    model: Decoder,
    prompts: Sequence[Prompt],
    *,
    site: str | Several = "resid_post",
    layers: Sequence[int] | None = None,
    chat: bool = True,
    batch_size: int | None = None,
    memory: int | None = None,
) -> Any:
    """The states of every real token of each prompt, the first included, in float32, with the edits in force.

    site, layers, chat, batch_size, memory: see :func:`record`. Raises ZkitError for no prompts, an unknown site or
    layer, a prompt without a token or with more tokens than the model has positions, and states that are not finite.
    """
    limits = room(model, batch_size, memory)
    every = Choice(_EVERY, massive=True)
    found = _in_order(_batches(model, prompts, _every_token, site, layers, every, chat, limits))
    states = {name: [torch.stack(row, dim=1) for row in rows] for name, rows in found.items()}
    return states[site] if isinstance(site, str) else states


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


class _Enough(Exception):
    """Raised by the hook on the last recorded layer, to stop the forward pass there."""


def _batches(
    model: Decoder,
    prompts: Sequence[Prompt],
    reduce: Reduce,
    site: str | Several,
    layers: Sequence[int] | None,
    choice: Choice,
    chat: bool,
    limits: Room,
    answers: Sequence[str] | None = None,
) -> Iterator[tuple[list[int], dict[str, list[Any]]]]:
    """For each batch the indices of its prompts and, by site, the reduced states of each layer, in the order of
    ``layers``, on the CPU. reduce: pools the states of the chosen tokens. choice: which tokens. limits: of a batch.
    The others: see :func:`record`."""
    if isinstance(layers, int):
        raise ZkitError(f"layers must be a list of layers, got {layers}; write layers=[{layers}]")
    wanted = list(range(model.n_layers)) if layers is None else [model.check_layer(layer) for layer in layers]
    sites = [site] if isinstance(site, str) else list(site)
    if not wanted or not sites:
        raise ZkitError(f"no layers asked for; give some of 0 to {model.n_layers - 1}, or None for all, and a site")
    places = [(name, layer) for name in sites for layer in sorted(set(wanted))]
    modules = {place: model.site(*place) for place in places}
    check_rows_free(model)
    if answers is not None:
        check_answers(prompts, answers)
    ids = tokens(model, prompts, chat)
    after = [0] * len(ids)
    if answers is not None:
        after = [len(model.tokenizer(answer, add_special_tokens=False).input_ids) for answer in answers]
    check_lengths(model, ids, after)
    lengths = [len(row) + more for row, more in zip(ids, after, strict=True)]
    groups = packed(lengths, OVERHEAD, limits.rows, [limits.weight(n, 0) for n in lengths], limits.memory)
    with progress(len(prompts), "prompt", "recording") as bar:
        for group in groups:
            asked = [prompts[i] for i in group]
            if answers is None:
                batch = model.tokenize(asked, chat)
                width = batch["input_ids"].shape[1]
            else:
                batch, width = model.tokenize_answered(asked, [answers[i] for i in group], chat)
            own = None
            if choice.part:
                own = choice.own(content_mask(model, asked, chat), batch["attention_mask"].bool())
            found: dict[tuple[str, int], Any] = {}
            with Hooks() as hooks, prompt_width(model.decoder, width), no_grad(), suppress(_Enough):
                tracker = follow(hooks, model.decoder)
                for place, module in modules.items():
                    keep = _keeper(found, place, len(modules), reduce, choice, own, tracker)
                    attach(hooks, module, place[0], keep)
                model.decoder(**batch, use_cache=False)
            bar.update(len(group))
            yield group, {name: [found[name, layer] for layer in wanted] for name in sites}


def _in_order(batches: Iterator[tuple[list[int], dict[str, list[Any]]]]) -> dict[str, list[list[Any]]]:
    """By site the rows of all batches in the order of the prompts; a row has its states at each layer."""
    rows: dict[str, dict[int, list[Any]]] = {}
    for group, found in batches:
        for name, layers in found.items():
            rows.setdefault(name, {}).update(zip(group, map(list, zip(*layers, strict=True)), strict=True))
    return {name: [mine[i] for i in range(len(mine))] for name, mine in rows.items()}


def _keeper(
    found: dict[tuple[str, int], Any],
    place: tuple[str, int],
    n_places: int,
    reduce: Reduce,
    choice: Choice,
    own: Bool[Tensor, "batch seq"] | None,
    tracker: Tracker,
) -> Callable[[Tensor], None]:
    """A function that reduces the states of one site and layer and puts the result into ``found``.

    place: site and layer. n_places: how many are recorded; the pass stops after the last. reduce, choice: see
    :func:`_batches`. own: the tokens that belong to the part of ``choice`` (None: all). tracker: of the pass.
    """

    def keep(h: Float[Tensor, "batch seq width"]) -> None:
        chosen, real = tracker.select(choice.positions), tracker.select(_EVERY)
        assert isinstance(chosen, Tensor) and isinstance(real, Tensor)  # one pass reads the whole prompt
        chosen = chosen.to(h.device)
        if own is not None:
            chosen = chosen & own.to(h.device)
        if not choice.massive:
            chosen = chosen & ~massive(h.float().norm(dim=-1), real.to(h.device))
        if not bool(chosen.any(1).all()):
            raise ZkitError(choice.nothing(place[1]))
        states = reduce(h, chosen)
        rows = states if isinstance(states, list) else [states]
        if not all(bool(torch.isfinite(row).all()) for row in rows):
            raise ZkitError(
                f"states at layer {place[1]} are not finite; load the model in float32 or bfloat16, "
                "and check the weights and any edit in force"
            )
        found[place] = [row.cpu() for row in rows] if isinstance(states, list) else states.cpu()
        if len(found) == n_places:
            raise _Enough

    return keep
