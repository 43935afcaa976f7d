"""Joins the families of pair features."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from ensemble.config import EnsembleConfig, Family, ScorerConfig
from ensemble.features.attributes import attribute_features
from ensemble.features.branches import of_branches
from ensemble.features.images import of_images
from ensemble.features.pools import of_pool
from ensemble.features.titles import of_titles
from ensemble.pool_views import BranchView, PoolViews
from shared.errors import MatcherError
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Catalog, Embeddings, Floats, PairFeatures
from shared.search.exact import nearest

FAMILIES: dict[Family, Callable[[PoolViews, CandidatePairs], dict[str, Floats]]] = {
    "branches": of_branches,
    "titles": of_titles,
    "attributes": attribute_features,
    "images": of_images,
    "pool": of_pool,
}


def pair_features(pool: PoolViews, pairs: CandidatePairs, families: Iterable[Family] = tuple(FAMILIES)) -> PairFeatures:
    """Return the same pairs with their features, float32 columns by name; NaN means unknown.

    Args:
        pool: n listings with every branch's view of them.
        pairs: Pairs of these listings.
        families: Families of features, in the order of their columns.

    Examples:
        >>> table = CATALOG_SCHEMA.empty_table()
        >>> nobody = PoolViews(Catalog(table), {"tfidf": empty_view()})
        >>> no_rows = np.zeros(0, np.int32)
        >>> described = pair_features(nobody, CandidatePairs(0, no_rows, no_rows), ["branches"])
        >>> list(described.features)[:3]
        ['tfidf_cosine', 'tfidf_rank_low', 'tfidf_rank_high']
    """
    columns: dict[str, Floats] = {}
    for family in families:
        columns |= FAMILIES[family](pool, pairs)
    return PairFeatures(pairs.n, pairs.left, pairs.right, pd.DataFrame(columns, index=range(len(pairs))))


def feature_names(branches: Iterable[str]) -> dict[Family, list[str]]:
    """Return the names of the features of each family: family → columns of `pair_features` with these branches.

    Examples:
        >>> feature_names(["tfidf"])["images"][:2]
        ['image_equal', 'image_aspect_gap']
    """
    empty_pool = PoolViews(Catalog(CATALOG_SCHEMA.empty_table()), dict.fromkeys(branches, empty_view()))
    rows = np.zeros(0, dtype=np.int32)
    return {name: list(family(empty_pool, CandidatePairs(0, rows, rows))) for name, family in FAMILIES.items()}


def empty_view() -> BranchView:
    """Return a branch's view of a pool without listings.

    Examples:
        >>> len(empty_view().embeddings), len(empty_view().candidates)
        (0, 0)
    """
    embeddings = Embeddings(np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.bool_))
    return BranchView(embeddings, nearest(embeddings, 1, np))


def excluded_features(ensemble: EnsembleConfig, scorer: ScorerConfig) -> list[str]:
    """Return the names of the features that the pairs have and the scorer must not use.

    Raises:
        MatcherError: No feature would be left.

    Examples:
        >>> excluded_features(EnsembleConfig(), ScorerConfig(exclude_features=["images"]))[:2]
        ['image_equal', 'image_aspect_gap']
    """
    if set(ensemble.features) <= set(scorer.exclude_features):
        raise MatcherError("scorer.exclude_features names every family of ensemble.features: no feature is left")
    families = feature_names(ensemble.branches)
    return [name for family in ensemble.features if family in scorer.exclude_features for name in families[family]]
