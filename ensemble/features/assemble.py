"""Puts the families of pair features together, for a pool in memory and for every pool of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ensemble.candidates import candidates_all, load_pairs, load_pool
from ensemble.config import EnsembleConfig, Family
from ensemble.features.attributes import of_attributes
from ensemble.features.branches import of_branches
from ensemble.features.images import of_images
from ensemble.features.titles import of_titles
from ensemble.pool_views import BranchView, PoolViews
from shared.pipeline.pools import Pool, all_pools, pool_inputs
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings
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


def load_features(run: Run, pool: Pool) -> Pairs:
    """The described pairs of a pool of a run."""
    return Pairs.load(run.open(f"ensemble/features/{pool.name}") / "pairs.parquet")


def features_all(run: Run, settings: Settings) -> None:
    """Every step of a run up to the pair features of all pools."""
    candidates_all(run, settings)
    for pool in all_pools(settings):
        features_stage(run, settings, pool)
