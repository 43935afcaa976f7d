"""A matched pool of a few random listings, made in memory."""

from collections.abc import Callable
from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from branches.base import BranchConfig
from branches.candidates import without_copies
from ensemble.decision.decision import Decision
from ensemble.explain.explained_pool import ExplainedPool
from ensemble.features.assemble import pair_features
from ensemble.features.conflicts import conflict_mask
from ensemble.match_result import MatchResult
from ensemble.pool_views import BranchView, PoolViews
from ensemble.scorer.model import Scorer, StackedScorer
from shared.catalog.copies import copy_of
from shared.schema import CandidatePairs, Catalog
from shared.search.exact import nearest

NEIGHBORS = 4
Change = Callable[..., ExplainedPool]


@pytest.fixture(scope="session")
def matched(
    make_random_catalog: Callable[..., Catalog],
    make_pool: Callable[..., PoolViews],
    proposed: Callable[[PoolViews], CandidatePairs],
) -> ExplainedPool:
    """Sixty listings, two of equal content; the scorer takes those with much the same words for the same product."""
    listings = make_random_catalog(60)
    twice = {
        name: [values[0], values[0], *values[2:]]
        for name in ("title", "image_sha")
        for values in [listings.column(name)]
    }
    listings = listings.with_columns(twice)
    copies, whole = copy_of(listings), make_pool(listings)
    views = PoolViews(
        listings,
        {
            name: BranchView(view.embeddings, nearest(without_copies(view.embeddings, copies), NEIGHBORS, np))
            for name, view in whole.branches.items()
        },
    )
    described = pair_features(views, proposed(views), ["branches", "titles", "attributes"])
    alike = (described.features["title_token_set_ratio"] > 80).to_numpy()
    data = lgb.Dataset(described.features, alike)
    scorer = StackedScorer(
        Scorer(lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, "learning_rate": 0.3}, data, 20))
    )
    scored = scorer.score(described, threads=1)
    assert conflict_mask(described) is not None
    decision = Decision("average_link", 0.5)
    result = MatchResult.from_scores(decision, views.catalog, scored)
    configs = {name: BranchConfig(neighbors=NEIGHBORS) for name in views.branches}
    return ExplainedPool(views, described, scorer, decision, result, configs)


@pytest.fixture(scope="session")
def decided(matched: ExplainedPool) -> Change:
    """Returns the same pool after another decision."""

    def decide(decision: Decision) -> ExplainedPool:
        result = MatchResult.from_scores(decision, matched.views.catalog, matched.result.scored_pairs)
        return replace(matched, decision=decision, result=result)

    return decide


@pytest.fixture(scope="session")
def rows_where() -> Callable[..., tuple[int, int]]:
    """Returns two listings, each standing for itself alone, of which a condition on their rows holds."""

    def find(pool: ExplainedPool, condition: Callable[[int, int], bool]) -> tuple[int, int]:
        unique = np.flatnonzero(np.bincount(pool.copies, minlength=len(pool)) == 1).tolist()
        return next((a, b) for a in unique for b in unique if a < b and condition(a, b))

    return find
