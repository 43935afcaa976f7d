"""Joins the families of pair features, for a pool in memory and for every pool of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble.candidates import candidates_all, load_pairs, load_pool
from ensemble.config import EnsembleConfig, Family
from ensemble.features.attributes import attribute_features
from ensemble.features.branches import of_branches
from ensemble.features.images import of_pictures
from ensemble.features.titles import of_titles
from ensemble.pool_views import BranchView, PoolViews
from shared.pipeline.pools import Pool, all_pools, pool_inputs
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings
from shared.schema import CATALOG_SCHEMA, CandidatePairs, Catalog, Embeddings, Floats, PairFeatures
from shared.search.exact import nearest

FAMILIES: dict[Family, Callable[[PoolViews, CandidatePairs], dict[str, Floats]]] = {
    "branches": of_branches,
    "titles": of_titles,
    "attributes": attribute_features,
    "pictures": of_pictures,
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
    """Return the names of the features of each family: family → columns of `pair_features` with these branches."""
    empty_pool = PoolViews(Catalog(CATALOG_SCHEMA.empty_table()), dict.fromkeys(branches, empty_view()))
    rows = np.zeros(0, dtype=np.int32)
    return {name: list(family(empty_pool, CandidatePairs(0, rows, rows))) for name, family in FAMILIES.items()}


def empty_view() -> BranchView:
    """Return a branch's view of a pool without listings."""
    embeddings = Embeddings(np.zeros((0, 1), dtype=np.float32), np.zeros(0, dtype=np.bool_))
    return BranchView(embeddings, nearest(embeddings, 1, np))


def features_stage(run: Run, settings: Settings, pool: Pool) -> None:
    """Describe the candidate pairs of one pool."""

    def work(out: Path) -> Mapping[str, Any]:
        described = pair_features(load_pool(run, settings, pool), load_pairs(run, pool), families)
        described.save(out / "pairs.parquet")
        return {"pairs": len(described), "features": described.features.shape[1]}

    names, families = settings[EnsembleConfig].branches, settings[EnsembleConfig].features
    inputs = pool_inputs(run, settings, pool)
    inputs["pairs"] = run.digest_of(f"ensemble/candidates/{pool.name}")
    for name in names:
        inputs |= {
            f"{name}/{step}": run.digest_of(f"{name}/{step}/{pool.name}") for step in ("embeddings", "candidates")
        }
    run.stage(
        f"ensemble/features/{pool.name}", "ensemble.features", inputs, {"branches": names, "features": families}, work
    )


def load_features(run: Run, pool: Pool) -> PairFeatures:
    """Return the pairs of a pool of a run with their features."""
    return PairFeatures.load(run.open(f"ensemble/features/{pool.name}") / "pairs.parquet")


def features_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the pair features of all pools."""
    candidates_all(run, settings)
    for pool in all_pools(settings):
        features_stage(run, settings, pool)
