from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from ensemble.scorer import score_graph
from ensemble.scorer.score_graph import MIN_SCORE, score_graph_features
from shared.schema import ScoredPairs

Make = Callable[..., Any]


def random_scores(n: int, share: float, seed: int) -> ScoredPairs:
    rng = np.random.default_rng(seed)
    ends = np.array([pair for pair in combinations(range(n), 2) if rng.random() < share], dtype=np.int32).reshape(-1, 2)
    score = rng.beta(0.4, 0.8, len(ends)).astype(np.float32)
    return ScoredPairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score=score)


def matrix(pairs: ScoredPairs) -> np.ndarray:
    """All links that lead somewhere, seen from both ends."""
    score = np.zeros((pairs.n, pairs.n))
    score[pairs.left, pairs.right] = np.where(pairs.score >= MIN_SCORE, pairs.score, 0)
    return score + score.T


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_path_features_equal_matrix_product(share: float) -> None:
    pairs = random_scores(30, share, seed=1)
    features, score = score_graph_features(pairs, np), matrix(pairs)
    expected_paths = (score @ score)[pairs.left, pairs.right]
    expected_bridge = np.minimum(score[pairs.left], score[pairs.right]).max(axis=1, initial=0)
    assert features["score_paths"] == pytest.approx(expected_paths, rel=1e-5, abs=1e-6)
    assert features["score_bridge"] == pytest.approx(expected_bridge, rel=1e-6)
    assert np.array_equal(features["score"], pairs.score)


@pytest.mark.parametrize("widest", [1, 3])
def test_only_best_links_are_followed(monkeypatch: pytest.MonkeyPatch, widest: int) -> None:
    monkeypatch.setattr(score_graph, "MAX_LINKS", widest)
    pairs = random_scores(15, 0.8, seed=2)
    score = matrix(pairs)
    best = np.sort(score, axis=1)[:, ::-1][:, widest - 1]
    followed = np.where(score >= best[:, None], score, 0)  # from the listing in the middle
    assert score_graph_features(pairs, np)["score_paths"] == pytest.approx(
        (followed.T @ followed)[pairs.left, pairs.right], rel=1e-5, abs=1e-6
    )


def test_weak_pair_with_strong_third_listing() -> None:
    ends = np.array([[0, 1], [0, 2], [1, 2], [3, 4]], dtype=np.int32)
    pairs = ScoredPairs(5, ends[:, 0].copy(), ends[:, 1].copy(), score=np.array([0.4, 0.9, 0.8, 0.4], dtype=np.float32))
    features = score_graph_features(pairs, np)
    assert features["score_paths"].tolist() == pytest.approx([0.72, 0.32, 0.36, 0])
    assert features["score_bridge"].tolist() == pytest.approx([0.8, 0.4, 0.4, 0])


@pytest.mark.fault(14)
@pytest.mark.parametrize("seed", range(3))
def test_features_for_any_order_of_listings(seed: int) -> None:
    n = 25
    pairs = random_scores(n, 0.4, seed)
    place = np.random.default_rng(seed).permutation(n).astype(np.int32)  # old row → new row
    ends = np.sort(np.stack([place[pairs.left], place[pairs.right]]), axis=0)
    order = np.lexsort(ends[::-1])
    moved = ScoredPairs(n, ends[0, order], ends[1, order], pairs.score[order])
    expected, found = score_graph_features(pairs, np), score_graph_features(moved, np)
    for name, column in expected.items():
        assert found[name] == pytest.approx(column[order], rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("n", [0, 1, 5])
def test_features_without_pairs(n: int) -> None:
    none, some = score_graph_features(random_scores(n, 0.0, 0), np), score_graph_features(random_scores(9, 0.5, 0), np)
    assert list(none) == list(some)
    assert all(column.shape == (0,) and column.dtype == np.float32 for column in none.values())


def test_features_for_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_scores(40, 0.3, 3)
    expected = score_graph_features(pairs, np)
    corners = score_graph._corners
    monkeypatch.setattr(score_graph, "_corners", lambda start: corners(start, block_size=50))
    for name, column in score_graph_features(pairs, np).items():
        assert column == pytest.approx(expected[name], rel=1e-6, nan_ok=True)
