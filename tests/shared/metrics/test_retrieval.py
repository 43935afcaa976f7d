import json
import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.metrics.matching import row_scores
from shared.metrics.retrieval import DEPTH, NO_MATCH, Retrieval, retrieval, retrieval_of, row_f1_at
from shared.schema import Candidates, Embeddings, Matches
from shared.search.exact import nearest

Pool = tuple[Embeddings, list[int]]  # vectors, label code of each listing
Similar = dict[tuple[int, int], float]  # (listing, neighbor) → cosine


def unit(vectors: Any) -> Embeddings:
    """Rows of length 1; a row of zeros is a listing without evidence."""
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1)
    return Embeddings((vectors / np.where(norms > 0, norms, 1)[:, None]).astype(np.float32), norms > 0)


def at_angles(degrees: list[float]) -> Embeddings:
    return unit([[math.cos(math.radians(angle)), math.sin(math.radians(angle))] for angle in degrees])


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Few directions, so many ties; some rows of zeros, some labels missing."""
    n = draw(st.integers(1, 12))
    vectors = [draw(st.lists(st.integers(-1, 2), min_size=3, max_size=3)) for _ in range(n)]
    return unit(vectors), draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n))


def random_pool(n: int, seed: int, noise: float = 1.0) -> Pool:
    """Listings around the centers of their groups; one in ten has no evidence, one in ten no label."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, max(1, n // 4), n)
    vectors = rng.standard_normal((n, 16))[codes] + noise * rng.standard_normal((n, 16))
    codes[rng.random(n) < 0.1] = -1
    return unit(vectors * (rng.random(n) >= 0.1)[:, None]), codes.tolist()


# --- the definitions, one listing at a time --------------------------------------------------------------------------


def naive_similar(vectors: Embeddings) -> Similar:
    wide, n = vectors.vectors.astype(np.float64), len(vectors)
    cosines = {(i, j): float(np.round(np.float32(wide[i] @ wide[j]), 6)) for i in range(n) for j in range(n) if i != j}
    return {pair: cosine for pair, cosine in cosines.items() if cosine > 0}


def naive_proposed(similar: Similar, k: int) -> Similar:
    """Of every listing the neighbors of which fewer than k others are more similar."""
    n = 1 + max(i for i, _ in similar)
    lists = [[cosine for (a, _), cosine in similar.items() if a == i] for i in range(n)]
    return {(i, j): cosine for (i, j), cosine in similar.items() if sum(other > cosine for other in lists[i]) < k}


def naive_lists(proposed: Similar, codes: list[int]) -> tuple[float, float]:
    """Recall@1 and mAP@20."""
    first, precisions = [], []
    for i, code in enumerate(codes):
        true = {j for j, other in enumerate(codes) if other == code >= 0 and j != i}
        if not true:
            continue
        ranked = sorted((j for a, j in proposed if a == i), key=lambda j: (-proposed[i, j], j in true))[:20]
        first.append(bool(ranked) and ranked[0] in true)
        found = [len(true.intersection(ranked[: at + 1])) / (at + 1) for at, j in enumerate(ranked) if j in true]
        precisions.append(sum(found) / min(20, len(true)))
    return (float(np.mean(first)), float(np.mean(precisions))) if first else (math.nan, math.nan)


def naive_row_f1(proposed: Similar, codes: list[int], threshold: float) -> float:
    scores = []
    for i, code in enumerate(codes):
        if code < 0:
            continue
        others = {j for j, other in enumerate(codes) if other >= 0} - {i}
        predicted = {i} | {j for j in others if max(proposed.get((i, j), -1), proposed.get((j, i), -1)) >= threshold}
        true = {j for j, other in enumerate(codes) if other == code}
        precision, recall = len(predicted & true) / len(predicted), len(predicted & true) / len(true)
        scores.append(2 * precision * recall / (precision + recall))
    return float(np.mean(scores)) if scores else math.nan


def check(found: Retrieval, candidates: Candidates, proposed: Similar, codes: list[int]) -> None:
    assert found.pool_size == len(codes)
    assert (found.recall_at_1, found.map_at_20) == pytest.approx(naive_lists(proposed, codes), nan_ok=True)
    values = sorted(set(proposed.values()))
    curve = [naive_row_f1(proposed, codes, threshold) for threshold in [*values, 2.0]]
    assert found.row_f1 == pytest.approx(max(curve), nan_ok=True)
    assert found.row_f1 == pytest.approx(naive_row_f1(proposed, codes, found.threshold), nan_ok=True)
    if not math.isnan(found.row_f1):  # of equals the highest
        best = max(at for at, f1 in enumerate(curve) if f1 > max(curve) - 1e-9)
        assert np.searchsorted(values, found.threshold) == best
    judged = [row_f1_at(candidates, np.array(codes), threshold) for threshold in [*values, 2.0]]
    assert judged == pytest.approx(curve, nan_ok=True)


@settings(deadline=None, max_examples=300)
@given(pools())
@example((unit([[1, 0], [1, 0], [1, 0]]), [0, 0, 1]))
@example((unit([[0, 0], [0, 0]]), [0, 0]))
@example((unit([[1, 0], [1, 1]]), [-1, -1]))
@example((unit([[1, 0]]), [0]))
def test_retrieval_equals_naive(pool: Pool) -> None:
    vectors, codes = pool
    candidates = nearest(vectors, 50, np)
    check(retrieval(vectors, np.array(codes)), candidates, naive_similar(vectors), codes)


@pytest.mark.parametrize(("n", "k"), [(30, 2), (40, 5), (50, 21)])
def test_only_nearest_neighbors_may_match(n: int, k: int) -> None:
    vectors, codes = random_pool(n, seed=n)
    candidates = nearest(vectors, k, np)
    check(retrieval_of(candidates, np.array(codes)), candidates, naive_proposed(naive_similar(vectors), k), codes)


def test_retrieval_searches_fifty_neighbors() -> None:
    vectors, codes = random_pool(120, seed=0)
    assert retrieval(vectors, np.array(codes)) == retrieval_of(nearest(vectors, 50, np), np.array(codes))
    alike = at_angles(np.linspace(0, 40, 120).tolist())  # of one group of 120, fifty are proposed by either
    found = retrieval(alike, np.zeros(120, dtype=np.int64))
    assert found.row_f1 == pytest.approx(naive_row_f1(naive_proposed(naive_similar(alike), 50), [0] * 120, 0))
    assert found.map_at_20 == found.recall_at_1 == 1


# --- known answers ---------------------------------------------------------------------------------------------------


def test_retrieval_perfect_pool() -> None:
    found = retrieval(at_angles([0, 10, 90, 110, 180]), np.array([0, 0, 1, 1, 2]))
    far, near = math.cos(math.radians(70)), math.cos(math.radians(20))  # 110° to 180°, 90° to 110°
    assert found == Retrieval(5, 1.0, 1.0, 1.0, pytest.approx((far + near) / 2, abs=1e-6))


def test_average_precision_of_known_list() -> None:
    codes = np.array([0, 1, 0, 1, 0])  # seen from the first, its group is at ranks 2 and 4
    candidates = nearest(at_angles([0, 10, 30, 50, 75]), 50, np)
    mine = retrieval_of(candidates, np.where(codes == 1, [0, 7, 0, 8, 0], codes))
    firsts = (1 / 2 + 2 / 4) / 2, (1 / 3 + 2 / 4) / 2, (1 / 2 + 2 / 4) / 2  # from 0°, from 30°, from 75°
    assert mine.map_at_20 == pytest.approx(np.mean(firsts))
    assert mine.recall_at_1 == 0


def test_average_precision_of_group_beyond_rank_20() -> None:
    spread = at_angles(np.linspace(0, 30, DEPTH + 10).tolist())
    assert retrieval(spread, np.zeros(DEPTH + 10, dtype=np.int64)).map_at_20 == 1


def test_identical_embeddings_find_nothing() -> None:
    found = retrieval(unit([[1, 0]] * 12), np.repeat([0, 1, 2], 4))
    assert found.recall_at_1 == 0
    assert found.map_at_20 < 0.3


@pytest.mark.parametrize("seed", range(3))
def test_retrieval_for_any_order_of_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, codes = unit(rng.integers(-1, 3, (40, 3))), rng.integers(-1, 10, 40)
    order = rng.permutation(40)
    mixed = retrieval(Embeddings(vectors.vectors[order], vectors.present[order]), codes[order])
    expected = retrieval(vectors, codes)
    assert mixed.threshold == expected.threshold
    assert list(mixed.to_json().values()) == pytest.approx(list(expected.to_json().values()))


# --- what is judged --------------------------------------------------------------------------------------------------


def test_listing_without_evidence_is_a_miss() -> None:
    seen = at_angles([0, 5, 90])
    vectors = Embeddings(
        np.vstack([np.asarray(seen.vectors), np.zeros((1, 2), np.float32)]), np.array([True] * 3 + [False])
    )
    found = retrieval(vectors, np.array([0, 0, 1, 1]))
    assert (found.recall_at_1, found.map_at_20) == (0.5, 0.5)
    assert found.row_f1 == pytest.approx((1 + 1 + 2 / 3 + 2 / 3) / 4)


def test_unlabeled_listing_is_searched() -> None:
    known = retrieval(at_angles([0, 20, 90]), np.array([0, 0, 1]))
    assert (known.recall_at_1, known.row_f1) == (1, 1)
    between = retrieval(at_angles([0, 20, 90, 10]), np.array([0, 0, 1, -1]))
    assert between == Retrieval(4, 0.0, 0.5, 1.0, between.threshold)  # it takes a place among the neighbors


def test_retrieval_without_true_pairs() -> None:
    found = retrieval(at_angles([0, 10, 20]), np.array([0, 1, 2]))
    assert math.isnan(found.recall_at_1)
    assert math.isnan(found.map_at_20)
    assert (found.row_f1, found.threshold) == (1, NO_MATCH)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False)) == {
        "pool_size": 3,
        "recall_at_1": None,
        "map_at_20": None,
        "row_f1": 1.0,
        "threshold": NO_MATCH,
    }


def test_retrieval_without_labels() -> None:
    found = retrieval(at_angles([0, 10]), np.array([-1, -1]))
    assert [found.recall_at_1, found.map_at_20, found.row_f1] == pytest.approx([math.nan] * 3, nan_ok=True)


# --- the threshold ---------------------------------------------------------------------------------------------------


@pytest.mark.fault(13)
@pytest.mark.parametrize("seed", range(4))
def test_threshold_selects_same_pairs_when_saved(seed: int) -> None:
    vectors, codes = random_pool(80, seed)
    candidates = nearest(vectors, 50, np)
    found = retrieval_of(candidates, np.array(codes))
    assert found.threshold not in candidates.similarity.astype(np.float64)
    saved = json.loads(json.dumps(found.to_json()))["threshold"]
    assert row_f1_at(candidates, np.array(codes), saved) == found.row_f1
    kept = candidates.similarity >= saved
    pairs = np.stack([candidates.left[kept], candidates.right[kept]])
    listing, match = np.hstack([pairs, pairs[::-1]])
    order = np.lexsort((match, listing))
    as_matches = Matches(80, listing[order], match[order], np.ones(len(listing), dtype=np.float32))
    assert found.row_f1 == pytest.approx(np.nanmean(row_scores(as_matches, np.array(codes))[:, 2]))


@pytest.mark.fault(13)
def test_threshold_between_nearly_equal_similarities() -> None:
    ends = np.array(list(combinations(range(3), 2)), dtype=np.int32)
    low = np.float32(0.75)
    similarity = np.array([np.nextafter(low, np.float32(1)), low, low], dtype=np.float32)
    ranks = np.ones(3, dtype=np.int32)
    candidates = Candidates(3, ends[:, 0].copy(), ends[:, 1].copy(), similarity, ranks, ranks)
    found = retrieval_of(candidates, np.array([0, 0, 1]))
    assert float(low) < found.threshold < float(similarity[0])
    assert found.row_f1 == row_f1_at(candidates, np.array([0, 0, 1]), found.threshold) == 1


def test_row_f1_at_another_pools_threshold() -> None:
    one, other = (random_pool(100, seed, noise) for seed, noise in ((1, 0.6), (2, 1.2)))
    own = retrieval(other[0], np.array(other[1]))
    foreign = retrieval(one[0], np.array(one[1])).threshold
    assert row_f1_at(nearest(other[0], 50, np), np.array(other[1]), foreign) < own.row_f1


@pytest.mark.fault(13)
def test_threshold_of_equals_is_highest() -> None:
    falling = {(2, 3): 0.9, (1, 2): 0.8, (2, 4): 0.7, (1, 4): 0.6, (0, 3): 0.5}  # -1/3, -4/15, then +3/5: sum 1e-16
    ends = np.array(sorted(falling), dtype=np.int32)
    cosine = np.array([falling[i, j] for i, j in ends.tolist()], dtype=np.float32)
    ranks = np.ones(5, dtype=np.int32)
    candidates = Candidates(5, ends[:, 0].copy(), ends[:, 1].copy(), cosine, ranks, ranks)
    found = retrieval_of(candidates, np.array([1, 0, 2, 0, 2]))
    assert found.threshold == NO_MATCH
    assert found.row_f1 == pytest.approx(row_f1_at(candidates, np.array([1, 0, 2, 0, 2]), 0.65))
