"""What an index keeps of its pairs."""

from pathlib import Path

import numpy as np
import pandas as pd

from ensemble.index.pair_cache import COLUMNS, CachedPairs, conflicts
from shared.schema import CandidatePairs, PairFeatures
from tests.support.scored_pairs import attribute_columns


def pairs(ends: list[tuple[int, int]], n: int = 6) -> CachedPairs:
    left, right = (np.array(column, dtype=np.int32) for column in zip(*ends, strict=True))
    score = ((10 * left + right) / 100).astype(np.float32)
    return CachedPairs(
        n,
        left,
        right,
        score=score,
        first=score / 2,
        cosines=np.stack([-score, score], axis=1),
        conflict=(left == 0).astype(np.uint8),
    )


def assert_same(one: CachedPairs, other: CachedPairs) -> None:
    for name in ("n", "left", "right", *COLUMNS):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_pairs_are_taken_with_all_that_belongs_to_them() -> None:
    every = pairs([(0, 1), (0, 4), (2, 3)])
    assert_same(every.only(np.array([True, False, True])), pairs([(0, 1), (2, 3)]))


def test_pairs_move_into_another_pool_where_both_listings_are() -> None:
    place = np.array([0, -1, 2, 3, 5, -1], dtype=np.int32)
    moved = pairs([(0, 1), (0, 4), (2, 3)]).placed(place, 9)
    assert (moved.n, moved.left.tolist(), moved.right.tolist()) == (9, [0, 2], [5, 3])
    np.testing.assert_array_equal(moved.score, pairs([(0, 4), (2, 3)]).score)


def test_pairs_are_joined_in_order() -> None:
    assert_same(
        pairs([(0, 4), (2, 3)]).joined(pairs([(0, 1), (1, 2), (4, 5)])), pairs([(0, 1), (0, 4), (1, 2), (2, 3), (4, 5)])
    )


def test_new_pairs_have_no_score_and_no_cosine() -> None:
    known = pairs([(0, 1), (2, 3)])
    new = CachedPairs.unknown(CandidatePairs(6, known.left, known.right), 3)
    assert not new.conflict.any()
    assert new.score.tolist() == [0, 0]
    assert np.isnan(new.cosines).all()
    assert new.cosines.shape == (2, 3)


def test_pairs_come_back_from_their_file(tmp_path: Path) -> None:
    every = pairs([(0, 1), (0, 4), (2, 3)])
    every.save(tmp_path / "pairs.parquet")
    assert_same(CachedPairs.load(tmp_path / "pairs.parquet"), every)


def test_conflicts_reach_the_decision() -> None:
    known = pairs([(0, 1), (2, 3)])
    conflict = known.scored().conflict
    assert conflict is not None
    assert conflict.tolist() == [1, 0]
    column = attribute_columns(2, quantity=[1, 0], color=[1, 1])
    assert conflicts(PairFeatures(6, known.left, known.right, column)).tolist() == [9, 8]
    other = pd.DataFrame({"other": known.score})
    assert conflicts(PairFeatures(6, known.left, known.right, other)).tolist() == [0, 0]
