"""Taking out what vectors share; directions of word relations, planted and absent."""

import pytest
import torch

import zkit
from zkbook.experiments.relations import analogy_hits, shuffled_stability
from zkit.steering import SteeringVector, stability
from zkit.steering.vectors import orthogonalise


def several(*rows, layers=(1, 3)):
    """One vector a row, the same at each layer but for its size."""
    return {
        str(i): SteeringVector({l: torch.tensor(row, dtype=torch.float32) * (l + 1) for l in layers})
        for i, row in enumerate(rows)
    }


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_what_is_left_is_orthogonal_to_every_other_vector_as_it_was():
    vectors = {str(i): SteeringVector({0: gaussian(16, seed=i), 2: gaussian(16, seed=9 + i)}) for i in range(4)}
    left = orthogonalise(vectors)
    for name, v in left.items():
        for layer in v.layers:
            for other, w in vectors.items():
                dot = float(v.vectors[layer] @ w.vectors[layer])
                if other == name:  # it keeps exactly its own part: v.w = |v|^2
                    assert dot == pytest.approx(v.at(layer).norm ** 2, rel=1e-4) and dot > 0
                else:
                    assert abs(dot) < 1e-4
        assert "orthogonal to" in v.note


def test_vectors_that_share_nothing_stay_as_they_are():
    vectors = several([1, 0, 0], [0, 2, 0], [0, 0, 3])
    left = orthogonalise(vectors)
    assert all(torch.allclose(left[n].vectors[l], vectors[n].vectors[l]) for n in vectors for l in (1, 3))


def test_a_shared_part_goes_from_both():
    left = orthogonalise(several([1, 1, 0], [0, 1, 1]))
    assert torch.allclose(left["0"].vectors[1], 2 * torch.tensor([1, 0.5, -0.5]))
    assert torch.allclose(left["1"].vectors[1], 2 * torch.tensor([-0.5, 0.5, 1]))


def test_bad_input_of_orthogonalising():
    with pytest.raises(zkit.ZkitError, match="at least two"):
        orthogonalise(several([1, 0]))
    with pytest.raises(zkit.ZkitError, match="same layers"):
        orthogonalise({"a": several([1, 0])["0"], "b": several([0, 1], layers=(2,))["0"]})
    with pytest.raises(zkit.ZkitError, match=r"layer 1 the vector '.' lies in the span"):
        orthogonalise(several([1, 0, 0], [0, 1, 0], [1, 1, 0]))


def planted(n=12, d=64, layers=2, strength=3.0, seed=0):
    """Words, and answers a fixed direction away at layer 1 alone."""
    words = gaussian(n, layers, d, seed=seed)
    answers = gaussian(n, layers, d, seed=seed + 1)
    direction = gaussian(d, seed=seed + 2)
    answers[:, 1] = words[:, 1] + strength * direction + 0.1 * answers[:, 1]
    return words, answers


def test_a_planted_direction_is_found_and_noise_is_not():
    words, answers = planted()
    assert stability(answers - words)[1] > 0.95
    hits = analogy_hits(words, answers).float().mean(0)
    assert hits[1] == 1 and hits[0] <= 0.5
    shuffled = shuffled_stability(words, answers, 20)
    assert shuffled.shape == (20, 2)
    value = stability(answers - words)
    assert bool((value[1] > shuffled[:, 1]).all())
    assert shuffled[:, 0].min() < value[0] < shuffled[:, 0].max()


def test_two_clouds_of_words_look_stable_until_they_are_shuffled():
    """All answers lie on one side of all words, yet no word has an arrow to its own."""
    words, answers = gaussian(12, 1, 64), gaussian(12, 1, 64, seed=1) + 2 * gaussian(64, seed=2)
    value = stability(answers - words)
    assert value[0] > 0.5
    assert abs(float(value - shuffled_stability(words, answers, 50).mean(0))) < 0.05
    assert analogy_hits(words, answers).float().mean() < 0.5


def test_shuffling_never_leaves_a_pair_together():
    words = torch.eye(3)[:, None] * torch.tensor([1.0, 10.0, 100.0])[:, None, None]
    answers = 2 * words  # a pair left together would add a difference along its own axis alone
    allowed = torch.stack([stability(answers[order] - words) for order in ([1, 2, 0], [2, 0, 1])])[:, 0]
    drawn = shuffled_stability(words, answers, 20)[:, 0]
    assert bool(torch.isclose(drawn[:, None], allowed, atol=1e-6).any(1).all())
    others = torch.stack([stability(answers[order] - words) for order in ([1, 0, 2], [0, 2, 1], [2, 1, 0])])[:, 0]
    assert not bool(torch.isclose(others[:, None], allowed, atol=1e-3).any())  # one pair left in place would show


def test_a_pair_does_not_help_to_find_itself():
    """With three pairs whose differences are orthogonal, the other two say nothing about the third."""
    words = torch.zeros(3, 1, 6)
    words[:, 0, :3] = torch.eye(3)
    answers = torch.zeros(3, 1, 6)
    answers[:, 0, 3:] = torch.eye(3)
    assert not bool(analogy_hits(words, answers).any())


def test_bad_input_of_relations():
    words, answers = planted(n=4)
    with pytest.raises(zkit.ZkitError, match="same answer"):
        analogy_hits(words, answers[[0, 1, 2, 0]])
    with pytest.raises(zkit.ZkitError, match="same pairs"):
        analogy_hits(words, answers[:3])
    with pytest.raises(zkit.ZkitError, match="at least 3"):
        analogy_hits(words[:2], answers[:2])
    with pytest.raises(zkit.ZkitError, match="at least 2"):
        shuffled_stability(words[:1], answers[:1], 3)
    with pytest.raises(zkit.ZkitError, match="draws is 0"):
        shuffled_stability(words, answers, 0)
