"""Interchange: move a part of one problem's state into another problem, and read which problem's answer follows.

Interchange interventions: Geiger et al. 2021, "Causal Abstractions of Neural Networks"; distributed alignment search:
Geiger et al. 2023, "Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations".
The interchange itself is an edit (:func:`zkit.edits.patch`); this module reads the model's next token under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zkit.batching import Arms, check_lengths, tokens
from zkit.edits import Edit, edit, patch
from zkit.errors import ZkitError
from zkit.generation import next_log_probs
from zkit.memory import room
from zkit.positions import last, prompt_width
from zkit.prefill import Reading, blank, padded, read
from zkit.progress import progress
from zkit.prompts import Prompt, check_prompts
from zkit.scoring import scored
from zkit.stats import Interval, wilson
from zkit.subspaces import Projector, Subspace

if TYPE_CHECKING:
    from zkit.models import Model

LAST = last(1)


@dataclass(frozen=True, eq=False)
class Next:
    """The next token of a model, by arm and prompt.

    said: the most likely token. log_probs: log-probability (nats) of each class, its tokens' probabilities summed.
    """

    said: Int[Tensor, "n_arms n_prompts"]
    log_probs: Float[Tensor, "n_arms n_prompts n_classes"]


def next_token(
    model: Model,
    prompts: Sequence[Prompt],
    arms: Arms,
    classes: Sequence[Sequence[int]] = (),
    *,
    chat: bool = True,
    batch_size: int | None = None,
    memory: int | None = None,
) -> Next:
    """The next token of every prompt under every arm, and how likely each class of tokens is.

    classes: lists of token ids, such as the one token of an answer, or all tokens of a script; distributions are over
    the whole vocabulary. arms, chat, batch_size, memory: see :func:`zkit.generation.complete`.
    A patch of the last token costs one token per arm. Raises ZkitError for no prompts, arms that cannot be applied, an
    empty class, and a token that the model lacks.
    """
    vocabulary = model.hf.get_input_embeddings().weight.shape[0]
    for group in classes:
        if not group or not all(0 <= token < vocabulary for token in group):
            raise ZkitError(f"a class of tokens is a list of ids from 0 to {vocabulary - 1}, got {list(group)[:5]}")
    wanted = [torch.tensor(list(group), device=model.device) for group in classes]

    def told(logits: Tensor, _: Tensor) -> Tensor:
        wide = logits.float()
        total, said = wide.logsumexp(-1), wide.argmax(-1).float()  # exact below 2^24
        shares = [wide[:, group.to(wide.device)].logsumexp(-1) - total for group in wanted]
        return torch.stack([said, *shares], -1)[0]

    given = check_prompts(prompts)
    tails: list[list[int]] = [[] for _ in given]
    limits = room(model, batch_size, memory)
    rows = scored(model, prompts, tails, [[0]] * len(given), arms, told, chat, limits, True, 1 + len(wanted))
    found = torch.stack([torch.stack(row) for row in rows])
    return Next(found[..., 0].long(), found[..., 1:])


def one_token(model: Model, answers: Sequence[str]) -> list[int]:
    """The token id of each answer. Raises ZkitError, naming the answer, for one that is not a single token."""
    found = model.tokenizer(list(answers), add_special_tokens=False)["input_ids"]
    for answer, ids in zip(answers, found, strict=True):
        if len(ids) != 1:
            raise ZkitError(
                f"the answer {answer!r} is {len(ids)} tokens for {model.id!r}, and interchange of the next token needs "
                "one; leave its problems out, or generate and read the text"
            )
    return [ids[0] for ids in found]


def is_one_token(model: Model, answers: Sequence[str]) -> bool:
    """Whether each of the answers is a single token for this tokenizer."""
    return all(len(ids) == 1 for ids in model.tokenizer(list(answers), add_special_tokens=False)["input_ids"])


def swap(
    layer: int, source: Float[Tensor, "n_prompts d"], space: Projector | None = None, like: Projector | None = None
) -> Edit:
    """h <- h + P (source - h) at the last token of the prompt, after ``layer``; without ``space`` P is the identity.

    With ``like``, the change is scaled to the norm of that of a swap inside ``like`` (:func:`zkit.edits.patch`).
    """
    return patch("resid_post", layer, source, space, LAST, like=like)


def accuracy(said: Int[Tensor, " n"], expected: Sequence[int] | Int[Tensor, " n"]) -> Interval:
    """Share of prompts whose next token is the expected one, with Wilson's 95% interval.

    It is the interchange accuracy if the expected tokens are the answers of a causal model after the swap.
    """
    hits = said == torch.as_tensor(expected)
    return wilson(int(hits.sum()), len(hits))


def check_identity(
    model: Model, prompts: Sequence[Prompt], layer: int, space: Projector | None = None, *, chat: bool = True
) -> int:
    """Patch the last token of each prompt with its own state; raise ZkitError if any log-probability changes at all.

    layer, space: where the state is patched (:func:`swap`). chat: whether to use the chat template. The states are
    taken from a pass of the same shape, row by row. Returns the number of prompts. Raises ZkitError for no prompts.
    """
    for prompt in check_prompts(prompts):
        seen: list[Tensor] = []

        def keep(h: Tensor, seen: list[Tensor] = seen) -> Tensor:
            seen.append(h[:, -1].clone())
            return h

        looked = [Edit("resid_post", layer, keep, LAST, sound=True)]
        next_log_probs(model, [prompt], None, [[], looked], chat=chat)
        plain, patched = next_log_probs(model, [prompt], None, [[], [swap(layer, seen[-1], space)]], chat=chat)
        if not torch.equal(plain[0], patched[0]):
            raise ZkitError(
                f"a patch of layer {layer} with the prompt's own state changed the next token's log-probabilities by "
                f"{float((plain[0] - patched[0]).abs().max()):.2g}; {model.id!r} does not run the same pass twice alike"
            )
    return len(prompts)


DRAW = 32
"""Number of problems in a step."""
RATE = 0.03
"""Learning rate of Adam, as a share of the root mean square of the matrix's entries."""


def das(
    model: Model,
    prompts: Sequence[Prompt],
    source: Float[Tensor, "n_prompts d"],
    wanted: Sequence[int],
    layer: int,
    k: int,
    *,
    chat: bool = True,
    steps: int = 100,
    start: Subspace | None = None,
    seed: int = 0,
) -> Subspace:
    """The k directions at the last token, after ``layer``, whose swap to ``source`` makes the model say ``wanted``.

    prompts, source, wanted: for each problem its prompt, the state to swap in, and the token that should follow.
    chat: whether to use the chat template. steps: of the optimiser. seed: of the draws of problems and of the start.
    start: a subspace of k dimensions to begin with (None: a random one).
    Minimises the mean cross-entropy (nats) of ``wanted`` over orthonormal bases, by Adam on a free [d, k] matrix whose
    columns are made orthonormal (QR), with ``DRAW`` problems a step. The tokens before the last are read once. The
    model is not changed. Raises ZkitError for lists of different lengths, a k outside 1..d, a start of another size, a
    prompt of one token, and a loss that is not finite.
    """
    ids, n = tokens(model, prompts, chat), len(prompts)
    check_lengths(model, ids, [0] * n)
    if not (n == len(source) == len(wanted)):
        raise ZkitError(f"{n} prompts, {len(source)} sources, {len(wanted)} wanted tokens; give one of each")
    if not 1 <= k <= model.d_model:
        raise ZkitError(f"no {k} directions in {model.d_model} dimensions; choose 1 <= k <= {model.d_model}")
    if start is not None and (start.k, start.d) != (k, model.d_model):
        raise ZkitError(f"a start of {start.k} x {start.d} for {k} x {model.d_model} directions; give one of that size")
    if min(map(len, ids)) < 2:
        raise ZkitError("a prompt of one token has nothing before its last one; lengthen it")
    generator = torch.Generator().manual_seed(seed)
    free = torch.randn(model.d_model, k, generator=generator) if start is None else start.basis.T.float()
    free = free.clone().to(model.device).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=RATE * float(free.detach().square().mean().sqrt()))
    once = {tuple(row): i for i, row in enumerate(dict.fromkeys(map(tuple, ids)))}
    place = [once[tuple(row)] for row in ids]
    lengths = torch.tensor([[len(row)] for row in once], device=model.device)
    with prompt_width(model.decoder, max(map(len, ids)), lengths):
        before, _ = read(model, blank(model, len(once)), padded(model, [list(r[:-1]) for r in once], left=True), None)
    ends, goal = torch.tensor([[row[-1]] for row in ids]), torch.tensor(list(wanted))
    with progress(steps, "step", "learning a rotation") as bar:
        for _ in range(steps):
            rows = torch.randperm(n, generator=generator)[:DRAW]
            basis = torch.linalg.qr(free)[0].T
            asked = before.picked([place[row] for row in rows.tolist()])
            logits = _after(model, asked, ends[rows], source[rows], layer, Subspace(basis))
            loss = torch.nn.functional.cross_entropy(logits.float(), goal[rows].to(logits.device))
            if not bool(loss.isfinite()):
                raise ZkitError(f"the loss of the learned subspace is {float(loss)}; load the model in float32")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update(1)
    return Subspace(torch.linalg.qr(free.detach())[0].T.contiguous().cpu())


def _after(
    model: Model,
    before: Reading,
    ends: Tensor,
    source: Float[Tensor, "rows d"],
    layer: int,
    space: Subspace,
) -> Float[Tensor, "rows vocab"]:
    """Logits after the last tokens, with their states swapped; gradients reach the basis of ``space``.

    before: the cached reading of all tokens but the last. ends [rows, 1]: the last tokens. source, layer: of the swap.
    """
    mask = torch.cat((before.mask, torch.ones_like(ends).to(before.mask)), 1)
    places = (mask.cumsum(1) - 1)[:, -1:]
    columns = mask.shape[1]
    with edit(model, [swap(layer, source, space)]), prompt_width(model.decoder, columns, mask.sum(1, keepdim=True)):
        return model.hf(
            input_ids=ends.to(model.device),
            attention_mask=mask,
            position_ids=places,
            past_key_values=before.cache,
            use_cache=True,
        ).logits[:, -1]
