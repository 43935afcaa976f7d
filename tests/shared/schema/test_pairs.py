from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.schema import (
    CandidatePairs,
    Candidates,
    Matches,
    PairFeatures,
    ScoredPairs,
    locate,
    pair_key,
)
from tests.support.stored import assert_equal, floats, reloaded, rows

# --- Candidates ------------------------------------------------------------------------------------------------------

CONFLICT = np.array([1, 0, 9], dtype=np.uint8)


def candidates(**changes: Any) -> Candidates:
    good = {
        "n": 4,
        "left": rows(0, 0, 2),
        "right": rows(1, 3, 3),
        "similarity": floats(0.5, -1, 1),
        "rank_left": rows(1, 0, 2),
        "rank_right": rows(0, 1, 2),
    }
    return Candidates(**(good | changes))


BAD_PAIRS = [
    {"left": rows(1, 0, 2)},  # left = right
    {"left": rows(3, 0, 2)},  # left > right
    {"left": rows(-1, 0, 2)},  # faiss pads with −1
    {"right": rows(1, 3, 4)},  # outside of the pool
    {"left": rows(0, 0, 0), "right": rows(1, 3, 3)},  # twice
    {"left": rows(0, 2, 0), "right": rows(1, 3, 3)},  # not sorted by left
    {"left": rows(0, 0, 2), "right": rows(3, 1, 3)},  # not sorted by right
    {"left": np.array([0, 0, 2])},  # int64
    {"left": rows(0, 2)},  # length
    {"n": 3},
]


@pytest.mark.fault(12)
@pytest.mark.parametrize(
    "changes",
    [
        *BAD_PAIRS,
        {"similarity": floats(0.5, np.nan, 1)},
        {"similarity": floats(0.5, 1.1, 1)},
        {"similarity": floats(0.5, -np.inf, 1)},
        {"similarity": floats(0.5, 1)},
        {"similarity": np.array([0.5, -1, 1])},
        {"rank_left": rows(1, 0, -1)},
        {"rank_left": rows(0, 0, 2)},  # no rank on either side
        {"rank_left": np.array([1, 0, 2])},
        {"rank_right": rows(0, 1)},
    ],
)
def test_candidates_refuse_what_their_description_forbids(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"pair|differ|similarit|rank"):
        candidates(**changes)


def test_candidates_come_back_as_saved(tmp_path: Path) -> None:
    none = Candidates(0, rows(), rows(), floats(), rows(), rows())
    for made in (candidates(), none):
        assert_equal(made, reloaded(made, tmp_path))


# --- pairs -----------------------------------------------------------------------------------------------------------


def bare(**changes: Any) -> CandidatePairs:
    return CandidatePairs(**({"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3)} | changes))


def described(**changes: Any) -> PairFeatures:
    table = pd.DataFrame({"image similarity": floats(0, np.nan, 1), "f:odd": floats(1, 2, 3)})
    return PairFeatures(**({"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3), "features": table} | changes))


def scored(**changes: Any) -> ScoredPairs:
    good = {"n": 4, "left": rows(0, 0, 2), "right": rows(1, 3, 3), "score": floats(0, 0.25, 1)}
    return ScoredPairs(**(good | changes))


@pytest.mark.parametrize("make", [bare, described, scored])
@pytest.mark.parametrize("changes", BAD_PAIRS)
def test_pairs_refuse_bad_rows(make: Callable[..., CandidatePairs], changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="pair"):
        make(**changes)


@pytest.mark.parametrize(
    "features",
    [
        pd.DataFrame({"a": floats(1, 2)}),
        pd.DataFrame({"a": [1.0, 2.0, 3.0]}),  # float64
    ],
)
def test_pair_features_refuse_a_bad_frame(features: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="features"):
        described(features=features)


@pytest.mark.parametrize(
    "changes",
    [
        {"score": floats(0, 0.5)},
        {"score": floats(0, 0.5, 1.5)},
        {"score": floats(0, -0.5, 1)},
        {"score": floats(0, np.nan, 1)},
        {"score": np.array([0.0, 0.5, 1.0])},  # float64
        {"conflict": np.array([1, 0], dtype=np.uint8)},
        {"conflict": np.array([True, False, True])},
    ],
)
def test_scored_pairs_refuse_bad_columns(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"scores|conflicts"):
        scored(**changes)


SOME_PAIRS = [
    bare(),
    described(),
    described(features=pd.DataFrame(index=range(3))),
    scored(),
    scored(conflict=CONFLICT),
    CandidatePairs(1, rows(), rows()),
    PairFeatures(1, rows(), rows(), pd.DataFrame({"a": floats()})),
    ScoredPairs(1, rows(), rows(), floats(), np.zeros(0, dtype=np.uint8)),
]


@pytest.mark.parametrize("made", SOME_PAIRS, ids=lambda made: f"{type(made).__name__}-{len(made)}")
def test_pairs_come_back_as_saved(made: CandidatePairs, tmp_path: Path) -> None:
    assert_equal(made, reloaded(made, tmp_path))


@pytest.mark.parametrize("made", [bare(), described(), scored(conflict=CONFLICT), candidates()])
def test_only_keeps_all_columns_of_some_pairs(made: CandidatePairs) -> None:
    keep = np.array([True, False, True])
    some = made.only(keep)
    assert type(some) is type(made)
    for name, column in vars(made).items():
        expected = column[keep].reset_index(drop=True) if isinstance(column, pd.DataFrame) else column
        expected = column[keep] if isinstance(column, np.ndarray) else expected
        np.testing.assert_array_equal(getattr(some, name), expected)


def test_load_refuses_pairs_without_features_or_scores(tmp_path: Path) -> None:
    bare().save(tmp_path / "pairs")
    assert list(PairFeatures.load(tmp_path / "pairs").features) == []
    with pytest.raises(KeyError, match="score"):
        ScoredPairs.load(tmp_path / "pairs")


def test_load_refuses_a_foreign_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"left": [1]}), tmp_path / "foreign")
    with pytest.raises((KeyError, TypeError)):
        CandidatePairs.load(tmp_path / "foreign")


@pytest.mark.fault(12)
def test_pair_key_does_not_overflow_int32() -> None:
    assert pair_key(rows(100_000), rows(100_001), 200_000).tolist() == [100_000 * 200_000 + 100_001]


@given(st.sets(st.integers(0, 20)), st.lists(st.integers(0, 20)))
def test_locate_equals_a_naive_look_up(among: set[int], wanted: list[int]) -> None:
    keys = np.array(sorted(among), dtype=np.int64)
    position, is_there = locate(np.array(wanted, dtype=np.int64), keys)
    assert is_there.tolist() == [key in among for key in wanted]
    assert keys[position[is_there]].tolist() == [key for key in wanted if key in among]


# --- Matches ---------------------------------------------------------------------------------------------------------


def matches(**changes: Any) -> Matches:
    good = {
        "n": 5,
        "listing": rows(0, 0, 0, 3, 3),
        "match": rows(4, 1, 2, 2, 0),
        "score": floats(0.9, 0.5, 0.5, 0.1, np.nan),
    }
    return Matches(**(good | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"match": rows(0, 1, 2, 2, 0)},  # of itself
        {"match": rows(4, 1, 2, 2, 5)},  # outside of the pool
        {"match": rows(4, 1, 2, 2, -1)},
        {"match": rows(4, 1, 1, 2, 0)},  # twice
        {"match": rows(1, 4, 1, 2, 0)},  # twice, at different scores
        {"match": rows(4, 2, 1, 2, 0)},  # equal scores, the higher row first
        {"score": floats(0.4, 0.5, 0.5, 0.1, np.nan)},  # worse ones first
        {"score": floats(0.9, 0.5, 0.5, np.nan, 0.1)},  # without a score first
        {"score": floats(1.9, 0.5, 0.5, 0.1, np.nan)},
        {"score": floats(0.9, 0.5, 0.5, -0.1, np.nan)},
        {"score": floats(0.9, 0.5)},
        {"listing": rows(0, 0, 3, 0, 3)},
        {"n": 4},
    ],
)
def test_matches_refuse_what_their_description_forbids(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"match|scores|differ|negative"):
        matches(**changes)


def test_matches_give_one_list_for_every_listing() -> None:
    assert [found.tolist() for found in matches().lists()] == [[4, 1, 2], [], [], [2, 0], []]
    assert [len(found) for found in Matches(2, rows(), rows(), floats()).lists()] == [0, 0]
    assert Matches(0, rows(), rows(), floats()).lists() == []
