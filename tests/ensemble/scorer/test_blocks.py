"""Pairs are scored and compared with the training a block at a time, as all at once."""

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from ensemble.scorer.blocks import FirstScores, score_blocks
from ensemble.scorer.experience import Experience, compared_pairs
from ensemble.scorer.model import Scorer, StackedScorer, describe_scores
from shared.schema import PairFeatures, ScoredPairs


def described(n: int, seed: int, *, has_ranks: bool = True) -> PairFeatures:
    rng = np.random.default_rng(seed)
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    table = pd.DataFrame({"cosine": rng.random(len(left)), "length": rng.normal(seed, 1, len(left))})
    if has_ranks:
        table["all_rank_low"] = rng.integers(1, 4, len(left))
    return PairFeatures(n, left, right, table.astype(np.float32))


def blocks_of(pairs: PairFeatures, size: int) -> list[PairFeatures]:
    place = np.arange(len(pairs)) // size
    return [pairs.only(place == block) for block in range(place[-1] + 1)]


@pytest.fixture(scope="module", params=[True, False], ids=["ranks", "no ranks"])
def trained(request: pytest.FixtureRequest) -> tuple[StackedScorer, Experience, PairFeatures]:
    pairs, other = (described(40, seed, has_ranks=request.param) for seed in (0, 1))
    options = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 4}
    match = pairs.features["cosine"] + 0.1 * pairs.features["length"] > 0.8
    first = Scorer(lgb.train(options, lgb.Dataset(pairs.features, match), 20))
    around = describe_scores(first.score(pairs, 1), np)
    second = Scorer(lgb.train(options, lgb.Dataset(around.features, match), 20))
    experience = Experience.of_pools([pairs, other], [0, 1], first.importance())
    return StackedScorer(first, second), experience, described(45, 2, has_ranks=request.param)


@pytest.mark.parametrize("size", [1, 13, 10_000])
def test_blocks_of_any_size_get_the_same_scores(
    trained: tuple[StackedScorer, Experience, PairFeatures], size: int
) -> None:
    scorer, experience, pairs = trained
    scored, unlikeness = score_blocks(blocks_of(pairs, size), scorer, experience, threads=1)
    assert scored.score.tobytes() == scorer.score(pairs, threads=1).score.tobytes()
    assert len(set(scored.score.tolist())) > 10
    assert unlikeness == experience.compare(pairs, scorer.first.importance())
    assert unlikeness.distance > 0


def test_kept_of_a_block_are_the_nearest_pairs(trained: tuple[StackedScorer, Experience, PairFeatures]) -> None:
    scorer, _, pairs = trained
    kept = compared_pairs(pairs, scorer.first.importance())
    ranks = pairs.features.get("all_rank_low", pd.Series(1, index=range(len(pairs))))
    assert len(kept) == int((ranks == 1).sum())
    assert FirstScores.of(pairs, scorer, 1).compared.features.equals(kept.features)


def test_parts_with_conflicts_are_joined() -> None:
    rows = np.array([[0, 0, 1], [1, 2, 2]], np.int32)
    pairs = ScoredPairs(3, rows[0], rows[1], np.array([0.1, 0.2, 0.3], np.float32), np.array([1, 0, 4], np.uint8))
    parts = [pairs.only(np.arange(3) == row) for row in range(3)]
    joined = ScoredPairs.concat(parts)
    assert joined.conflict is not None
    assert joined.conflict.tolist() == [1, 0, 4]
    assert joined.score.tolist() == pairs.score.tolist()
