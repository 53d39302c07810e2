"""Law 4, thin projectors: P^2 = P = P^T, P + P_perp = I, and never a d x d matrix."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import few
from torch.utils._python_dispatch import TorchDispatchMode

import zkit
from zkit.subspaces import Subspace, principal, random_subspace, spanned_by


def gaussian(n, d, seed=0, dtype=torch.float32):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@st.composite
def spaces(draw):
    d = draw(st.integers(1, 40))
    k, seed = draw(st.integers(1, d)), draw(st.integers(0, 99))
    if draw(st.booleans()):
        return random_subspace(k, d, torch.Generator().manual_seed(seed))
    return spanned_by(gaussian(k, d, seed) * 10 ** draw(st.floats(-3, 3, allow_subnormal=False)))


@few
@given(spaces())
def test_the_laws_of_a_projector(space):
    d = space.d
    x, y = gaussian(7, d, 1), gaussian(7, d, 2)
    close = {"atol": 1e-5 * d, "rtol": 1e-5}
    p = space.project(torch.eye(d))
    assert torch.allclose(p, p.T, **close)
    assert torch.allclose(p @ p, p, **close)
    assert round(float(p.trace())) == space.k
    assert torch.allclose(space.project(space.project(x)), space.project(x), **close)
    assert torch.allclose(space.project(x) + space.reject(x), x, **close)
    assert torch.allclose(space.project(space.reject(x)), torch.zeros_like(x), **close)
    assert torch.allclose((space.project(x) * y).sum(), (x * space.project(y)).sum(), **close)
    assert torch.allclose(space.coordinates(x) @ space.basis, space.project(x), **close)
    assert torch.allclose(space.basis @ space.basis.T, torch.eye(space.k), **close)
    assert torch.allclose(space.coordinates(x).norm(dim=-1), space.project(x).norm(dim=-1), **close)


@few
@given(spaces())
def test_a_complement_is_the_rest_of_the_identity(space):
    rest, d = space.complement(), space.d
    x, close = gaussian(7, d, 1), {"atol": 1e-5 * d, "rtol": 1e-5}
    assert rest.k + space.k == rest.d == d
    assert torch.allclose(space.project(torch.eye(d)) + rest.project(torch.eye(d)), torch.eye(d), **close)
    assert torch.equal(rest.project(x), space.reject(x)) and torch.equal(rest.reject(x), space.project(x))
    assert torch.allclose(rest.project(rest.project(x)), rest.project(x), **close)
    assert rest.complement() is space


def dense(space):
    """An orthonormal basis of any subspace, complements too, from its d x d projector."""
    values, vectors = torch.linalg.eigh(space.project(torch.eye(space.d, dtype=torch.float64)))
    return vectors[:, values > 0.5].T


@few
@given(st.integers(1, 12), st.data())
def test_overlaps_are_cosines_of_principal_angles(d, data):
    """Of subspaces and complements alike, against the singular values of dense bases."""
    seeds = st.integers(0, 99)
    one, two = (
        random_subspace(data.draw(st.integers(1, d)), d, torch.Generator().manual_seed(data.draw(seeds)))
        for _ in range(2)
    )
    for a in (one, one.complement()):
        for b in (two, two.complement()):
            found, want = a.overlap(b), torch.linalg.svdvals(dense(a) @ dense(b).T)
            assert found.shape == want.shape == (min(a.k, b.k),)
            assert torch.allclose(found, want, atol=1e-5)
            assert torch.allclose(found, b.overlap(a), atol=1e-6)  # symmetric
            assert (found.diff() <= 1e-9).all()
    assert torch.allclose(one.overlap(one), torch.ones(one.k, dtype=torch.float64), atol=1e-6)
    assert not (one.overlap(one.complement()) > 1e-6).any()
    turn = torch.linalg.qr(gaussian(one.k, one.k, data.draw(seeds)))[0]
    assert torch.allclose(Subspace(turn @ one.basis).overlap(two), one.overlap(two), atol=1e-6)


def test_overlap_needs_one_width():
    one, two = (random_subspace(2, d, torch.Generator().manual_seed(0)) for d in (5, 6))
    for pair in ((one, two), (one, two.complement()), (one.complement(), two), (one.complement(), two.complement())):
        with pytest.raises(zkit.ZkitError, match=r"of \d and of \d dimensions have no overlap"):
            pair[0].overlap(pair[1])


@few
@given(st.integers(1, 6), st.integers(8, 30), st.integers(0, 99))
def test_dependent_rows_add_nothing(k, d, seed):
    rows = gaussian(k, d, seed)
    mixed = torch.cat([rows, gaussian(5, k, seed + 1) @ rows, torch.zeros(1, d), 1e-9 * rows])
    once, again = spanned_by(rows), spanned_by(mixed)
    assert once.k == again.k == k
    x = gaussian(3, d, seed + 2)
    assert torch.allclose(once.project(x), again.project(x), atol=1e-4)
    assert torch.allclose(again.project(mixed), mixed, atol=1e-4)
    assert spanned_by(torch.cat([rows, rows[:1] + 1e-3 * gaussian(1, d, seed + 3)]), rtol=0.1).k <= k


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor):
                self.size = max(self.size, x.numel())
        return out


def test_nothing_of_size_d_by_d_is_made():
    n, d = 5, 1000
    x, generator = gaussian(n, d), torch.Generator().manual_seed(0)
    with Largest() as seen:
        torch.eye(d)
    assert seen.size == d * d
    with Largest() as seen:
        for space in (spanned_by(x), principal(x, 3), random_subspace(4, d, generator)):
            assert space.basis.shape == (space.k, d)
            space.project(x), space.reject(x), space.coordinates(x)
            space.complement().project(x), space.complement().overlap(space), space.overlap(space)
    assert n * d <= seen.size <= 2 * n * d


def test_random_subspaces_follow_their_seed():
    def make(seed):
        return random_subspace(3, 20, torch.Generator().manual_seed(seed)).basis

    assert torch.equal(make(1), make(1))
    assert not torch.allclose(make(1), make(2))
    state = torch.random.get_rng_state()
    make(3)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_random_subspaces_are_uniform():
    """A k-dimensional subspace of R^d catches k/d of any direction on average."""
    generator, direction = torch.Generator().manual_seed(0), torch.zeros(12)
    direction[0] = 1
    shares = [float(random_subspace(3, 12, generator).project(direction).square().sum()) for _ in range(800)]
    assert abs(sum(shares) / len(shares) - 0.25) < 0.02


def test_principal_directions_are_those_of_the_covariance():
    scale = torch.tensor([9.0, 5.0, 2.0, 0.5, 0.1])
    states = gaussian(400, 5, dtype=torch.float64) * scale + 100
    values, vectors = torch.linalg.eigh(torch.cov(states.T))
    order = values.argsort(descending=True)
    for k in range(1, 6):
        top = vectors[:, order[:k]]
        assert torch.allclose(principal(states, k).project(torch.eye(5, dtype=torch.float64)), top @ top.T, atol=1e-9)


@pytest.mark.parametrize("k", [0, -1, 4])
def test_more_principal_directions_than_there_are(k):
    with pytest.raises(zkit.ZkitError, match=f"k = {k}"):
        principal(gaussian(4, 10), k)  # four centred rows span three dimensions


@pytest.mark.parametrize("bad", [torch.zeros(3, 4), torch.zeros(0, 4), torch.ones(4), torch.full((2, 4), torch.nan)])
def test_what_spans_nothing_is_refused(bad):
    with pytest.raises(zkit.ZkitError):
        spanned_by(bad)


@pytest.mark.parametrize("k", [0, -1, 6])
def test_impossible_dimensions_are_refused(k):
    with pytest.raises(zkit.ZkitError, match="5 dimensions"):
        random_subspace(k, 5, torch.Generator())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_projecting_keeps_the_dtype(dtype):
    space = Subspace(torch.eye(8)[:3])
    x = gaussian(2, 8, dtype=torch.float64).to(dtype)
    assert space.project(x).dtype == space.reject(x).dtype == space.coordinates(x).dtype == dtype
    assert torch.equal(space.project(x)[:, :3], x[:, :3])
    assert not space.project(x)[:, 3:].any()
    assert spanned_by(x).basis.dtype in (torch.float32, torch.float64)
