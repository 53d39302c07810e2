"""Which coordinates count: those of planted problems survive, and sets of coordinates have the energy they should."""

import pytest
import torch

import zkit
from zkit.phase3.ard import shared
from zkit.phase3.kernels import Blocks, median_distance, nearer_than
from zkit.phase3.planted import planted
from zkit.phase3.selection import energy, energy_null, energy_p, refits, reordered, survivors
from zkit.subspaces import coordinate_subspace, random_subspace

SMALL = {"n": 12, "tokens": 12, "d": 24, "q": 12}


def test_coordinates_that_hold_the_problem_survive_and_those_of_the_language_do_not():
    made = planted(**SMALL, content=1.5, shift=1.0)
    found = survivors(shared(made.zh, made.en), refits(made.zh, made.en))
    assert int((found & ~made.tells).sum()) >= 9
    assert not (found & made.tells).any()


def test_shuffled_fits_are_fits_of_shuffled_pairs():
    made = planted(**SMALL, content=1.0)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(5))
    by_hand = shared(made.zh, reordered(made.en, order), steps=20)
    assert torch.equal(refits(made.zh, made.en, 1, seed=5, steps=20)[0], by_hand)


def test_where_pairs_mean_nothing_few_runs_have_a_survivor():
    """One in ten, with nine shuffled fits; the benchmarks count on more runs."""
    found = 0
    for seed in range(30):
        made = planted(6, 6, 8, 4, correlation=0.8, shift=0.5, seed=seed)
        observed = refits(made.zh, made.en, 1, 1000 + seed, steps=10)[0]
        found += bool(survivors(observed, refits(made.zh, made.en, 9, seed, steps=10)).any())
    assert found <= 9  # 99.9% of Binomial(30, 0.1)


def test_survival_compares_with_the_largest_of_all_shuffled_coordinates():
    null = torch.tensor([[0.2, 0.8], [0.3, 0.7], [0.25, 0.75]])
    assert survivors(torch.tensor([0.9, 0.1]), null).tolist() == [True, False]
    assert survivors(torch.tensor([0.26, 0.74]), null).tolist() == [False, False]


def test_coordinates_have_all_none_or_an_even_part_of_their_energy_in_a_space():
    space = coordinate_subspace([1, 4], 8)
    assert energy([1, 4], space) == pytest.approx(4)
    assert energy([0, 2, 3], space) == 0
    assert energy(range(8), random_subspace(3, 8, torch.Generator().manual_seed(0))) == pytest.approx(1, abs=1e-5)
    assert sum(energy_null(2, space)) / 999 == pytest.approx(1, abs=0.1)
    assert energy_p([1, 4], space) < 0.1 < 0.9 < energy_p([0, 2], space)


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
        (lambda: survivors(torch.ones(3), torch.ones(2, 4)), r"\[draws, d\]"),
        (lambda: survivors(torch.ones(3), torch.ones(1, 3)), r"\[draws, d\]"),
        (lambda: energy([], coordinate_subspace([1], 4)), "at least one"),
        (lambda: energy([4], coordinate_subspace([1], 4)), "0 to 3"),
        (lambda: nearer_than(torch.zeros(1, 1)), "at least two"),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(zkit.ZkitError, match=words):
        call()
