"""Hashes that are found by parts are those that a comparison of all with all finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.schema import Embeddings
from shared.search import hash_parts, hashes
from shared.search.hash_parts import HashParts, Near, within
from shared.search.hashes import HashSearcher
from shared.search.lists import Limits
from tests.shared.search.test_hashes import assert_same, hashes_of


def distinct_bits(n: int, d: int, seed: int) -> np.ndarray:
    return np.unique(np.packbits(hashes_of(n, n, d, seed).vectors > 0, axis=1), axis=0)


def as_set(near: Near) -> set[tuple[int, int, int]]:
    entries = list(zip(*(column.tolist() for column in near), strict=True))
    assert len(set(entries)) == len(entries)
    return set(entries)


@given(
    st.integers(1, 200),
    st.sampled_from([8, 24, 64]),
    st.integers(0, 2**32 - 1),
    st.integers(0, 14),
    st.sampled_from([1, 3, 5, 9]),
)
@settings(max_examples=100, deadline=None)
def test_parts_of_any_width_find_all_within_the_radius(n: int, d: int, seed: int, radius: int, width: int) -> None:
    bits = distinct_bits(n, d, seed)
    codes = np.flatnonzero(np.random.default_rng(seed).random(len(bits)) < 0.7)
    assert as_set(HashParts.of(bits, radius, width).near(codes)) == as_set(within(bits[codes], bits, radius))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("distinct", "minimum"), [(3000, 1 - 24 / 64), (40, 1 - 24 / 64), (3000, 1 - 16 / 64)])
def test_lists_by_parts_with_many_ties(
    distinct: int, minimum: float, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, limits, rows = (
        hashes_of(4000, distinct, 64, 1, evidence=0.9),
        Limits(3, minimum, 4),
        np.arange(4000)[::-3][::-1],
    )
    expected = HashSearcher.of(pool, limits).lists(rows)
    monkeypatch.setattr(hashes, "FEWEST", 1)
    monkeypatch.setattr(hash_parts, "LARGEST_SHARE", 100)
    monkeypatch.setattr(hash_parts, "GROUP", 3)
    monkeypatch.setattr(hash_parts, "PAIRS", 50)
    searcher = HashSearcher.of(pool, limits, threads=threads)
    assert searcher.parts is not None
    assert_same(searcher.lists(rows), expected)


def crowd(n: int) -> Embeddings:
    """Hashes that differ in their last bits alone, as those of almost equal images do."""
    bits = np.unpackbits(np.arange(n, dtype=">u8").view(np.uint8).reshape(n, 8), axis=1)
    return Embeddings(((bits * 2.0 - 1) / 8).astype(np.float32), np.ones(n, dtype=bool))


def test_a_crowd_of_near_hashes_is_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "FEWEST", 1)
    assert HashSearcher.of(crowd(3000), Limits(5, 1 - 24 / 64)).parts is None
    assert HashSearcher.of(hashes_of(6000, 6000, 64, 0), Limits(5, 1 - 8 / 64)).parts is not None


def test_hashes_near_a_crowd_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, limits = crowd(2000), Limits(2, 1 - 24 / 64)
    expected = HashSearcher.of(pool, limits).lists(np.arange(2000))
    monkeypatch.setattr(hashes, "FEWEST", 1)
    monkeypatch.setattr(hash_parts, "LARGEST_SHARE", 100)
    searcher = HashSearcher.of(pool, limits)
    assert searcher.parts is not None
    thinned = searcher.parts.near(np.arange(2000), searcher._thinned)
    assert np.bincount(thinned[0]).max() == limits.most + 1
    assert_same(searcher.lists(np.arange(2000)), expected)
