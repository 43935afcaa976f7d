"""The stages of candidate pairs: united from the branches, and described by their features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from branches.pool_stages import load_candidates, load_embeddings
from branches.stage_names import candidates_stage_name, embeddings_stage_name
from ensemble.candidate_pairs import recall_by_branch, recall_by_rank, union
from ensemble.config import EnsembleConfig
from ensemble.features.assemble import Description
from ensemble.features.files import PAIRS_PER_FILE, described_files, file_name, read_pairs, write_blocks
from ensemble.pool_views import BranchView, PoolViews
from shared.artifacts import write_json
from shared.catalog.copies import copy_of
from shared.compute import ComputeConfig
from shared.metrics.matching import label_codes
from shared.pipeline.pools import (
    Pool,
    load_catalog,
)
from shared.pipeline.shards import ranges
from shared.pipeline.stage import Inputs, Shards, Stage, StageConfig
from shared.schema import CandidatePairs, PairFeatures


def candidates_name(pool: str) -> str:
    """Return the name of the stage with the candidate pairs of a pool."""
    return f"ensemble/candidates/{pool}"


def features_name(pool: str) -> str:
    """Return the name of the stage with the described pairs of a pool."""
    return f"ensemble/features/{pool}"


def candidates_stage(pool: Pool, names: Sequence[str]) -> Stage:
    """Return the stage that unites the candidates of some branches in a pool."""
    return Stage(
        candidates_name(pool.name),
        unite_candidates,
        code=("ensemble.candidate_pairs", "shared.catalog.copies", "shared.metrics.matching"),
        reads=(pool.stage, *(candidates_stage_name(name, pool) for name in names)),
        parameters={"pool": pool.name, "branches": list(names)},
    )


def unite_candidates(
    inputs: Inputs, config: StageConfig, out: Path, pool: str, branches: Sequence[str]
) -> Mapping[str, Any]:
    """Unite the branches' candidates of a pool, and say how many true pairs they hold where labels are known."""
    catalog = load_catalog(inputs[f"pools/{pool}"])
    proposals = {name: load_candidates(inputs[f"{name}/candidates/{pool}"]) for name in branches}
    pairs = union(proposals.values(), len(catalog))
    pairs.save(out / "pairs.parquet")
    if not any(label is not None for label in catalog.labels):
        return {"pairs": len(pairs)}
    codes, copies = label_codes(catalog.labels), copy_of(catalog)
    recalls = recall_by_branch(proposals, pairs, codes, copies)
    write_json(out / "recall.json", recalls | {"by_rank": recall_by_rank(proposals, codes, copies)})
    return {"pairs": len(pairs), "recall_of_true_pairs": recalls["union"]}


def features_stage(pool: Pool, names: Sequence[str]) -> Stage:
    """Return the stage that describes the candidate pairs of a pool."""
    views = [part(name, pool) for name in names for part in (embeddings_stage_name, candidates_stage_name)]
    return Stage(
        features_name(pool.name),
        describe_pairs,
        code=("ensemble.features.assemble", "ensemble.features.files"),
        reads=(pool.stage, candidates_name(pool.name), *views),
        settings=(EnsembleConfig,),
        parameters={"pool": pool.name},
        shards=Shards(plan_pairs, open_description, join_described),
    )


def describe_pairs(inputs: Inputs, config: StageConfig, out: Path, pool: str) -> Mapping[str, Any]:
    """Describe the candidate pairs of a pool by their features."""
    describe = open_description(inputs, config, pool)
    for shard in plan_pairs(inputs, config, pool):
        describe(shard, out)
    return join_described(inputs, config, out, [out], pool)


def plan_pairs(inputs: Inputs, config: StageConfig, pool: str) -> Sequence[Any]:
    """Cut the candidate pairs of a pool into the ranges of files of described pairs, each with the name of its file."""
    pairs = pq.read_metadata(inputs[f"ensemble/candidates/{pool}"] / "pairs.parquet").num_rows
    parts = ranges(pairs, PAIRS_PER_FILE) or [(0, 0)]
    return [(file_name(number), start, stop) for number, (start, stop) in enumerate(parts)]


def open_description(inputs: Inputs, config: StageConfig, pool: str) -> Callable[[tuple[str, int, int], Path], object]:
    """Work out what is of the whole pool; return the function that describes a range of its pairs in a file."""
    compute, ensemble = config[ComputeConfig], config[EnsembleConfig]
    views = {
        name: BranchView(
            load_embeddings(inputs[f"{name}/embeddings/{pool}"]), load_candidates(inputs[f"{name}/candidates/{pool}"])
        )
        for name in ensemble.branches
    }
    listings = PoolViews(load_catalog(inputs[f"pools/{pool}"]), views, compute.xp(), compute.cpu_threads)
    pairs = CandidatePairs.load(inputs[f"ensemble/candidates/{pool}"] / "pairs.parquet")
    description = Description(listings, pairs, ensemble.features)
    return lambda part, out: write_blocks(description.blocks(*part[1:]), out / part[0])


def join_described(
    inputs: Inputs, config: StageConfig, out: Path, shards: Sequence[Path], pool: str
) -> Mapping[str, Any]:
    """Take the files of all shards as they are."""
    files = [file.rename(out / file.name) for shard in shards for file in described_files(shard)]
    pairs = sum(pq.read_metadata(file).num_rows for file in files)
    return {"pairs": pairs, "features": len(pq.read_schema(files[0]).names) - 2}


def load_features(folder: Path) -> PairFeatures:
    """Return the described pairs that a stage wrote into its folder, all in memory."""
    return read_pairs(folder)
