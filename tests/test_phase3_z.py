"""Z from attention weights: the published recipe, thin; its arms; what it refuses."""

import math

import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few

import zkit
from zkit.phase3 import attention, weights, z
from zkit.phase3.z import Attention
from zkit.subspaces import Subspace, random_subspace


def random_attention(heads, kv, width, d, seed=0, biases=False):
    made = torch.Generator().manual_seed(seed)
    q, k = torch.randn(heads, width, d, generator=made), torch.randn(kv, width, d, generator=made)
    q_bias, k_bias = (torch.randn(n, width, generator=made) if biases else None for n in (heads, kv))
    return Attention(q, k, q_bias, k_bias, 1 + 0.3 * torch.randn(d, generator=made))


def published(given, k, weighted=False, side="key"):
    """The published recipe with d x d kernels in float64; the basis and the gap behind its last direction."""
    share, rows = given.q.shape[0] // given.k.shape[0], []
    for h, q in enumerate(given.q.double()):
        left, sigma, right = torch.linalg.svd(q.T @ given.k[h // share].double())
        vectors = right[:k] if side == "key" else left.T[:k]
        rows.append(vectors * sigma[:k, None] if weighted else vectors)
    _, sigma, right = torch.linalg.svd(torch.cat(rows))
    next_one = sigma[k] if len(sigma) > k else 0.0
    return right[:k], float((sigma[k - 1] - next_one) / sigma[0])


@few
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.booleans(), st.sampled_from(["key", "query"]))
def test_the_thin_recipe_gives_the_published_projector(share, kv, k, weighted, side):
    mine = random_attention(share * kv, kv, 6, 40, seed=share + 10 * kv + 100 * k)
    wanted, gap = published(mine, k, weighted, side)
    found = z.z_space(mine, k, weighted=weighted, side=side).basis.double()
    assert torch.allclose(found @ found.T, torch.eye(k, dtype=torch.float64), atol=1e-5)
    if gap > 1e-3:
        assert torch.allclose(found.T @ found, wanted.T @ wanted, atol=1e-5 / gap)


def test_every_head_reads_with_the_key_head_that_it_shares():
    mine = random_attention(4, 2, 6, 40)
    alone = [Attention(mine.q[2 * i : 2 * i + 2], mine.k[i : i + 1]) for i in range(2)]
    for i, one in enumerate(alone):
        assert z.layer_similarity(z.z_space(mine, 3, kv_head=i), z.z_space(one, 3)) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(z.spectra(mine), torch.cat([z.spectra(one) for one in alone]), rtol=1e-4)


def test_all_of_z_lies_in_what_the_keys_read():
    mine = random_attention(6, 2, 4, 40)
    keys = Subspace(torch.linalg.qr(mine.k.flatten(0, 1).T)[0].T)
    assert z.stack_rank(mine, 4) == 8  # six heads of four directions, but two key heads
    assert torch.allclose(keys.project(z.z_space(mine, 4).basis), z.z_space(mine, 4).basis, atol=1e-5)


def test_arms_are_what_they_say():
    mine = random_attention(4, 2, 6, 40, biases=True)
    scaled = Attention(mine.q * mine.gamma, mine.k * mine.gamma)
    assert torch.equal(z.z_space(mine, 3, gamma=True).basis, z.z_space(scaled, 3).basis)
    none = Attention(mine.q, mine.k, torch.zeros(4, 6), torch.zeros(2, 6))
    assert z.layer_similarity(z.z_space(none, 3, bias=True), z.z_space(none, 3)) == pytest.approx(1, abs=1e-5)
    assert z.layer_similarity(z.z_space(mine, 3, bias=True), z.z_space(mine, 3)) < 0.999
    assert z.z_space(mine, 3, bias=True).d == 40


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gemma"])
def test_a_model_gives_its_own_weights(family):
    model = tiny.shared(family)
    found, own = attention(model, 2), model.hf.model.layers[2].self_attn
    assert torch.equal(found.q.flatten(0, 1), own.q_proj.weight.float())
    assert torch.equal(found.k.flatten(0, 1), own.k_proj.weight.float())
    assert (found.q_bias is not None) == (family == "qwen2")
    x = torch.randn(5, model.d_model)
    normed = x / x.square().mean(-1, keepdim=True).sqrt()
    assert torch.allclose(model.hf.model.layers[2].input_layernorm(x), normed * found.gamma, atol=1e-4)
    plain = zkit.phase3.z_mask(model.hf, layer=2, k=3)
    assert torch.equal(plain.basis, zkit.phase3.z_mask(model, 2, 3).basis)
    assert (plain.k, plain.d) == (3, model.d_model)


def test_what_is_refused():
    model = tiny.shared()
    mine = random_attention(2, 1, 4, 40)
    for call, says in {
        lambda: zkit.phase3.z_mask(model, 4, 2): "no layer 4",
        lambda: zkit.phase3.z_mask(model.hf, -1, 2): "no layer -1",
        lambda: zkit.phase3.z_mask(torch.nn.Linear(2, 2), 0, 2): "no decoder layers",
        lambda: z.z_space(mine, 5): "has rank 4; choose a smaller k",
        lambda: z.z_space(mine, 0): "k = 0",
        lambda: z.z_space(mine, 2, bias=True): "no biases",
        lambda: z.z_space(mine, 2, kv_head=1): "no key head 1",
        lambda: z.z_space(Attention(mine.q, mine.k), 2, gamma=True): "no norm",
        lambda: z.z_space(Attention(mine.q, torch.cat([mine.k[:, :2]] * 2, 1)), 3): "rank 2; choose a smaller k",
        lambda: z.phase_boundary([0.5]): "at least three layers",
    }.items():
        with pytest.raises(zkit.ZkitError, match=says):
            call()


def test_a_projection_fused_into_another_is_refused():
    model = tiny.model()
    own = model.hf.model.layers[0].self_attn
    own.q_proj = torch.nn.Identity()
    with pytest.raises(zkit.ZkitError, match=r"no self_attn\.q_proj"):
        attention(model, 0)


def test_effective_rank_counts_equal_values():
    assert float(z.effective_rank(torch.tensor([3.0, 3, 3, 0]))) == pytest.approx(3, abs=1e-5)
    assert float(z.effective_rank(torch.tensor([1.0, 0]))) == pytest.approx(1, abs=1e-5)
    null = z.gaussian_rank(400, 16, 5, torch.Generator().manual_seed(0))
    assert 14 < float(null.mean()) < 16


def test_similarity_and_avoidance_have_their_chance_levels():
    made = torch.Generator().manual_seed(0)
    one, other = random_subspace(8, 400, made), random_subspace(8, 400, made)
    assert z.layer_similarity(one, one) == pytest.approx(1)
    assert z.layer_similarity(one, other) < 0.06
    rows = torch.randn(2000, 400, generator=made)
    assert z.ffn_avoidance(rows, one) == pytest.approx(1, abs=0.1)
    assert z.ffn_avoidance(one.reject(rows), one) == pytest.approx(0, abs=1e-6)


def test_boundary_and_k_are_the_published_ones_on_the_published_figures():
    similarity = [0.2] * 31 + [0.24, 0.482, 0.03, 0.1]  # layers 32 and 33 alike, then the drop
    assert z.phase_boundary(similarity) == 33
    assert [z.k_by_rule(80.4, k, 128) for k in (20, 50)] == [20, 50]
    assert z.k_by_rule(25.0, 50, 32) == round(50 * 25 / 80.4)
    assert z.k_by_rule(1.0, 20, 32) == 1 and z.k_by_rule(1000.0, 50, 32) == 32


def test_gate_rows_are_those_of_the_layer():
    model = tiny.shared()
    assert torch.equal(weights.gate_rows(model, 1), model.hf.model.layers[1].mlp.gate_proj.weight)
    assert math.isfinite(z.ffn_avoidance(weights.gate_rows(model, 1), zkit.phase3.z_mask(model, 1, 3)))


def test_layers_and_k_are_chosen_from_the_weights_alone():
    """Layers 0 to 2 share one attention, layers 3 on have their own: the boundary is 2, the last of them."""
    model = tiny.model("qwen2", num_hidden_layers=6)
    for layer in (1, 2):
        for own, first in zip(model.layers[layer].parameters(), model.layers[0].parameters(), strict=True):
            own.data.copy_(first.data)
    found = weights.chosen(model)
    assert found.layers == (1, 2)
    assert found.similarity[0] == pytest.approx(1, abs=1e-4) and max(found.similarity[2:]) < 0.9
    rank = float(z.effective_rank(z.spectra(attention(model, 2))).mean())
    assert found.ks == (z.k_by_rule(rank, 20, 8), z.k_by_rule(rank, 50, 8))
    assert found.ranks.shape == (6, 4)


@few
@given(st.integers(1, 5), st.integers(6, 9), st.integers(0, 99))
def test_the_thin_svd_of_a_kernel_is_that_of_the_whole_matrix(d_head, d, seed):
    made = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, d_head, d, generator=made, dtype=torch.float64)
    left, sigma, right = z.kernel(q, k)
    assert torch.allclose(left @ torch.diag(sigma) @ right, q.T @ k, atol=1e-9)
    assert torch.allclose(left.T @ left, torch.eye(d_head, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(right @ right.T, torch.eye(d_head, dtype=torch.float64), atol=1e-9)
    assert torch.equal(sigma, sigma.sort(descending=True).values)
    assert torch.allclose(z.spectra(Attention(q[None], k[None]))[0], sigma, atol=1e-9)
