"""Thinned pools: copies of the fold pools in which fewer products have several listings.

Listings are mostly labeled because they have a match, so a scorer learns from them that the nearest neighbor is one.
Most catalogs are not like that. Each fold pool is therefore also searched in copies in which only a share of the
products keep more than one listing. What depends on the pool (neighbors, ranks, densities, how rare a word is) is
computed again in each copy; the embeddings of trained encoders are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from branches import registry
from branches.candidates import propose
from branches.stages import embed_catalog, embeddings_stage_name, load_embeddings
from ensemble.candidate_pairs import union
from ensemble.config import EnsembleConfig
from ensemble.features.assemble import pair_features
from ensemble.pool_views import BranchView, PoolViews
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.pools import Pool, load_catalog
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import CandidatePairs, Catalog, Embeddings, PairFeatures

Rows = NDArray[np.int64]

_ROWS = "rows.parquet"  # the file with the rows of the pool that each copy keeps


def thin(codes: NDArray[np.integer], share: float, seed: int) -> Rows:
    """Return the rows that a thinned pool keeps, rising.

    Args:
        codes: Label code of each listing, int [n]; -1 where there is no label: such a listing stays.
        share: Share of the products that keep more than one listing, in [0, 1]: about half of these keep two, the
            others keep all.
        seed: Seed of the choice of products and listings.

    Examples:
        >>> codes = np.array([0, 0, 0, 1, 1, 2])
        >>> codes[thin(codes, share=0, seed=1)].tolist()
        [0, 1, 2]
    """
    rng = np.random.default_rng(seed)
    draw = rng.random(int(codes.max(initial=-1)) + 1)
    kept = np.where(draw < share / 2, len(codes), np.where(draw < share, 2, 1))
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]  # the listings of a product together, in random order
    code = codes[order]
    place = np.arange(len(code)) - np.searchsorted(code, code)  # among the listings of the product, from 0
    return np.sort(order[(code < 0) | (place < np.append(kept, 0)[code])])


def thinned_name(pool: str) -> str:
    """Return the name of the stage with the thinned copies of a fold pool.

    Examples:
        >>> thinned_name("fold0")
        'ensemble/thinned/fold0'
    """
    return f"ensemble/thinned/{pool}"


def thinned_stage(pool: Pool, names: Sequence[str], shares: Sequence[float], seed: int, name: str = "") -> Stage:
    """Return the stage that describes the candidate pairs of thinned copies of a labeled pool.

        thinned_stage(fold_pool(0), ["tfidf"], [0, 0.3], seed=0)

    Args:
        pool: The pool.
        names: The branches.
        shares: Share of the products with more than one listing, in each copy.
        seed: Seed of `thin`.
        name: Name of the stage; by default that of the pool.
    """
    branches = [registry.get(branch) for branch in names]
    embed = [registry.module_of(branch.name, "embed") for branch in branches if not branch.learns]
    return Stage(
        name or thinned_name(pool.name),
        describe_thinned_pools,
        code=("ensemble.features.assemble", "ensemble.candidate_pairs", "branches.candidates", *embed),
        reads=(pool.stage, *(embeddings_stage_name(branch.name, pool) for branch in branches if branch.learns)),
        settings=(EnsembleConfig, *(branch.Config for branch in branches)),
        step="candidates",
        parameters={"pool": pool.name, "branches": list(names), "shares": list(shares), "seed": seed},
    )


def describe_thinned_pools(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    pool: str,
    branches: Sequence[str],
    shares: Sequence[float],
    seed: int,
) -> Mapping[str, Any]:
    """Describe the candidate pairs of each thinned copy of a pool."""
    catalog = load_catalog(inputs[f"pools/{pool}"])
    codes = label_codes(catalog.labels)
    learned = {
        name: load_embeddings(inputs[f"{name}/embeddings/{pool}"]) for name in branches if registry.get(name).learns
    }
    rows = [thin(codes, share, seed + number) for number, share in enumerate(shares)]
    pairs = 0
    for number, kept in enumerate(rows):
        views = _views(catalog.take(kept), {name: of.take(kept) for name, of in learned.items()}, branches, config)
        described = pair_features(views, _proposed(views), config[EnsembleConfig].features)
        described.save(out / f"pairs{number}.parquet")
        pairs += len(described)
    copies = np.repeat(np.arange(len(rows)), [len(kept) for kept in rows])
    pq.write_table(pa.table({"copy": copies, "row": np.concatenate([np.zeros(0, np.int64), *rows])}), out / _ROWS)
    return {"copies": len(rows), "listings": len(copies), "pairs": pairs}


def _views(
    catalog: Catalog, learned: Mapping[str, Embeddings], branches: Sequence[str], config: StageConfig
) -> PoolViews:
    """Return every branch's view of a pool, some of whose embeddings are there already."""
    compute, views = config[ComputeConfig], {}
    for name in branches:
        branch = registry.get(name)
        section = config[branch.Config]
        embeddings = learned[name] if name in learned else embed_catalog(branch, catalog, None, section, compute)
        views[name] = BranchView(embeddings, propose(embeddings, section, compute))
    return PoolViews(catalog, views, compute.xp(), compute.cpu_threads)


def _proposed(pool: PoolViews) -> CandidatePairs:
    return union((view.candidates for view in pool.branches.values()), len(pool))


def load_thinned_pairs(folder: Path) -> list[PairFeatures]:
    """Return the described pairs of each copy, from the folder of its stage."""
    return [PairFeatures.load(folder / f"pairs{copy}.parquet") for copy in range(_count(folder))]


def load_thinned_codes(folder: Path, codes: NDArray[np.integer]) -> list[NDArray[np.integer]]:
    """Return the label codes of the listings of each copy, from the folder of its stage and the codes of the pool."""
    table = pq.read_table(folder / _ROWS)
    copies, rows = table["copy"].to_numpy(), table["row"].to_numpy()
    return [codes[rows[copies == copy]] for copy in range(_count(folder))]


def _count(folder: Path) -> int:
    return len(list(folder.glob("pairs*.parquet")))
