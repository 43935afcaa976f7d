"""Hashes are searched by their bits with the result of a search by their vectors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schema import Embeddings
from shared.search import hashes
from shared.search.exact import ProductSearcher
from shared.search.hashes import HashSearcher
from shared.search.lists import Limits, NeighborLists


def hashes_of(n: int, distinct: int, d: int, seed: int, evidence: float = 1.0) -> Embeddings:
    """Hashes of which many are equal and many differ in a few bits."""
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 2, (max(1, distinct // 4), d))[rng.integers(0, max(1, distinct // 4), max(1, distinct))]
    bits = (base ^ (rng.random(base.shape) < 0.08))[rng.integers(0, len(base), n)]
    present = rng.random(n) < evidence
    vectors = (bits * 2 - 1) / np.sqrt(d) * present[:, None]
    return Embeddings(vectors.astype(np.float32), present)


def assert_same(found: NeighborLists, expected: NeighborLists) -> None:
    for name in ("listing", "neighbor", "similarity", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype


@given(
    st.integers(0, 120),
    st.sampled_from([1, 10, 200]),
    st.sampled_from([8, 64]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 6),
    st.sampled_from([None, 1, 9]),
    st.sampled_from([0.0, 1 - 24 / 64, 0.75, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_lists_of_hashes_are_those_of_their_vectors(
    n: int, distinct: int, d: int, seed: int, k: int, max_ties: int | None, minimum: float
) -> None:
    pool, limits = hashes_of(n, distinct, d, seed, evidence=0.9), Limits(k, minimum, max_ties)
    rows = np.flatnonzero(np.random.default_rng(seed).random(n) < 0.7)
    expected = ProductSearcher.of(pool, limits, np).lists(rows)
    assert_same(HashSearcher.of(pool, limits).lists(rows), expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_of_hashes_for_any_blocks_and_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, limits, rows = hashes_of(1500, 700, 64, 0), Limits(5, 1 - 24 / 64), np.arange(1500)
    expected = HashSearcher.of(pool, limits).lists(rows)
    monkeypatch.setattr(hashes, "BLOCK", 33)
    monkeypatch.setattr(hashes, "RANKED_AT_ONCE", 400)
    assert_same(HashSearcher.of(pool, limits, threads=threads).lists(rows), expected)


def test_a_crowd_of_equal_hashes_takes_no_square_of_memory() -> None:
    pool = hashes_of(20_000, 1, 64, 0)
    lists = HashSearcher.of(pool, Limits(5)).lists(np.arange(20_000))
    assert len(lists) == 20_000 * 20
    assert set(lists.neighbor.tolist()) == set(range(21))
