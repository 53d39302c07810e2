"""Which coordinates count: those of planted problems survive, and sets of coordinates have the energy they should."""

import pytest
import torch
from scipy.stats import binom

import zkit
from zkbook.experiments.planted import planted
from zkbook.experiments.selection import agreement, disagreement, energy, energy_null, refits, reordered, survivors
from zkit.phase3.ard import shared
from zkit.phase3.kernels import Blocks, Clouds, across, median_distance, nearer_than, scaled
from zkit.stats import permutation_p
from zkit.subspaces import coordinate_subspace, random_subspace

SMALL = {"n": 12, "tokens": 12, "d": 24, "q": 12}


def energy_p(coordinates, space, **options):
    return permutation_p(energy(coordinates, space), energy_null(coordinates, space, **options))


def agreeing(made, **options):
    return survivors(disagreement(made.zh, made.en, torch.full((24,), median_distance(made.zh.tokens()))), **options)


def test_coordinates_that_hold_the_problem_survive_and_those_of_the_language_do_not():
    found = agreeing(made := planted(**SMALL, content=1.5, shift=1.0))
    assert int((found & ~made.tells).sum()) >= 9
    assert not (found & made.tells).any()


def test_disagreement_is_the_derivative_of_the_kernel():
    made = planted(3, 5, 4, 2, content=1.0, seed=2)
    zh, en = (Clouds(c.states[:, : 4 - i].double(), c.real[:, : 4 - i]) for i, c in enumerate((made.zh, made.en)))
    log_w = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    found = disagreement(zh, en, torch.full((4,), 2.0))
    for i in range(3):
        for j in range(3):
            one, other = reordered(zh, [i]), reordered(en, [j])
            [slope] = torch.autograd.grad(across(*scaled(one, other, 2.0 * (-0.5 * log_w).exp())).sum(), log_w)
            assert torch.allclose(found[i, j], -2 * slope, atol=1e-12)


def test_shuffled_fits_are_fits_of_shuffled_pairs():
    made = planted(**SMALL, content=1.0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    by_hand = shared(made.zh, reordered(made.en, order), most=20)
    assert torch.equal(refits(made.zh, made.en, 1, seed=5, most=20)[0], by_hand)


def test_where_pairs_mean_nothing_one_run_in_twenty_has_a_survivor():
    """Tokens of a prompt are alike and the languages differ; none of it is a shared problem."""
    n = 200
    found = sum(
        bool(agreeing(planted(8, 6, 24, 8, correlation=0.8, shift=0.5, seed=seed), draws=99, seed=seed).any())
        for seed in range(n)
    )
    low, high = binom.interval(0.999, n, 0.05)
    assert max(low, 1) <= found <= high


def test_what_problems_have_in_common_besides_the_meaning_is_no_survivor_within_it():
    """Prompts of one wording are alike in both languages; nothing else is shared."""
    made = torch.Generator().manual_seed(0)
    wordings = [i % 4 for i in range(24)]
    about = torch.randn(4, 24, generator=made)[wordings]
    zh, en = (Clouds.of([torch.randn(6, 24, generator=made) + 2 * mean for mean in about]) for _ in ("zh", "en"))
    apart = disagreement(zh, en, torch.full((24,), median_distance(zh.tokens())))
    assert survivors(apart).sum() > 12
    assert survivors(apart, within=wordings).sum() <= 1


def test_agreement_is_a_size_and_does_not_grow_with_the_number_of_problems():
    found = {}
    for n in (12, 36):
        made = planted(n, 12, 24, 8, content=1.0, shared=8, shift=1.0, seed=n)
        apart = disagreement(made.zh, made.en, torch.full((24,), median_distance(made.zh.tokens())))
        found[n] = agreement(apart)
        assert found[n][made.holds].mean() > 0.3
        assert found[n][~made.holds].abs().max() < 0.2
        by_hand = 1 - apart[torch.arange(n), torch.arange(n)].mean(0) / apart[~torch.eye(n, dtype=torch.bool)].mean(0)
        assert torch.allclose(found[n], by_hand, atol=1e-5)
        twice = torch.zeros(n)
        twice[: n // 2] = 2
        half = agreement(apart[: n // 2, : n // 2])
        assert torch.allclose(agreement(apart, twice), half, atol=1e-5)
    assert found[36][:8].abs().max() < found[12][:8].abs().max() + 0.1
    assert float(found[36][8:16].mean() - found[12][8:16].mean()) == pytest.approx(0, abs=0.1)


def test_survival_compares_with_the_largest_of_all_coordinates():
    made = torch.Generator().manual_seed(0)
    apart = torch.rand(6, 6, 30, generator=made)
    own = torch.eye(6, dtype=torch.bool)
    apart[..., 0] = torch.where(own, 0.0, 1.0)  # the pairs agree as no other pairing can
    apart[..., 1] = 7.0
    found = survivors(apart)
    assert bool(found[0]) and not found[1]
    assert not survivors(apart[:, :, 1:]).any()


def test_coordinates_have_all_none_or_an_even_part_of_their_energy_in_a_space():
    space = coordinate_subspace([1, 4], 8)
    assert energy([1, 4], space) == pytest.approx(4)
    assert energy([0, 2, 3], space) == 0
    assert energy(range(8), random_subspace(3, 8, torch.Generator().manual_seed(0))) == pytest.approx(1, abs=1e-5)
    assert sum(energy_null([1, 4], space)) / 999 == pytest.approx(1, abs=0.1)
    assert energy_p([1, 4], space) < 0.1 < 0.9 < energy_p([0, 2], space)


def test_an_overlap_that_is_one_of_size_is_none_beside_coordinates_of_that_size():
    space = coordinate_subspace(range(16), 64)  # those of the sixteen largest coordinates
    size = torch.arange(64, 0, -1.0)
    large = [1, 5, 9, 14]
    assert energy_p(large, space) < 0.01
    assert energy_p(large, space, size=size) == 1
    within = coordinate_subspace(large, 64)
    assert energy_p(large, within, size=size) < 0.01
    assert energy_null([40, 41], within, draws=20, size=size) == [0.0] * 20


def test_a_translation_is_nearer_than_other_problems_where_it_should_be():
    made = planted(**SMALL, content=2.0)
    between = Blocks.of(made.zh, made.en, median_distance(made.zh.tokens())).between()
    assert nearer_than(between).mean() > 0.9
    assert nearer_than(torch.zeros(4, 4)).tolist() == [0.5] * 4
    by_hand = torch.tensor([[1.0, 2.0, 0.0], [5.0, 0.0, 9.0], [9.0, 8.0, 7.0]])
    assert nearer_than(by_hand).tolist() == [0.75, 1.0, 0.75]


def test_what_is_planted_is_as_asked():
    made = planted(40, 200, 8, 3, shift=2.0, spread=1.5, content=1.0, correlation=0.9, seed=1)
    zh, en = made.zh.states, made.en.states
    assert made.tells.tolist() == [True] * 3 + [False] * 5
    assert torch.allclose(zh.mean((0, 1))[:3] - en.mean((0, 1))[:3], torch.full((3,), 2.0), atol=0.4)
    assert torch.allclose(zh[..., :3].std((0, 1)), torch.full((3,), 1.5), atol=0.2)
    inside = en[..., :3]
    assert float((inside[:, 1:] * inside[:, :-1]).mean() / inside.square().mean()) == pytest.approx(0.9, abs=0.03)
    about = zh[..., 3:].mean(1) - en[..., 3:].mean(1)
    assert about.std() < zh[..., 3:].mean(1).std()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: planted(q=64), "0 < q < d"),
        (lambda: planted(correlation=1.0), "correlation"),
        (lambda: survivors(torch.ones(3, 4, 2)), r"\[N, N, d\]"),
        (lambda: survivors(torch.ones(2, 2, 3)), "three problems"),
        (lambda: survivors(torch.ones(4, 4, 3), within=["a", "b"]), "2 names for 4 problems"),
        (lambda: agreement(torch.ones(1, 1, 3)), "at least two"),
        (lambda: planted(shared=60), "shared <= d - q"),
        (lambda: energy([], coordinate_subspace([1], 4)), "at least one"),
        (lambda: energy([4], coordinate_subspace([1], 4)), "0 to 3"),
        (lambda: nearer_than(torch.zeros(1, 1)), "at least two"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call()
