"""The index finds nearly all of a product, what an exact search finds where it is read whole, and the same in parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from shared.schema import Embeddings
from shared.search import sparse as index
from shared.search.exact import ProductSearcher
from shared.search.lists import Limits, NeighborLists
from shared.search.sparse import SparseSearcher


def unit(rows: np.ndarray, present: np.ndarray) -> Embeddings:
    norms = np.linalg.norm(rows, axis=1)
    present = present & (norms > 0)
    vectors = np.where(present[:, None], rows / np.where(norms > 0, norms, 1)[:, None], 0).astype(np.float32)
    return Embeddings(sparse.csr_array(vectors), present)


@st.composite
def pools(draw: st.DrawFn) -> Embeddings:
    """Rare and common terms of few weights, so that ties abound; some rows copied, some of one term, some empty."""
    n, d = draw(st.integers(0, 60)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = rng.integers(-1 if draw(st.booleans()) else 1, 3, (n, d), endpoint=True) * 1.0
    rows *= rng.random((n, d)) < np.linspace(0.02, draw(st.sampled_from([0.1, 0.9])), d)
    rows = rows[rng.integers(0, max(1, n // draw(st.integers(1, 3))), n)]
    return unit(rows, rng.random(n) < draw(st.sampled_from([0.7, 1.0])))


def clustered(products: int, seed: int = 0) -> Embeddings:
    """Three listings per product: ten of its own twelve rarer terms each, and terms that all share."""
    rng = np.random.default_rng(seed)
    terms = rng.integers(50, 50 + products, (products, 12))
    vectors = np.zeros((3 * products, 50 + products))
    for row in range(len(vectors)):
        vectors[row, rng.choice(terms[row // 3], 10, replace=False)] = 3
        vectors[row, rng.choice(50, 20, replace=False)] = 1
    return unit(vectors, np.ones(len(vectors), dtype=bool))


def assert_same(found: NeighborLists, expected: NeighborLists) -> None:
    for name in ("listing", "neighbor", "similarity", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@settings(deadline=None, max_examples=200)
@given(pools(), st.integers(1, 6), st.sampled_from([0.0, 0.4]), st.sampled_from([None, 1]))
def test_lists_are_exact_where_all_is_read(pool: Embeddings, k: int, minimum: float, max_ties: int | None) -> None:
    rows, limits = np.arange(len(pool)), Limits(k, minimum, max_ties)
    found = SparseSearcher.of(pool, limits, budget=10**6).lists(rows)
    assert_same(found, ProductSearcher.of(pool, limits, np).lists(rows))


@pytest.mark.parametrize("budget", [100, None])
def test_a_small_budget_finds_the_same_product(budget: int | None) -> None:
    pool = clustered(400)
    searcher = SparseSearcher.of(pool, Limits(5), budget=budget)
    assert searcher._query(np.arange(len(pool))).nnz < 0.6 * pool.vectors.nnz
    found = searcher.lists(np.arange(len(pool)))
    same_product = found.listing // 3 == found.neighbor // 3
    assert same_product.sum() >= 0.995 * 2 * len(pool)


def test_heavy_rare_terms_are_read_first_and_one_in_any_case() -> None:
    rows = np.zeros((20, 4))
    rows[:, 0] = 3  # all hold it
    rows[:10, 1] = 2
    rows[:4, 2] = 1
    rows[:4, 3] = 2
    pool = unit(rows, np.ones(20, dtype=bool))
    for budget, terms in ((3, {2}), (4, {3}), (8, {2, 3}), (18, {1, 2, 3}), (38, {0, 1, 2, 3})):
        query = SparseSearcher.of(pool, Limits(1), budget=budget)._query(np.array([0, 19]))
        assert set(query[[0]].indices.tolist()) == terms
        assert query[[1]].indices.tolist() == [0]


def test_lists_do_not_depend_on_blocks_threads_or_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, limits = clustered(200), Limits(4)
    rows = np.arange(len(pool))
    whole = SparseSearcher.of(pool, limits, budget=150).lists(rows)
    shards = [SparseSearcher.of(pool, limits, budget=150).lists(part) for part in np.array_split(rows, 3)]
    assert_same(NeighborLists.joined(len(pool), shards), whole)
    monkeypatch.setattr(index, "BLOCK", 7)
    monkeypatch.setattr(index, "CHUNK", 3)
    assert_same(SparseSearcher.of(pool, limits, budget=150, threads=3).lists(rows), whole)
