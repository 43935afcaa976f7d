"""Puts the families of pair features together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from ensemble.config import EnsembleConfig, Family, ScorerConfig
from ensemble.features.attributes import of_attributes
from ensemble.features.branches import of_branches
from ensemble.features.images import of_images
from ensemble.features.titles import of_titles
from ensemble.pool_views import BranchView, PoolViews
from shared.errors import MatcherError
from shared.schema import CATALOG_SCHEMA, Catalog, Embeddings, Floats, Pairs
from shared.search.exact import nearest

FAMILIES: dict[Family, Callable[[PoolViews, Pairs], dict[str, Floats]]] = {
    "branches": of_branches,
    "titles": of_titles,
    "attributes": of_attributes,
    "images": of_images,
}


def pair_features(pool: PoolViews, pairs: Pairs, families: Iterable[Family] = tuple(FAMILIES)) -> Pairs:
    """The same pairs with their features, float32 columns by name; NaN where a feature says nothing."""
    columns: dict[str, Floats] = {}
    for family in families:
        columns |= FAMILIES[family](pool, pairs)
    return Pairs(pairs.n, pairs.left, pairs.right, pd.DataFrame(columns))


def feature_names(branches: Iterable[str]) -> dict[Family, list[str]]:
    """The features of each family where these branches take part: family → columns of `pair_features`."""
    nothing = Embeddings(np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.bool_))
    view = BranchView(nothing, nearest(nothing, 1, np))
    nobody = PoolViews(Catalog(CATALOG_SCHEMA.empty_table()), dict.fromkeys(branches, view))
    rows = np.zeros(0, dtype=np.int32)
    return {name: list(family(nobody, Pairs(0, rows, rows))) for name, family in FAMILIES.items()}


def excluded_features(ensemble: EnsembleConfig, scorer: ScorerConfig) -> list[str]:
    """Return the names of the features that the pairs have and the scorer does without.

    Raises:
        MatcherError: It is to do without all of them.
    """
    if set(ensemble.features) <= set(scorer.leave_out):
        raise MatcherError("scorer.leave_out names every family of ensemble.features: nothing is left to learn from")
    families = feature_names(ensemble.branches)
    return [name for family in ensemble.features if family in scorer.leave_out for name in families[family]]
