"""What an index keeps of its pairs, and which it does not score again."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ensemble.index.pair_cache import (
    FIRST,
    RULED_OUT,
    SCORED_IN,
    CachedPairs,
    among,
    bereft_of,
    joined,
    renewed,
    ruled_out,
    with_first,
)
from ensemble.pool_views import BranchView
from shared.schema import Candidates, Embeddings


def known(n: int, ends: list[tuple[int, int]], first: list[float], scored_in: float) -> CachedPairs:
    left, right = (np.array(column, dtype=np.int32) for column in zip(*ends, strict=True))
    features = {FIRST: first, SCORED_IN: [scored_in] * len(ends), "tfidf_cosine": first, "image_cosine": first}
    score = np.array(first, dtype=np.float32)
    return CachedPairs(n, left, right, pd.DataFrame(features, dtype=np.float32), score)


LOW = RULED_OUT / 2
CHAIN = [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize(
    ("n", "bereft", "expected"),
    [
        (100, [], [True, False, True]),
        (109, [], [True, False, True]),
        (111, [], [False, False, False]),
        (92, [], [True, False, True]),
        (90, [], [False, False, False]),
        (100, [1], [False, False, True]),
        (100, [3], [True, False, False]),
    ],
)
def test_a_pair_stays_ruled_out_in_a_pool_of_about_the_size_unless_a_neighbor_is_lost(
    n: int, bereft: list[int], expected: list[bool]
) -> None:
    pairs = known(n, CHAIN, [LOW, RULED_OUT * 2, LOW], 100)
    lost = np.zeros(n, dtype=bool)
    lost[bereft] = True
    assert ruled_out(pairs, lost).tolist() == expected


def test_an_index_that_held_nothing_rules_nothing_out() -> None:
    rows = np.zeros(0, dtype=np.int32)
    nothing = CachedPairs(5, rows, rows, pd.DataFrame(index=range(0)), np.zeros(0, dtype=np.float32))
    assert ruled_out(nothing, np.zeros(5, dtype=bool)).shape == (0,)
    assert len(with_first(nothing)) == 0


def test_pairs_move_with_their_listings_and_those_left_behind_are_bereft() -> None:
    pairs = known(4, CHAIN, [0.1, 0.2, 0.3], 4)
    place = np.array([0, 2, 3, -1])
    moved = among(pairs, place, 5)
    assert [*zip(moved.left.tolist(), moved.right.tolist(), strict=True)] == [(0, 2), (2, 3)]
    np.testing.assert_allclose(moved.features[FIRST], [0.1, 0.2])
    assert bereft_of(pairs, place, 5).tolist() == [False, False, False, True, False]


def test_cosines_that_another_pool_changes_are_worked_out_again() -> None:
    pairs = known(4, CHAIN, [0.1, 0.2, 0.3], 4)
    vectors = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    nobody = Candidates(4, *(np.zeros(0, dtype) for dtype in (np.int32, np.int32, np.float32, np.int32, np.int32)))
    view = BranchView(Embeddings(vectors, np.ones(4, dtype=bool)), nobody)
    again = renewed(pairs, {"image": view, "tfidf": view}).features
    np.testing.assert_array_equal(again["image_cosine"], pairs.features["image_cosine"])
    np.testing.assert_allclose(again["tfidf_cosine"], [1, 0.6, 0.8], atol=1e-6)


def test_known_and_own_pairs_are_joined_in_order() -> None:
    one = known(5, [(0, 1), (2, 3)], [0.1, 0.3], 4)
    other = known(5, [(0, 4), (1, 2)], [0.4, 0.2], 5)
    both = joined(replace(one, features=one.features.drop(columns="image_cosine")), other)
    assert [*zip(both.left.tolist(), both.right.tolist(), strict=True)] == [(0, 1), (0, 4), (1, 2), (2, 3)]
    assert both.features[SCORED_IN].tolist() == [4, 5, 5, 4]
    assert "image_cosine" not in both.features
    np.testing.assert_array_equal(both.score, np.array([0.1, 0.4, 0.2, 0.3], dtype=np.float32))
    assert joined(one.only(np.zeros(2, dtype=bool)), other) is other
