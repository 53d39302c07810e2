"""Residual updates: their parts, their share in a subspace against chance, and no discoveries where nothing is."""

import pytest
import torch

import zkit
from zkbook.experiments.updates import (
    Sizes,
    asymmetry,
    band,
    best_ratio,
    chance,
    discoveries,
    parts,
    sizes,
    updates,
    usual_tokens,
)  # fmt: skip
from zkit.subspaces import Subspace, random_subspace

D, K, LAYERS = 64, 6, 7


def rng(seed):
    return torch.Generator().manual_seed(seed)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def noise(n=30, seed=0):
    """Updates of n prompts of several lengths in which nothing is planted, [n_tokens, n_transitions, d]."""
    return [gaussian(4 + i % 3, LAYERS - 1, D, seed=1000 * seed + i) for i in range(n)]


def draws(n=199, k=K, seed=7):
    source = rng(seed)
    return [random_subspace(k, D, source) for _ in range(n)]


@pytest.mark.parametrize("prompts", [["What is 3 + 4?", "Why are there tides?"]])
def test_attention_and_mlp_sum_to_the_update(prompts):
    states = zkit.token_states(zkit.load("embedded"), prompts, site=["resid_post", "attn_out", "mlp_out", "resid_pre"])
    for i in range(len(prompts)):
        found = parts({site: rows[i] for site, rows in states.items()})
        assert torch.allclose(found["attn"] + found["mlp"], found["both"], atol=1e-4)
        assert torch.equal(found["both"], updates(states["resid_post"][i]))
        assert torch.equal(states["resid_post"][i][:, 0], states["resid_pre"][i][:, 1])  # transition l is layer l + 1's


def test_parts_that_are_changed_before_they_are_added():
    states = {site: gaussian(5, LAYERS, D, seed=i) for i, site in enumerate(("resid_post", "attn_out", "mlp_out"))}
    with pytest.raises(zkit.ZkitError, match="before it adds them"):
        parts(states)


def test_the_literal_ratio_by_loops():
    """Mean over tokens, then norms, then means over prompts, then their ratio; and token by token."""
    found, spaces = noise(5), draws(3)
    pooled, token_level = (sizes(found, spaces, pool=pool).ratio for pool in ("mean", "tokens"))
    for space, got, each in zip(spaces, pooled, token_level, strict=True):
        p = space.basis.T @ space.basis
        for l in range(LAYERS - 1):
            means = [x[:, l].mean(0) for x in found]
            want = sum((p @ v).norm() for v in means) / sum((v - p @ v).norm() for v in means)
            assert torch.isclose(got[l], want, rtol=1e-4)
            inside = sum((x[:, l] @ p).norm(dim=1).mean() for x in found)
            outside = sum((x[:, l] - x[:, l] @ p).norm(dim=1).mean() for x in found)
            assert torch.isclose(each[l], inside / outside, rtol=1e-4)


def test_in_random_subspaces_the_ratio_is_chance():
    for pool in ("mean", "tokens"):
        for k in (K, 24):
            mean = float(sizes(noise(5), draws(400, k), pool=pool).ratio.mean())
            assert abs(mean / chance(k, D) - (1 - 1 / (4 * k))) < 0.02


@pytest.mark.parametrize("pool", ["mean", "tokens"])
def test_what_is_planted_at_one_transition_is_found_there_alone(pool):
    z, found = draws(1, seed=99)[0], noise()
    for x in found:
        x[:, 3] = z.project(x[:, 3]) * 4 + x[:, 3]
    seen = band(sizes(found, [z], pool=pool)[0].ratio, sizes(found, draws(999), pool=pool).ratio)
    assert [l for l in range(LAYERS - 1) if seen.q[l] < 0.05] == [3]
    assert seen.percentile[3] == 100 and seen.n == 999


def test_what_is_kept_out_of_z_is_below_the_band():
    z, found = draws(1, seed=99)[0], noise()
    for x in found:
        x[:, 2] = z.reject(x[:, 2])
    seen = band(sizes(found, [z])[0].ratio, sizes(found, draws(999)).ratio)
    assert [l for l in range(LAYERS - 1) if seen.q[l] < 0.05] == [2]
    assert seen.percentile[2] == 0


def test_a_subspace_beyond_all_draws_counts_itself_among_them():
    drawn = torch.rand(199, 2, generator=rng(0)) + 1
    seen = band(torch.tensor([0.5, 2.5]), drawn)
    assert seen.p.tolist() == pytest.approx([0.01, 0.01]) and seen.percentile.tolist() == [0, 100]
    assert band(drawn[0], drawn).percentile[0] == pytest.approx(
        100 * (drawn[:, 0] < drawn[0, 0]).sum() / 199 + 50 / 199
    )


def test_nothing_planted_is_found_at_the_nominal_rate():
    """The p of a random subspace among random ones is uniform, at each transition."""
    found = noise(6)
    null, tried = sizes(found, draws(999)).ratio, sizes(found, draws(400, seed=3)).ratio
    p = torch.stack([band(one, null).p for one in tried])
    assert abs(float((p < 0.05).float().mean()) - 0.05) < 0.02
    assert abs(float((p < 0.5).float().mean()) - 0.5) < 0.06
    any_found = torch.stack([discoveries(row) < 0.05 for row in p]).any(1)
    assert float(any_found.float().mean()) < 0.08


def test_massive_tokens_do_not_count_where_they_are_left_out():
    states = [gaussian(9, LAYERS, D, seed=i) for i in range(4)]
    assert not bool(usual_tokens(states[0])[0].any()) and bool(usual_tokens(states[0], first_token=True).all())
    usual = sizes([updates(s) for s in states], draws(2), [usual_tokens(s) for s in states], "tokens")
    for s in states:
        s[0] *= 50
        s[4, 2:5] *= 50  # massive after layers 2 to 4: transitions 1 to 4
    kept = [usual_tokens(s) for s in states]
    assert kept[0].sum(0).tolist() == [8, 7, 7, 7, 7, 8]
    assert usual_tokens(states[0], first_token=True).sum(0).tolist() == [8, 7, 7, 7, 7, 8]  # massive all the same
    without = sizes([updates(s) for s in states], draws(2), kept, "tokens")
    assert torch.allclose(without.ratio, usual.ratio, rtol=0.15)
    loud = sizes([updates(s) for s in states], draws(2), pool="tokens")
    assert float(loud.outside.min()) > 5 * float(without.outside.max())


def test_equal_languages_are_symmetric():
    one = sizes(noise(12), draws(1))[0]
    seen = asymmetry(one, one)
    assert all((d.value, d.low, d.high) == (0, 0, 0) for d in seen.difference)
    assert bool((seen.p == 1).all()) and bool((seen.q == 1).all())


def test_an_asymmetry_is_found_where_it_is_and_has_its_sign():
    z, zh, en = draws(1)[0], noise(20, 1), noise(20, 2)
    for x in zh:
        x[:, 1] += 3 * z.project(x[:, 1])
    seen = asymmetry(sizes(zh, [z])[0], sizes(en, [z])[0])
    assert [l for l in range(LAYERS - 1) if seen.q[l] < 0.05] == [1]
    assert seen.difference[1].low > 0 and seen.difference[1].n == 20


def test_without_an_asymmetry_p_is_uniform():
    p = []
    for seed in range(60):
        z, zh, en = draws(1, seed=seed)[0], noise(9, 2 * seed), noise(9, 2 * seed + 1)
        seen = asymmetry(sizes(zh, [z])[0], sizes(en, [z])[0], draws=499)
        p += seen.p.tolist()
    assert abs(sum(x < 0.05 for x in p) / len(p) - 0.05) < 0.035
    assert abs(sum(x < 0.5 for x in p) / len(p) - 0.5) < 0.08


def test_both_languages_are_counted_problem_by_problem():
    zh, en = (sizes(noise(12, seed), draws(2)) for seed in (1, 2))
    pooled = Sizes(torch.cat((zh.inside, en.inside), 1), torch.cat((zh.outside, en.outside), 1))
    assert torch.allclose((zh + en).ratio, pooled.ratio)
    for interval, ratio in zip((zh + en)[0].intervals(), (zh + en).ratio[0], strict=True):
        assert interval.low < float(ratio) < interval.high and interval.n == 12


def test_the_best_subspace_finds_what_is_planted_and_little_in_noise():
    z, found = draws(1)[0], noise(60)
    for x in found:
        x[:, 4] += 9 * z.project(x[:, 4])
    full = [torch.ones(x.shape[:2], dtype=torch.bool) for x in found]
    best, own = best_ratio(found, full, K), sizes(found, [z], pool="tokens")[0].ratio
    assert float(best[4] / own[4]) > 0.95
    rest = [l for l in range(LAYERS - 1) if l != 4]
    assert float((best[rest] / chance(K, D)).max()) < 1.25  # the half that it is held to has no part in the fit
    with pytest.raises(zkit.ZkitError, match="at least two"):
        best_ratio(found[:1], full[:1], K)
    with pytest.raises(zkit.ZkitError, match="do not span k = 50"):
        best_ratio(found[:3], full[:3], 50)


def test_bad_input():
    found, space = noise(3), Subspace(torch.eye(D)[:K])
    none = torch.ones(found[1].shape[:2], dtype=torch.bool)
    none[:, 4] = False
    full = [torch.ones(x.shape[:2], dtype=torch.bool) for x in found]
    for given, says in (
        ((found, [space], None, "median"), "unknown pool"),
        ((found, [space, Subspace(torch.eye(D)[:2])]), "one k"),
        ((found, [space], full[:2]), "3 prompts and 2 choices"),
        ((found, [space], [full[0], none, full[2]]), "prompt 1 keeps no token at transition 4"),
    ):
        with pytest.raises(zkit.ZkitError, match=says):
            sizes(*given)
    with pytest.raises(zkit.ZkitError, match="at least two problems"):
        asymmetry(sizes(found, [space])[0], sizes(found[:2], [space])[0])
    with pytest.raises(zkit.ZkitError, match="at least 99"):
        band(torch.ones(3), torch.ones(5, 3))
    with pytest.raises(zkit.ZkitError, match="nothing inside or nothing outside"):
        chance(D, D)
