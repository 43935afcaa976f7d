"""Exact neighbors of any pool: those of the definition, whatever the batches, the threads and the order of rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from shared.schema import Candidates, Embeddings
from shared.search.exact import nearest
from shared.search.lists import DECIMALS
from tests.support.fuzzing import fuzz

EVERYTHING = 10**6  # max_ties that never bites
ROUNDING = 2e-6  # similarities nearer than this may be tied or not, as their last digits fall

Neighbors = dict[tuple[int, int], tuple[float, int]]


@st.composite
def pools(draw: st.DrawFn, most: int = 60) -> Embeddings:
    """Rows of which some are copies, some nearly copies, and some without evidence."""
    n, d = draw(st.integers(0, most)), draw(st.sampled_from([1, 2, 3, 17, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = rng.standard_normal((n, d))
    if n:
        vectors = vectors[rng.integers(0, max(n // draw(st.integers(1, 5)), 1), n)]
    vectors += draw(st.sampled_from([0.0, 1e-9, 1e-7, 1e-4])) * rng.standard_normal((n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.random(n) < draw(st.sampled_from([0.0, 0.5, 1.0]))
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


def neighbors(candidates: Candidates, names: np.ndarray) -> Neighbors:
    """Return (listing, neighbor) → (similarity, rank), listings by their names."""
    columns = candidates.left, candidates.right, candidates.similarity, candidates.rank_left, candidates.rank_right
    found: Neighbors = {}
    for i, j, similarity, rank_left, rank_right in zip(*(column.tolist() for column in columns), strict=True):
        for listing, other, rank in ((i, j, rank_left), (j, i, rank_right)):
            if rank:
                found[int(names[listing]), int(names[other])] = (similarity, rank)
    return found


@pytest.mark.fault(11, 12)
@given(pools(), st.integers(1, 90), st.sampled_from([0.0, 0.4]))
@fuzz(150)
def test_neighbors_are_those_of_the_definition(pool: Embeddings, k: int, minimum: float) -> None:
    rows = np.arange(len(pool))
    found = neighbors(nearest(pool, k, np, minimum=minimum, max_ties=EVERYTHING), rows)
    exact = pool.vectors.astype(np.float64) @ pool.vectors.astype(np.float64).T
    for listing in rows:
        others = rows[pool.present & (rows != listing)] if pool.present[listing] else rows[:0]
        own = {other: value for (row, other), value in found.items() if row == listing}
        assert set(own) <= set(others.tolist())
        best = np.sort(exact[listing, others])[::-1]
        least = max(best[k - 1] if len(best) >= k else -1.0, minimum, 0)
        assert set(own) >= {int(other) for other in others if exact[listing, other] > least + ROUNDING}
        for other, (similarity, rank) in own.items():
            assert similarity == pytest.approx(exact[listing, other], abs=10**-DECIMALS)
            assert similarity >= least - ROUNDING
            assert rank == 1 + sum(value > similarity for value, _ in own.values())


@pytest.mark.fault(11)
@given(pools(), st.integers(1, 20), st.sampled_from([1, 3, 10]), st.integers(0, 2**32 - 1))
@fuzz(100)
def test_neighbors_for_any_batches_threads_and_order(pool: Embeddings, k: int, block: int, seed: int) -> None:
    rows = np.arange(len(pool))
    expected = neighbors(nearest(pool, k, np, max_ties=EVERYTHING), rows)
    order = np.random.default_rng(seed).permutation(len(pool))
    for threads in (1, 2):
        with threadpool_limits(threads):
            found = nearest(pool.take(order), k, np, max_ties=EVERYTHING, block=block)
        assert neighbors(found, order) == expected


@pytest.mark.fault(11)
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_neighbors_of_large_products_for_any_threads(threads: int) -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((700, 384))[rng.integers(0, 700, 2000)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pool = Embeddings(vectors.astype(np.float32), np.ones(2000, dtype=bool))
    rows = np.arange(2000)
    with threadpool_limits(1):
        expected = neighbors(nearest(pool, 5, np), rows)
    with threadpool_limits(threads):
        assert neighbors(nearest(pool, 5, np, block=333), rows) == expected


@pytest.mark.fault(10)
@given(pools(), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 2.0]), st.integers(0, 10**6))
@fuzz(50)
def test_a_pool_with_one_bad_number_is_refused(pool: Embeddings, bad: float, place: int) -> None:
    rows = np.flatnonzero(pool.present)
    if not len(rows):
        return
    vectors = pool.vectors.copy()
    vectors[rows[place % len(rows)]] = 0
    vectors[rows[place % len(rows)], 0] = bad
    with pytest.raises(ValueError, match=r"finite|unit norm"):
        Embeddings(vectors, pool.present)
