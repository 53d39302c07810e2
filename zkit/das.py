"""Distributed alignment search: learn the subspace whose swap gives the answer that a causal model predicts.

Geiger et al. 2023, "Finding Alignments Between Interpretable Causal Variables and Distributed Neural Representations".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from zkit.batching import check_lengths, tokens
from zkit.edits import edit
from zkit.errors import ZkitError
from zkit.patching import swap
from zkit.positions import prompt_width
from zkit.prefill import Reading, blank, padded, read
from zkit.progress import progress
from zkit.prompts import Prompt
from zkit.subspaces import Subspace

if TYPE_CHECKING:
    from zkit.models import Model

DRAW = 32
"""Problems in a step."""
RATE = 0.03
"""Adam's step, in root mean squares of the entries."""


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

    Minimises the mean cross-entropy (nats) of the tokens ``wanted``, one for each prompt, over orthonormal bases, by
    Adam on a free [k, d] matrix whose rows are made orthonormal (QR); ``DRAW`` problems a step. What comes before the
    last token is read once. ``start``: a subspace of k dimensions to begin with (None: a random one). The model is not
    changed. Raises ZkitError for lists of different lengths, a k that the model does not have, a start of another size,
    a prompt of one token, and a loss that is not finite.
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
    """Logits after the last tokens, whose states are swapped; gradients reach the basis of the space."""
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
