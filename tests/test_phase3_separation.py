"""Phase 2: distance ratio and language energy against plain loops, chance and planted structure; fitted subspaces."""

import pytest
import torch

import zkit
from zkbook.experiments.separation import distance_ratio, distances, language_energy, ratio, resampled
from zkit.phase3 import fits
from zkit.subspaces import coordinate_subspace, random_subspace


def planted(n=60, d=40, seed=0, language=3.0):
    """Problems along axes 0 to 4, language along axis 5, noise everywhere."""
    made = torch.Generator().manual_seed(seed)
    problem = torch.zeros(n, d)
    problem[:, :5] = 2 * torch.randn(n, 5, generator=made)
    zh, en = (problem + 0.1 * torch.randn(n, d, generator=made) for _ in range(2))
    zh[:, 5] += language
    return zh, en


def test_the_ratio_is_that_of_two_loops():
    zh, en = planted(n=7)
    space = random_subspace(6, 40, torch.Generator().manual_seed(1))
    within = [float((space.project(a) - space.project(b)).norm()) for a, b in zip(zh, en, strict=True)]
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    between = [float((space.project(zh[i]) - space.project(en[j])).norm()) for i, j in pairs]
    expected = (sum(within) / 7) / (sum(between) / 42)
    assert distance_ratio(zh, en, space) == pytest.approx(expected, rel=1e-4)
    rest = space.complement()
    beside = distance_ratio(rest.project(zh), rest.project(en))
    assert distance_ratio(zh, en, rest) == pytest.approx(beside, rel=1e-4)


def test_problems_drawn_again_give_the_ratios_of_the_drawn_states():
    zh, en = planted(n=9)
    found = resampled(distances(zh, en), draws=40, seed=3)
    rows = torch.randint(9, (40, 9), generator=torch.Generator().manual_seed(3))
    for value, drawn in zip(found.tolist(), rows.tolist(), strict=True):
        within = [float((zh[i] - en[i]).norm()) for i in drawn]
        between = [float((zh[i] - en[j]).norm()) for i in drawn for j in drawn if i != j]
        assert value == pytest.approx((sum(within) / 9) / (sum(between) / len(between)), rel=1e-5)
    assert float(found.min()) < ratio(distances(zh, en)) < float(found.max())
    two = resampled(distances(zh[:2], en[:2]), draws=100)
    assert 20 < len(two) < 80 and bool(two.isfinite().all())  # half of the draws hold one problem twice
    for call in (ratio, resampled):
        with pytest.raises(zkit.ZkitError, match="two problems"):
            call(distances(zh[:1], en[:1]))


def test_an_oblique_projection_counts_as_what_it_projects():
    zh, en = planted(n=12)
    eraser = fits.leace(en, zh)
    beside = distance_ratio(eraser.project(zh), eraser.project(en))
    assert distance_ratio(zh, en, eraser) == pytest.approx(beside, rel=1e-5)


def test_ratio_and_energy_see_what_is_planted():
    zh, en = planted()
    content, tongue = coordinate_subspace(range(5), 40), coordinate_subspace([5], 40)
    assert distance_ratio(zh, en, content) < 0.1 < distance_ratio(zh, en) < distance_ratio(zh, en, tongue)
    assert language_energy(zh, en, tongue) == pytest.approx(40, rel=0.05)
    assert language_energy(zh, en, content) < 0.05
    draws = [language_energy(zh, en, random_subspace(5, 40, torch.Generator().manual_seed(i))) for i in range(200)]
    assert sum(draws) / 200 == pytest.approx(1, abs=0.2)


def test_fits_find_what_is_planted():
    zh, en = planted()
    language = fits.language_space(en, zh, 1)
    assert float(language.overlap(coordinate_subspace([5], 40))[0]) > 0.99
    content = coordinate_subspace(range(5), 40)
    assert float(fits.contrastive_space(en, zh, language, 5).overlap(content).min()) > 0.99
    assert float(fits.without_language(torch.cat((en, zh)), language, 5).overlap(content).min()) > 0.99
    eraser = fits.leace(en, zh)
    for states in (en, zh):
        erased = states - eraser.project(states - (en.mean(0) + zh.mean(0)) / 2)
        assert float(erased[:, 5].mean() - 1.5) == pytest.approx(0, abs=0.05)
    found = fits.fitted(en, zh, 5, answers=torch.randn(9, 40), gamma=torch.ones(40))
    assert {space.k for name, space in found.items() if name not in ("language", "not language")} == {5}
    assert float(found["low variance"].overlap(content).max()) < 0.1
    with pytest.raises(zkit.ZkitError, match="a single answer spans no differences"):
        fits.fitted(en, zh, 5, answers=torch.randn(1, 40), gamma=torch.ones(40))


def test_states_of_different_problems_are_refused():
    zh, en = planted()
    for call in (distance_ratio, fits.leace, fits.language_space):
        with pytest.raises(zkit.ZkitError, match="one shape"):
            call(zh[:5], en)


def test_random_like_lies_as_the_states_vary():
    """Nine tenths of the variance in 5 of 40 dimensions: a subspace drawn like the states holds most of it."""
    made = torch.Generator().manual_seed(0)
    states = torch.randn(500, 40, generator=made) + 7
    states[:, :5] *= 8
    drawn = [fits.random_like(states, 8, made) for _ in range(30)]
    assert all(space.k == 8 for space in drawn)
    held = torch.stack([space.project(torch.eye(40))[:5].square().sum(1) for space in drawn]).mean()
    assert float(held) > 0.8  # where any subspace of the size would hold 0.2
    alike = drawn[0].overlap(drawn[1]).square().mean()
    assert 8 / 40 < float(alike) < 0.95
    with pytest.raises(zkit.ZkitError, match="rank 3"):
        fits.random_like(states[:4], 8, made)
