"""Half of the products find what all of them find."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schema import Embeddings
from shared.search import symmetric
from shared.search.exact import ProductSearcher
from shared.search.lists import Limits, NeighborLists
from shared.search.symmetric import SymmetricSearcher


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks of a small pool, whose hits are gathered several times."""
    monkeypatch.setattr(symmetric, "FEWEST", 0)
    monkeypatch.setattr(symmetric, "CELLS", 1 << 10)
    monkeypatch.setattr(symmetric, "MOST_HITS", 50)
    monkeypatch.setattr(symmetric, "AT_ONCE", 2)


def pool_of(n: int, distinct: int, d: int, seed: int, noise: float) -> Embeddings:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((distinct, d))[rng.integers(0, distinct, n)] + noise * rng.standard_normal((n, d))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.random(n) < 0.9
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


def assert_same(found: NeighborLists, expected: NeighborLists) -> None:
    for name in ("listing", "neighbor", "similarity", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@given(
    st.integers(0, 120),
    st.sampled_from([1, 5, 200]),
    st.sampled_from([2, 16]),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([Limits(1), Limits(5), Limits(3, 0.5), Limits(2, max_ties=1), Limits(200)]),
)
@settings(max_examples=100, deadline=None)
def test_lists_of_a_pool_by_half_of_the_products(
    n: int, distinct: int, d: int, seed: int, noise: float, limits: Limits
) -> None:
    pool = pool_of(n, distinct, d, seed, noise)
    expected = ProductSearcher.of(pool, limits, np).lists(np.arange(n))
    assert_same(SymmetricSearcher.of(pool, limits).lists(np.arange(n)), expected)


def test_crowds_are_searched_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, limits = pool_of(300, 4, 8, 0, noise=0.0), Limits(3)
    again = []
    lists = ProductSearcher.lists
    monkeypatch.setattr(ProductSearcher, "lists", lambda self, rows: again.append(len(rows)) or lists(self, rows))
    found = SymmetricSearcher.of(pool, limits).lists(np.arange(300))
    assert again == [int(pool.present.sum())]
    assert_same(found, lists(ProductSearcher.of(pool, limits, np), np.arange(300)))


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_of_a_pool_and_of_its_shards_for_any_threads(threads: int) -> None:
    pool, limits = pool_of(400, 80, 24, 1, noise=0.2), Limits(5)
    searcher = SymmetricSearcher.of(pool, limits, threads=threads)
    shards = [searcher.lists(np.arange(start, start + 100)) for start in range(0, 400, 100)]
    assert_same(searcher.lists(np.arange(400)), NeighborLists.joined(400, shards))
