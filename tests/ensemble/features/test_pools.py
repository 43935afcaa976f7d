"""What tells one kind of pool from another."""

from typing import Any

import numpy as np
import pytest

from ensemble.features.pools import nearness, of_pool
from ensemble.pool_views import BranchView, PoolViews, Surroundings, Words
from shared.schema import Candidates, Catalog, Embeddings


def view(n: int, links: dict[tuple[int, int], float]) -> BranchView:
    ends = np.array(sorted(links), dtype=np.int32).reshape(-1, 2)
    score = np.array([links[i, j] for i, j in sorted(links)], dtype=np.float32)
    rank = np.ones(len(links), dtype=np.int32)
    embeddings = Embeddings(np.ones((n, 1), np.float32), np.ones(n, dtype=bool))
    return BranchView(embeddings, Candidates(n, ends[:, 0].copy(), ends[:, 1].copy(), score, rank, rank))


@pytest.mark.parametrize("seed", range(5))
def test_quartiles_of_the_nearest_equal_naive(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links = {(i, j): float(rng.random()) for i in range(12) for j in range(i + 1, 12) if rng.random() < 0.2}
    best = [max((s for pair, s in links.items() if i in pair), default=None) for i in range(12)]
    expected = np.quantile(np.array([s for s in best if s is not None], dtype=np.float32), [0.25, 0.5, 0.75])
    assert nearness({"looks": view(12, links)})["looks"] == pytest.approx(expected)


def test_a_branch_without_candidates_says_nothing() -> None:
    pool = PoolViews(
        Catalog.from_columns({"posting_id": ["a", "b"]}), {"mute": view(2, {}), "looks": view(2, {(0, 1): 0.5})}
    )
    features = of_pool(pool, pool.branches["looks"].candidates)
    assert np.isnan(features["mute_pool_q1"]).all()
    assert features["looks_pool_q3"].tolist() == [0.5]
    assert {column.dtype for column in features.values()} == {np.dtype(np.float32)}


def test_a_part_of_a_pool_has_the_values_of_the_whole() -> None:
    looks = view(4, {(0, 1): 0.9, (2, 3): 0.25})
    words: Any = Words.of([""] * 4)
    part = Surroundings(words, looks.candidates, looks.candidates.similarity, nearness({"looks": looks}))
    small = view(2, {(0, 1): 0.9})
    pool = PoolViews(Catalog.from_columns({"posting_id": ["a", "b"]}), {"looks": small}, surroundings=part)
    whole = PoolViews(Catalog.from_columns({"posting_id": list("abcd")}), {"looks": looks})
    expected = of_pool(whole, looks.candidates)
    assert all(column[0] == expected[name][0] for name, column in of_pool(pool, small.candidates).items())


def test_branches_with_an_encoder_tell_nothing() -> None:
    looks = view(2, {(0, 1): 0.5})
    assert nearness({"image": looks, "distilbert": looks, "tfidf": looks, "phash": looks}).keys() == {"tfidf", "phash"}
