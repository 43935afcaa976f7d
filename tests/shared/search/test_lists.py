"""Lists of some rows, made apart and joined, are those of the whole pool."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schema import Embeddings
from shared.search import lists as lists_module
from shared.search.exact import ProductSearcher, nearest
from shared.search.lists import Limits, NeighborLists, candidates_of, exact_lists

COLUMNS = ("listing", "neighbor", "similarity", "rank")


def pool_of(n: int, seed: int, as_copies: int = 2) -> Embeddings:
    """Unit rows of which some are copies, and a tenth without evidence."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((n, 6))[rng.integers(0, max(1, n // as_copies), n)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    present = rng.random(n) < 0.9
    return Embeddings(np.where(present[:, None], vectors, 0).astype(np.float32), present)


def assert_equal(one: object, other: object, *columns: str) -> None:
    for name in columns:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


@given(st.integers(0, 60), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 60), max_size=3))
def test_lists_of_any_shards_make_the_candidates_of_the_pool(n: int, seed: int, borders: list[int]) -> None:
    pool = pool_of(n, seed)
    borders = sorted([0, n, *(min(border, n) for border in borders)])
    shards = [
        ProductSearcher.of(pool, Limits(3, 0.1), np).lists(np.arange(start, end)) for start, end in pairwise(borders)
    ]
    expected = nearest(pool, 3, np, minimum=0.1)
    assert_equal(candidates_of(shards[::-1], n), expected, "left", "right", "similarity", "rank_left", "rank_right")


def test_pairs_that_are_united_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = pool_of(100, 3)
    expected = nearest(pool, 4, np)
    monkeypatch.setattr(lists_module, "UNITED_AT_ONCE", 7)
    assert_equal(nearest(pool, 4, np), expected, "left", "right", "similarity", "rank_left", "rank_right")


def test_lists_are_sorted_by_listing_then_rank_then_row() -> None:
    lists = ProductSearcher.of(pool_of(200, 0, as_copies=8), Limits(5), np).lists(np.arange(200))
    order = np.lexsort((lists.neighbor, lists.rank, lists.listing))
    np.testing.assert_array_equal(order, np.arange(len(lists)))
    assert (np.diff(lists.similarity)[np.diff(lists.listing) == 0] <= 0).all()


def test_lists_of_hits_that_are_there_twice() -> None:
    pool = pool_of(4, 1, as_copies=1)
    listing, neighbor = np.array([2, 0, 2, 2]), np.array([0, 3, 0, 1])
    once = exact_lists(pool, (listing[[0, 1, 3]], neighbor[[0, 1, 3]]), Limits(2))
    assert_equal(exact_lists(pool, (listing, neighbor), Limits(2)), once, *COLUMNS)


@pytest.mark.parametrize("n", [0, 30])
def test_lists_are_read_as_they_were_written(n: int, tmp_path: Path) -> None:
    lists = ProductSearcher.of(pool_of(n, 2), Limits(3), np).lists(np.arange(n))
    lists.save(tmp_path / "lists.parquet")
    read = NeighborLists.load(tmp_path / "lists.parquet")
    assert read.n == n
    assert_equal(read, lists, *COLUMNS)
