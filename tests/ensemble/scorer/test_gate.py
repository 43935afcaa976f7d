"""Of very many pairs, those that a gate drops score 0, and all others what they would score without it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from ensemble.features.assemble import Description
from ensemble.pool_views import PoolViews
from ensemble.scorer import gate
from ensemble.scorer.blocks import FirstScores
from ensemble.scorer.distribution import nearest_pairs
from ensemble.scorer.gate import first_scores, lowest_passing
from ensemble.scorer.model import Scorer, StackedScorer
from shared.schema import CandidatePairs

Make = Callable[..., Any]
LISTINGS = 150


@pytest.fixture(scope="module")
def pool(make_pool: Make, make_random_catalog: Make) -> PoolViews:
    listings: PoolViews = make_pool(make_random_catalog(LISTINGS, 5))
    return listings


@pytest.fixture(scope="module")
def pairs(every_pair: Make) -> CandidatePairs:
    listed: CandidatePairs = every_pair(LISTINGS)
    return listed


@pytest.fixture(scope="module")
def scorer(pool: PoolViews, pairs: CandidatePairs) -> StackedScorer:
    """Finds pairs the likelier, the nearer they are and the more alike their titles."""
    described = Description(pool, pairs).whole()
    features = described.features
    chance = 1 / (1 + np.exp(8 - 16 * features["all_cosine"] - features["title_ratio"] / 50))
    likely = np.random.default_rng(0).random(len(pairs)) < chance
    options = {"objective": "binary", "verbosity": -1, "num_threads": 1, "num_leaves": 7}
    return StackedScorer(Scorer(lgb.train(options, lgb.Dataset(features, likely), 60)))


@pytest.fixture
def whole(pool: PoolViews, pairs: CandidatePairs, scorer: StackedScorer) -> FirstScores:
    return first_scores(Description(pool, pairs), scorer, seed=0, threads=1)


@pytest.fixture
def gated(monkeypatch: pytest.MonkeyPatch, whole: FirstScores) -> None:
    """Every pool has very many pairs from here on."""
    monkeypatch.setattr(gate, "MOST", 1000)
    monkeypatch.setattr(gate, "SAMPLE", 6000)
    monkeypatch.setattr(gate, "BLOCK", 3000)


@pytest.mark.usefixtures("gated")
def test_hopeless_pairs_are_dropped_and_the_others_keep_their_scores(
    pool: PoolViews, pairs: CandidatePairs, scorer: StackedScorer, whole: FirstScores
) -> None:
    found = first_scores(Description(pool, pairs), scorer, seed=0, threads=1).scored
    dropped = found.score == 0
    assert 0.2 < dropped.mean() < 1
    assert np.array_equal(found.score[~dropped], whole.scored.score[~dropped])
    assert whole.scored.score[dropped].max() < gate.CERTAIN < whole.scored.score.max()
    assert found.key.tolist() == pairs.key.tolist()
    assert found.conflict is not None
    assert whole.scored.conflict is not None
    assert found.conflict.tobytes() == whole.scored.conflict.tobytes()


@pytest.mark.usefixtures("gated")
def test_the_nearest_pairs_of_all_listings_pass(
    pool: PoolViews, pairs: CandidatePairs, scorer: StackedScorer, whole: FirstScores
) -> None:
    found = first_scores(Description(pool, pairs), scorer, seed=0, threads=1)
    nearest = nearest_pairs(Description(pool, pairs).whole())
    assert np.array_equal(found.scored.score[nearest], whole.scored.score[nearest])
    assert found.compared.features.equals(whole.compared.features)


@pytest.mark.usefixtures("gated")
@pytest.mark.parametrize("threads", [2, 3])
def test_the_same_pairs_are_dropped_by_any_number_of_threads(
    pool: PoolViews, pairs: CandidatePairs, scorer: StackedScorer, threads: int
) -> None:
    one, several = (
        first_scores(Description(replace(pool, threads=count), pairs), scorer, seed=0, threads=count).scored
        for count in (1, threads)
    )
    assert one.score.tobytes() == several.score.tobytes()


@pytest.mark.usefixtures("gated")
def test_nothing_is_dropped_where_no_pair_matters(pool: PoolViews, pairs: CandidatePairs) -> None:
    features = Description(pool, pairs).block(slice(0, 500)).features
    never = lgb.train({"objective": "binary", "verbosity": -1}, lgb.Dataset(features, np.arange(500) < 0), 5)
    scored = first_scores(Description(pool, pairs), StackedScorer(Scorer(never)), seed=0, threads=1).scored
    assert (scored.score > 0).all()


def test_few_pairs_are_all_described(
    pool: PoolViews, pairs: CandidatePairs, scorer: StackedScorer, whole: FirstScores
) -> None:
    expected = scorer.first.score(Description(pool, pairs).whole(), 1).score
    assert whole.scored.score.tobytes() == expected.tobytes()


def test_lowest_passing_drops_one_in_a_thousand_that_matter_and_none_that_is_certain() -> None:
    raw = np.arange(2000, dtype=np.float64)
    likely = np.full(2000, 0.1, np.float32)
    assert lowest_passing(raw, likely) == 2
    likely[1] = 0.3
    assert lowest_passing(raw, likely) == 1
    likely[:500] = 0.001
    assert lowest_passing(raw, likely) == 501
