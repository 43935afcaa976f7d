"""The stages that thin the fold pools (`thinning.py`), and how their outputs are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from branches import registry
from branches.pool_stages import load_embeddings
from branches.stage_names import embeddings_stage_name
from ensemble.config import EnsembleConfig
from ensemble.thinning import described_pool, kinds_of, thin
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.pools import Pool, load_catalog
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import PairFeatures

_ROWS = "rows.parquet"  # the file with the rows of the pool that each thinned pool keeps


def thinned_name(pool: str) -> str:
    """Return the name of the stage that thins a fold pool.

    Examples:
        >>> thinned_name("fold0")
        'ensemble/thinned/fold0'
    """
    return f"ensemble/thinned/{pool}"


def thinned_stage(pool: Pool, names: Sequence[str], shares: Sequence[float], seed: int, name: str = "") -> Stage:
    """Return the stage that describes the candidate pairs of thinned pools.

        thinned_stage(fold_pool(0), ["tfidf"], [0, 0.3], seed=0)

    Args:
        pool: The labeled pool to thin.
        names: The branches.
        shares: Share of the products with more than one listing, in each thinned pool.
        seed: Seed of `thin`.
        name: Name of the stage; by default that of the pool.
    """
    branches = [registry.get(branch) for branch in names]
    embed = [registry.module_of(branch.name, "embed") for branch in branches if not branch.learns]
    configs = [registry.module_of(branch.name, "config") for branch in branches]
    return Stage(
        name or thinned_name(pool.name),
        describe_thinned_pools,
        code=("ensemble.thinning", "shared.metrics.matching", *embed, *configs),
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
    """Describe the candidate pairs of each pool that is thinned from a labeled one."""
    catalog = load_catalog(inputs[f"pools/{pool}"])
    codes = label_codes(catalog.labels)
    learned = {
        name: load_embeddings(inputs[f"{name}/embeddings/{pool}"]) for name in branches if registry.get(name).learns
    }
    configs = {name: config[registry.get(name).Config] for name in branches}
    families, compute = config[EnsembleConfig].features, config[ComputeConfig]
    kinds, pairs = kinds_of(shares), 0
    kept = [thin(codes, share, seed + number, part) for number, (share, part) in enumerate(kinds)]
    for number, rows in enumerate(kept):
        embeddings = {name: whole.take(rows) for name, whole in learned.items()}
        described = described_pool(catalog.take(rows), embeddings, configs, families, compute)
        described.save(out / f"pairs{number}.parquet")
        pairs += len(described)
    pools = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
    pq.write_table(pa.table({"pool": pools, "row": np.concatenate(kept)}), out / _ROWS)
    return {"pools": len(kept), "listings": len(pools), "pairs": pairs}


def load_thinned_pairs(folder: Path) -> list[PairFeatures]:
    """Return the described pairs of each thinned pool, from the folder of its stage."""
    return [PairFeatures.load(folder / f"pairs{number}.parquet") for number in range(_count(folder))]


def load_thinned_rows(folder: Path) -> list[NDArray[np.int64]]:
    """Return the rows of the fold pool that each thinned pool keeps, from the folder of its stage."""
    table = pq.read_table(folder / _ROWS)
    pools, rows = table["pool"].to_numpy(), table["row"].to_numpy()
    return [rows[pools == number] for number in range(_count(folder))]


def _count(folder: Path) -> int:
    return len(list(folder.glob("pairs*.parquet")))
