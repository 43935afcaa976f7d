from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.metrics.matching import (
    b3_f1,
    count_true_pairs,
    group_sizes,
    label_codes,
    measure,
    row_f1,
    row_scores,
    same_product,
)
from shared.schema import Matches

Sets = list[set[int]]  # of each listing, the others that it matches
Judged = tuple[Sets, list[int], list[int]]  # matches, group of each listing, label code of each listing


def matches_of(found: Sets) -> Matches:
    rows = [(listing, match) for listing, others in enumerate(found) for match in sorted(others)]
    listing, match = np.array(rows, dtype=np.int32).reshape(-1, 2).T
    return Matches(len(found), listing, match, np.ones(len(rows), dtype=np.float32))


@st.composite
def judged(draw: st.DrawFn, least_label: int = -1) -> Judged:
    """Matches that need not be symmetric, groups that need not agree with them, labels of which some are missing."""
    n = draw(st.integers(1, 9))
    row = st.integers(0, n - 1)
    found = [draw(st.sets(row, max_size=n)) - {i} for i in range(n)]
    groups = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    codes = draw(st.lists(st.integers(least_label, 3), min_size=n, max_size=n))
    return found, groups, codes if max(codes) >= 0 else [0, *codes[1:]]


# --- the textbook's definitions, one listing at a time ---------------------------------------------------------------


def f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def naive_rows(found: Sets, codes: list[int]) -> list[tuple[float, float, float] | None]:
    """(precision, recall, F1) of predicted against true sets of labeled listings; both hold the listing itself."""
    scores: list[tuple[float, float, float] | None] = []
    labeled = {i for i, code in enumerate(codes) if code >= 0}
    for i, code in enumerate(codes):
        predicted, true = found[i] & labeled | {i}, {j for j, other in enumerate(codes) if other == code}
        precision, recall = len(predicted & true) / len(predicted), len(predicted & true) / len(true)
        scores.append((precision, recall, f1(precision, recall)) if code >= 0 else None)
    return scores


def naive_pairs(found: Sets, codes: list[int]) -> tuple[float, float]:
    known = [i for i, code in enumerate(codes) if code >= 0]
    predicted = {(i, j) for i, j in combinations(known, 2) if j in found[i] or i in found[j]}
    true = {(i, j) for i, j in combinations(known, 2) if codes[i] == codes[j]}
    hits = len(predicted & true)
    return hits / len(predicted) if predicted else 1.0, hits / len(true) if true else 1.0


def naive_b3(groups: list[int], codes: list[int]) -> float:
    """Bagga & Baldwin (1998): precision and recall of each listing's group, averaged over listings."""
    known = [i for i, code in enumerate(codes) if code >= 0]
    precision, recall = [], []
    for i in known:
        mine, true = {j for j in known if groups[j] == groups[i]}, {j for j in known if codes[j] == codes[i]}
        precision.append(len(mine & true) / len(mine))
        recall.append(len(mine & true) / len(true))
    return f1(float(np.mean(precision)), float(np.mean(recall)))


@settings(deadline=None)
@given(judged())
def test_row_scores_equal_naive(data: Judged) -> None:
    found, _, codes = data
    expected = [row or (np.nan,) * 3 for row in naive_rows(found, codes)]
    assert np.allclose(row_scores(matches_of(found), np.array(codes)), expected, rtol=0, atol=1e-12, equal_nan=True)


@settings(deadline=None)
@given(judged())
@example(([{1}, {0}, set()], [0, 0, 1], [0, 0, 1]))
def test_measure_equals_naive(data: Judged) -> None:
    found, groups, codes = data
    metrics = measure(matches_of(found), np.array(groups), np.array(codes))
    rows = np.array([row for row in naive_rows(found, codes) if row])
    assert metrics.pool_size == len(codes)
    assert [metrics.row_precision, metrics.row_recall, metrics.row_f1] == pytest.approx(rows.mean(axis=0))
    pair_precision, pair_recall = naive_pairs(found, codes)
    assert (metrics.pair_precision, metrics.pair_recall) == pytest.approx((pair_precision, pair_recall))
    assert metrics.pair_f1 == pytest.approx(f1(pair_precision, pair_recall))
    assert metrics.b3_f1 == pytest.approx(naive_b3(groups, codes))
    assert row_f1(matches_of(found), np.array(codes)) == pytest.approx(metrics.row_f1)


@settings(deadline=None)
@given(judged(least_label=0), st.randoms(use_true_random=False))
def test_measure_for_any_order_of_listings(data: Judged, random: object) -> None:
    found, groups, codes = data
    order = list(range(len(codes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    place = {old: new for new, old in enumerate(order)}
    shuffled = [{place[j] for j in found[i]} for i in order]
    again = measure(matches_of(shuffled), np.array(groups)[order], np.array(codes)[order])
    assert again.to_json() == pytest.approx(measure(matches_of(found), np.array(groups), np.array(codes)).to_json())


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_measure_by_hand() -> None:
    # Groups {0, 1, 2} and {3, 4}. 0 finds 1; 1 finds 0 and 3; 2 nothing; 3 finds 4; 4 finds 3.
    found, codes = [{1}, {0, 3}, set(), {4}, {3}], np.array([0, 0, 0, 1, 1])
    rows = row_scores(matches_of(found), codes)
    assert rows[:, 0].tolist() == pytest.approx([1, 2 / 3, 1, 1, 1])
    assert rows[:, 1].tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 3, 1, 1])
    assert rows[:, 2].tolist() == pytest.approx([0.8, 2 / 3, 0.5, 1, 1])
    metrics = measure(matches_of(found), np.array([0, 0, 1, 0, 0]), codes)
    assert (metrics.pair_precision, metrics.pair_recall) == (2 / 3, 0.5)  # 01 and 34 of 01, 13, 34; of 01, 02, 12, 34
    assert metrics.pair_f1 == pytest.approx(4 / 7)
    precision, recall = (4 * 0.5 + 1) / 5, (2 * 2 / 3 + 1 / 3 + 2) / 5
    assert metrics.b3_f1 == pytest.approx(f1(precision, recall))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([set(), set(), set()], 1.0),  # a singleton without a match is right
        ([{1}, set(), set()], (2 / 3 + 1 + 1) / 3),  # and wrong by what it finds
        ([{1, 2}, {0, 2}, {0, 1}], 0.5),
    ],
)
def test_row_f1_of_singletons(found: Sets, expected: float) -> None:
    assert row_f1(matches_of(found), np.array([0, 1, 2])) == pytest.approx(expected)


def test_pair_recall_without_true_pairs() -> None:
    metrics = measure(matches_of([set(), set()]), np.array([0, 1]), np.array([0, 1]))
    assert metrics.to_json() == dict.fromkeys(metrics.to_json(), 1.0) | {"pool_size": 2}


def test_measure_with_nothing_right() -> None:
    metrics = measure(matches_of([{1}, {0}, {3}, {2}]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    assert (metrics.pair_precision, metrics.pair_recall, metrics.pair_f1) == (0, 0, 0)


def test_measure_skips_unlabeled_listings() -> None:
    codes = np.array([0, 0, -1, -1])
    right, groups = [{1}, {0}, {3}, {2}], np.array([0, 0, 1, 1])
    rows = row_scores(matches_of(right), codes)
    assert np.isnan(rows[2:]).all()
    assert (rows[:2] == 1).all()
    metrics = measure(matches_of(right), groups, codes)
    assert metrics.row_f1 == metrics.pair_f1 == metrics.b3_f1 == 1


def test_match_with_an_unlabeled_listing_is_not_judged() -> None:
    codes = np.array([0, 0, -1])
    rows = row_scores(matches_of([{1, 2}, {0, 2}, {0, 1}]), codes)
    assert (rows[:2] == 1).all()
    assert row_scores(matches_of([{2}, {2}, {0, 1}]), codes)[0].tolist() == pytest.approx([1, 1 / 2, 2 / 3])


def test_group_sizes_of_unlabeled_listings() -> None:
    assert group_sizes(np.array([-1, 0, -1, 0, 1])).tolist() == [0, 2, 0, 2, 1]
    assert group_sizes(np.array([-1, -1])).tolist() == [0, 0]


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=12))
def test_same_product_and_true_pairs_equal_naive(codes: list[int]) -> None:
    pairs = list(combinations(range(len(codes)), 2))
    expected = [codes[i] == codes[j] != -1 for i, j in pairs]
    left, right = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    assert same_product(left, right, np.array(codes)).tolist() == expected
    assert count_true_pairs(np.array(codes)) == sum(expected)


def test_label_codes() -> None:
    labels = np.array(["b", None, "a", "b", ""], dtype=object)
    assert label_codes(labels).tolist() == [0, -1, 1, 0, 2]
    assert label_codes(np.array([], dtype=object)).tolist() == []


@pytest.mark.parametrize("number", [lambda g: g, lambda g: g[::-1] * 1000, lambda g: g + 2**33])
def test_b3_for_any_group_numbers(number: Callable[[np.ndarray], np.ndarray]) -> None:
    groups, codes = np.array([0, 0, 1, 1, 0]), np.array([0, 1, 1, 0, 0])
    names = number(np.arange(2))
    assert b3_f1(names[groups], codes) == pytest.approx(naive_b3(groups.tolist(), codes.tolist()))


def test_measure_pool_of_one() -> None:
    assert set(measure(matches_of([set()]), np.array([0]), np.array([0])).to_json().values()) == {1}


def test_measure_large_pool_is_fast() -> None:
    n = 200_000
    left = np.arange(0, n, 2, dtype=np.int32)
    listing = np.arange(n, dtype=np.int32)
    matches = Matches(n, listing, listing ^ 1, np.ones(n, dtype=np.float32))
    groups = np.repeat(left.astype(np.int64), 2)
    assert measure(matches, groups, groups).row_f1 == 1
