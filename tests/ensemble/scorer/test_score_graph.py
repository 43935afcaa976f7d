from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from ensemble.scorer import score_graph
from ensemble.scorer.score_graph import LEAST, of_scores
from shared.schema import Pairs

Make = Callable[..., Any]


def random_scores(n: int, share: float, seed: int) -> Pairs:
    rng = np.random.default_rng(seed)
    ends = np.array([pair for pair in combinations(range(n), 2) if rng.random() < share], dtype=np.int32).reshape(-1, 2)
    score = rng.beta(0.4, 0.8, len(ends)).astype(np.float32)
    return Pairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score=score)


def matrix(pairs: Pairs) -> np.ndarray:
    """All links that lead somewhere, seen from both ends."""
    assert pairs.score is not None
    score = np.zeros((pairs.n, pairs.n))
    score[pairs.left, pairs.right] = np.where(pairs.score >= LEAST, pairs.score, 0)
    return score + score.T


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_paths_and_bridge_go_over_every_third_listing(share: float) -> None:
    pairs = random_scores(30, share, seed=1)
    features, score = of_scores(pairs, np), matrix(pairs)
    expected_paths = (score @ score)[pairs.left, pairs.right]
    expected_bridge = np.minimum(score[pairs.left], score[pairs.right]).max(axis=1, initial=0)
    assert features["score_paths"] == pytest.approx(expected_paths, rel=1e-5, abs=1e-6)
    assert features["score_bridge"] == pytest.approx(expected_bridge, rel=1e-6)
    assert np.array_equal(features["score"], pairs.score)


@pytest.mark.parametrize("widest", [1, 3])
def test_only_the_best_links_of_a_listing_are_followed(monkeypatch: pytest.MonkeyPatch, widest: int) -> None:
    monkeypatch.setattr(score_graph, "WIDEST", widest)
    pairs = random_scores(15, 0.8, seed=2)
    score = matrix(pairs)
    best = np.sort(score, axis=1)[:, ::-1][:, widest - 1]
    followed = np.where(score >= best[:, None], score, 0)  # from the listing in the middle
    assert of_scores(pairs, np)["score_paths"] == pytest.approx(
        (followed.T @ followed)[pairs.left, pairs.right], rel=1e-5, abs=1e-6
    )


def test_a_weak_pair_with_a_strong_go_between_shows_it() -> None:
    ends = np.array([[0, 1], [0, 2], [1, 2], [3, 4]], dtype=np.int32)
    pairs = Pairs(5, ends[:, 0].copy(), ends[:, 1].copy(), score=np.array([0.4, 0.9, 0.8, 0.4], dtype=np.float32))
    features = of_scores(pairs, np)
    assert features["score_paths"].tolist() == pytest.approx([0.72, 0.32, 0.36, 0])
    assert features["score_bridge"].tolist() == pytest.approx([0.8, 0.4, 0.4, 0])


@pytest.mark.parametrize("seed", range(3))
def test_features_do_not_depend_on_the_order_of_the_listings(seed: int) -> None:
    n = 25
    pairs = random_scores(n, 0.4, seed)
    assert pairs.score is not None
    place = np.random.default_rng(seed).permutation(n).astype(np.int32)  # old row → new row
    ends = np.sort(np.stack([place[pairs.left], place[pairs.right]]), axis=0)
    order = np.lexsort(ends[::-1])
    left, right = ends[:, order]
    moved = Pairs(n, left, right, score=pairs.score[order])
    expected, found = of_scores(pairs, np), of_scores(moved, np)
    for name, column in expected.items():
        assert found[name] == pytest.approx(column[order], rel=1e-6, nan_ok=True), name


@pytest.mark.parametrize("n", [0, 1, 5])
def test_without_pairs_there_are_the_same_columns(n: int) -> None:
    none, some = of_scores(random_scores(n, 0.0, 0), np), of_scores(random_scores(9, 0.5, 0), np)
    assert list(none) == list(some)
    assert all(column.shape == (0,) and column.dtype == np.float32 for column in none.values())


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = random_scores(40, 0.3, 3)
    expected = of_scores(pairs, np)
    corners = score_graph._corners
    monkeypatch.setattr(score_graph, "_corners", lambda start: corners(start, most=50))
    for name, column in of_scores(pairs, np).items():
        assert column == pytest.approx(expected[name], rel=1e-6, nan_ok=True)
