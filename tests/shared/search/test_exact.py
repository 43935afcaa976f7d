import sys
import tracemalloc
from collections import Counter
from collections.abc import Collection
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from shared.schema import Candidates, Embeddings
from shared.search.exact import nearest
from shared.search.incremental import PreviousSearch, nearest_since
from tests.support.device_array import DeviceArray, device_module, on_host

EVERYTHING = 10**6  # max_ties that never bites


# --- what it should do, one listing at a time ------------------------------------------------------------------------


def brute_force(embeddings: Embeddings, k: int, minimum: float = 0.0) -> dict[tuple[int, int], tuple[float, int, int]]:
    """(left, right) → (similarity, rank_left, rank_right), from the definition."""
    vectors = embeddings.vectors.toarray() if sparse.issparse(embeddings.vectors) else embeddings.vectors
    wide = vectors.astype(np.float64)
    similarity = np.round(np.array([[(a * b).sum() for b in wide] for a in wide], dtype=np.float32), 6)
    ranks: dict[tuple[int, int], int] = {}
    for i in np.flatnonzero(embeddings.present):
        others = [j for j in np.flatnonzero(embeddings.present) if j != i]
        others = [j for j in others if similarity[i, j] > 0 and similarity[i, j] >= np.float32(minimum)]
        for j in others:
            rank = 1 + sum(similarity[i, other] > similarity[i, j] for other in others)
            if rank <= k:
                ranks[i, j] = rank
    pairs = {(min(pair), max(pair)) for pair in ranks}
    return {(i, j): (similarity[i, j], ranks.get((i, j), 0), ranks.get((j, i), 0)) for i, j in pairs}


def as_dict(found: Candidates) -> dict[tuple[int, int], tuple[float, int, int]]:
    columns = (found.left, found.right, found.similarity, found.rank_left, found.rank_right)
    return {(i, j): (s, a, b) for i, j, s, a, b in zip(*(c.tolist() for c in columns), strict=True)}


def unit(vectors: Any, present: Any = None, as_sparse: bool = False) -> Embeddings:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    present = (norms > 0) if present is None else (norms > 0) & present
    vectors = np.where(present[:, None], vectors / np.where(norms > 0, norms, 1)[:, None], 0).astype(np.float32)
    return Embeddings(sparse.csr_array(vectors) if as_sparse else vectors, present)


def random_unit(n: int, d: int, seed: int = 0) -> Embeddings:
    return unit(np.random.default_rng(seed).standard_normal((n, d)))


# --- a device that is not numpy: what CuPy refuses, it refuses -------------------------------------------------------


class DeviceMatrix:
    """The part of `cupyx.scipy.sparse.csr_matrix` in use; adding a dense array makes a dense array."""

    def __init__(self, matrix: Any) -> None:
        self.matrix = sparse.csr_array(matrix)

    def __getitem__(self, rows: slice) -> "DeviceMatrix":
        return DeviceMatrix(self.matrix[rows])

    def __matmul__(self, other: "DeviceMatrix") -> "DeviceMatrix":
        return DeviceMatrix(self.matrix @ other.matrix)

    def __add__(self, other: DeviceArray) -> DeviceArray:
        return DeviceArray(self.matrix + on_host(other))

    T = property(lambda self: DeviceMatrix(self.matrix.T))

    def tocsr(self) -> "DeviceMatrix":
        return self


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module with those functions of CuPy, under the same names, that the search may use."""
    xp = device_module("arange full maximum flatnonzero bincount partition cumsum")
    cupyx_sparse = ModuleType("cupyx.scipy.sparse")
    cupyx_sparse.csr_matrix = DeviceMatrix  # type: ignore[attr-defined]
    for module in (ModuleType("cupyx"), ModuleType("cupyx.scipy"), cupyx_sparse):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return xp


# --- equal to the definition -----------------------------------------------------------------------------------------


@st.composite
def pools(draw: st.DrawFn) -> Embeddings:
    """Small whole numbers, so that equal similarities abound; some rows copied, some zero, some without evidence."""
    n, d = draw(st.integers(0, 45)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = rng.integers(-1 if draw(st.booleans()) else 0, draw(st.integers(1, 4)), (n, d), endpoint=True)
    vectors = vectors[rng.integers(0, max(1, n // draw(st.integers(1, 4))), n)]
    return unit(vectors, rng.random(n) < draw(st.sampled_from([0.5, 1.0])), as_sparse=draw(st.booleans()))


@pytest.mark.fault(11)
@settings(deadline=None, max_examples=120)
@given(pools(), st.integers(1, 8), st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.sampled_from([None, 1, 7]))
@example(unit([[1, 0], [1, 0], [1, 0]]), 1, 1.0, None)
def test_equals_brute_force(pool: Embeddings, k: int, minimum: float, block: int | None) -> None:
    found = nearest(pool, k, np, minimum=minimum, block=block, max_ties=EVERYTHING)
    assert as_dict(found) == brute_force(pool, k, minimum)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_equals_brute_force_with_column_groups(as_sparse: bool) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((230, 60)) * (rng.random((230, 60)) < np.linspace(0.01, 0.3, 60))
    pool = unit(vectors[rng.integers(0, 230, 230)], as_sparse=as_sparse)
    assert as_dict(nearest(pool, 3, np, max_ties=EVERYTHING)) == brute_force(pool, 3)


@pytest.mark.parametrize("as_sparse", [False, True])
def test_another_array_library_finds_the_same(device: ModuleType, as_sparse: bool) -> None:
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((150, 80)) * (rng.random((150, 80)) < np.linspace(0.01, 0.3, 80))
    vectors[40:80] = vectors[3]  # crowded, so that the ties are thinned out as well
    pool = unit(vectors, rng.random(150) < 0.9, as_sparse)
    expected = nearest(pool, 4, np, max_ties=10)
    assert as_dict(nearest(pool, 4, device, max_ties=10, block=40)) == as_dict(expected)
    some = PreviousSearch.of(nearest(Embeddings(pool.vectors[:140], pool.present[:140]), 4, np, max_ties=10), 4)
    origin = np.r_[0:140, [-1] * 10]
    since = nearest_since(some, origin, pool, 4, device, max_ties=10, block=4)
    assert as_dict(since.candidates) == as_dict(expected)


@pytest.mark.gpu
@pytest.mark.parametrize("as_sparse", [False, True])
def test_a_gpu_finds_the_same(as_sparse: bool) -> None:
    cupy = pytest.importorskip("cupy")
    if not cupy.is_available():
        pytest.skip("no NVIDIA GPU")
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((3000, 400)) * (rng.random((3000, 400)) < np.linspace(0.01, 0.3, 400))
    vectors[1000:1500] = vectors[3]
    pool = unit(vectors, rng.random(3000) < 0.9, as_sparse)
    assert as_dict(nearest(pool, 20, cupy)) == as_dict(nearest(pool, 20, np))


# --- one answer, however it is computed ------------------------------------------------------------------------------


@pytest.mark.fault(11)
def test_duplicates_in_blocks_of_any_size() -> None:
    base = random_unit(60, 384).vectors
    pool = unit(base[np.random.default_rng(4).integers(0, 60, 600)])
    expected = as_dict(nearest(pool, 5, np, block=600))
    for block in (1, 3, 64, 599):
        assert as_dict(nearest(pool, 5, np, block=block)) == expected


@pytest.mark.fault(11)
def test_nearest_in_any_row_order() -> None:
    rng = np.random.default_rng(5)
    vectors = random_unit(80, 64).vectors[rng.integers(0, 80, 300)]
    order = rng.permutation(300)
    found = nearest(unit(vectors), 5, np, max_ties=EVERYTHING)
    shuffled = as_dict(nearest(unit(vectors[order]), 5, np, max_ties=EVERYTHING))
    back = {}
    for (i, j), (similarity, rank_i, rank_j) in shuffled.items():
        a, b = order[i], order[j]
        back[min(a, b), max(a, b)] = (similarity, rank_i, rank_j) if a < b else (similarity, rank_j, rank_i)
    assert back == as_dict(found)


@pytest.mark.fault(11)
def test_a_difference_beyond_the_sixth_decimal_is_a_tie() -> None:
    angles = np.array([0.0, 0.7, 0.7 + 1e-7, 0.7 - 1e-7, 0.7 + 1e-4])
    pool = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    found = as_dict(nearest(pool, 1, np))
    assert [found[0, j][1] for j in (1, 2, 3)] == [1, 1, 1]
    assert (0, 4) not in found


# --- few, many, none -------------------------------------------------------------------------------------------------


@pytest.mark.fault(12)
@pytest.mark.parametrize("n", [0, 1, 5])
@pytest.mark.parametrize("as_sparse", [False, True])
def test_without_two_listings_to_compare_there_is_nothing(n: int, as_sparse: bool) -> None:
    alone = np.zeros((n, 3))
    alone[:1, 0] = 1
    found = nearest(unit(alone, as_sparse=as_sparse), 4, np)
    assert (found.n, len(found)) == (n, 0)


@pytest.mark.fault(12)
def test_k_beyond_the_pool_gives_all_others_that_are_similar() -> None:
    found = nearest(unit([[1, 0], [1, 1], [0, 1], [-1, 0], [0, 0]]), 1000, np)
    assert list(as_dict(found)) == [(0, 1), (1, 2)]  # right angles and worse are no neighbors
    assert len(nearest(unit([[1, 0], [1e-7, 1]]), 5, np)) == 0  # nor is what rounds to one


def test_the_minimum_is_inclusive() -> None:
    pool = unit([[1, 0], [0.6, 0.8], [0.8, 0.6]])
    assert list(as_dict(nearest(pool, 5, np, minimum=0.8))) == [(0, 2), (1, 2)]
    assert list(as_dict(nearest(pool, 5, np, minimum=0.81))) == [(1, 2)]


@pytest.mark.fault(11)
@pytest.mark.parametrize("as_sparse", [False, True])
def test_crowd_of_equal_listings_is_thinned(as_sparse: bool) -> None:
    crowd, k = 2000, 5
    vectors = np.tile([1.0, 0, 0], (crowd + 3, 1))
    vectors[-3:] = [[1, 0.2, 0], [1, 0.2, 0.001], [1, 0.2, 0.1]]
    found = as_dict(nearest(unit(vectors, as_sparse=as_sparse), k, np))
    assert max(neighbors_each(found)) == 4 * k
    assert (crowd, crowd + 1) in found
    assert (crowd, crowd + 2) in found
    partners = {i for pair in found for i in pair}
    assert partners == set(range(crowd + 3))
    assert {(0, 4 * k), (crowd - 1, 0)} <= set(found) | {pair[::-1] for pair in found}  # the lowest rows stand for all
    assert (crowd - 2, crowd - 1) not in found


def neighbors_each(found: dict[tuple[int, int], tuple[float, int, int]]) -> Collection[int]:
    """How many listings each listing has a rank for."""
    ranked = [side for pair, (_, *ranks) in found.items() for side, rank in zip(pair, ranks, strict=True) if rank]
    return Counter(ranked).values()


@pytest.mark.parametrize("pool", [random_unit(4000, 8), unit(np.ones((4000, 8)))], ids=["random", "equal"])
def test_memory_stays_far_below_all_similarities(pool: Embeddings) -> None:
    n = len(pool)
    tracemalloc.start()
    nearest(pool, 5, np, block=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * 4 * n * n
