"""A few pairs of a large pool, described in a part of it, are described as in the whole of it."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from ensemble.features.assemble import pair_features
from ensemble.index.pair_cache import CachedPairs
from ensemble.index.subgraph import Whole
from ensemble.matcher import Matcher
from ensemble.pool_views import BranchView, PoolViews, Surroundings, Words
from shared.schema import CandidatePairs, Catalog, PairFeatures

Make = Callable[..., Any]


class Describer:
    """The part of a matcher that describes pairs; notes how many listings it was given."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def pool(self, catalog: Catalog, views: dict[str, BranchView], surroundings: Surroundings) -> PoolViews:
        return PoolViews(catalog, views, surroundings=surroundings)

    def describe(self, pool: PoolViews, pairs: CandidatePairs) -> PairFeatures:
        self.sizes.append(len(pool))
        return pair_features(pool, pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.02, 0.4, 1.0])
def test_features_in_a_part_are_those_in_the_whole(
    make_pool: Make, make_random_catalog: Make, proposed: Make, seed: int, share: float
) -> None:
    pool = make_pool(make_random_catalog(60, seed))
    every: CandidatePairs = proposed(pool)
    expected = pair_features(pool, every)
    some = np.random.default_rng(seed).random(len(every)) < share
    cosines = expected.features[[f"{name}_cosine" for name in pool.branches]].to_numpy().copy()
    cosines[some] = 7  # of pairs to describe they are computed
    score = np.zeros(len(every), dtype=np.float32)
    pairs = CachedPairs(
        60, every.left, every.right, score=score, first=score, cosines=cosines, conflict=score.astype(np.uint8)
    )
    describer = Describer()
    whole = Whole(cast(Matcher, describer), pool.catalog, pool.branches, Words.of(pool.titles))
    found = whole.described(pairs, some)
    assert (found.n, found.left.tolist()) == (60, every.left[some].tolist())
    pd.testing.assert_frame_equal(found.features, expected.only(some).features, check_exact=False, rtol=1e-6, atol=1e-6)
    if share < 0.1:
        assert describer.sizes[0] < 60
