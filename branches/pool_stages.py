"""The stages that every branch does in each pool: its embeddings and its candidate pairs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from branches import registry
from branches.base import Branch
from branches.candidates import finished, is_approximate, propose, searcher_of, settled, without_copies
from branches.reuse import embed_reusing
from branches.stage_names import candidates_stage_name, embeddings_stage_name, encoder_stage_name
from shared.catalog.copies import copy_of
from shared.compute import ComputeConfig
from shared.pipeline.pools import (
    Pool,
    catalog_pool,
    count_listings,
    holdout_pool,
    load_catalog,
)
from shared.pipeline.shards import ranges
from shared.pipeline.stage import Inputs, Shards, Stage, StageConfig
from shared.schema import Candidates, Embeddings
from shared.search.cells import Cells
from shared.search.lists import NeighborLists, candidates_of

CELLS = "cells.safetensors"  # of a pool that is searched approximately in shards
APPROXIMATE = "approximate"  # file that says that a pool is searched approximately


def load_embeddings(folder: Path) -> Embeddings:
    """Return the embeddings that a stage wrote into its folder."""
    return Embeddings.load(folder / "embeddings.safetensors")


def load_candidates(folder: Path) -> Candidates:
    """Return the candidates that a stage wrote into its folder."""
    return Candidates.load(folder / "candidates.parquet")


def embeddings_stage(branch: Branch, pool: Pool, *, with_test: Collection[str]) -> Stage:
    """Return the stage that embeds a pool by a branch."""
    encoder = encoder_stage_name(branch.name, pool.encoder) if branch.learns else None
    holds_holdout = pool == catalog_pool(pool.source) and pool.source not in with_test
    reused = holdout_pool(pool.source) if branch.learns and holds_holdout else None
    reused_stages = () if reused is None else (reused.stage, embeddings_stage_name(branch.name, reused))
    return Stage(
        embeddings_stage_name(branch.name, pool),
        embed_pool,
        code=(registry.module_of(branch.name, "embed"), "branches.reuse"),
        reads=(pool.stage, *([encoder] if encoder else []), *reused_stages),
        settings=(branch.Config,),
        step="embed",
        parameters={"branch": branch.name, "pool": pool.stage, "encoder": encoder, "reused": list(reused_stages)},
        # Without an encoder, an embedder depends on the whole pool or takes hardly any time.
        shards=Shards(plan_rows, open_embedder, join_embeddings) if branch.learns else None,
    )


def plan_rows(inputs: Inputs, config: StageConfig, pool: str, **others: Any) -> Sequence[Any]:
    """Cut the listings of a pool into ranges of rows."""
    return ranges(count_listings(inputs[pool]), config[ComputeConfig].shard_rows)


def embed_pool(
    inputs: Inputs, config: StageConfig, out: Path, branch: str, pool: str, encoder: str | None, reused: Sequence[str]
) -> Mapping[str, Any]:
    """Embed the listings of a pool; embeddings that the same encoder has made for another pool are copied."""
    member, listings = registry.get(branch), load_catalog(inputs[pool])
    folder = None if encoder is None else inputs[encoder]
    embedder = member.fit(listings, folder, config[member.Config], config[ComputeConfig])
    done = [(load_catalog(inputs[reused[0]]), load_embeddings(inputs[reused[1]]))] if reused else []
    embeddings = embed_reusing(embedder, listings, done)
    embeddings.save(out / "embeddings.safetensors")
    return {"listings": len(embeddings), "with_evidence": int(embeddings.present.sum())}


def open_embedder(
    inputs: Inputs, config: StageConfig, branch: str, pool: str, encoder: str, reused: Sequence[str]
) -> Callable[[tuple[int, int], Path], object]:
    """Load an encoder; return the function that embeds a range of a pool's listings as `embed_pool` does all."""
    member, listings = registry.get(branch), load_catalog(inputs[pool])
    embedder = member.fit(listings, inputs[encoder], config[member.Config], config[ComputeConfig])
    done = [(load_catalog(inputs[reused[0]]), load_embeddings(inputs[reused[1]]))] if reused else []

    def embed(rows: tuple[int, int], out: Path) -> None:
        embeddings = embed_reusing(embedder, listings.take(np.arange(*rows)), done)
        embeddings.save(out / "embeddings.safetensors")

    return embed


def join_embeddings(
    inputs: Inputs, config: StageConfig, out: Path, shards: Sequence[Path], **others: Any
) -> Mapping[str, Any]:
    """Join the embeddings of ranges of a pool's listings."""
    parts = [load_embeddings(shard) for shard in shards]
    vectors, present = (np.concatenate([getattr(part, name) for part in parts]) for name in ("vectors", "present"))
    Embeddings(vectors, present).save(out / "embeddings.safetensors")
    return {"listings": len(present), "with_evidence": int(present.sum())}


def candidates_stage(branch: Branch, pool: Pool) -> Stage:
    """Return the stage that proposes pairs of a pool by a branch."""
    return Stage(
        candidates_stage_name(branch.name, pool),
        propose_pairs,
        code=("branches.candidates", "shared.catalog.copies", registry.module_of(branch.name, "config")),
        reads=(pool.stage, embeddings_stage_name(branch.name, pool)),
        settings=(branch.Config,),
        step="candidates",
        parameters={"branch": branch.name, "pool": pool.stage, "embeddings": embeddings_stage_name(branch.name, pool)},
        shards=Shards(plan_search, open_searcher, join_lists, prepare=prepare_search),
    )


def propose_pairs(
    inputs: Inputs, config: StageConfig, out: Path, branch: str, pool: str, embeddings: str
) -> Mapping[str, Any]:
    """Propose the pairs of a pool by a branch; of listings with equal content, one is searched."""
    section, copies = config[registry.get(branch).Config], copy_of(load_catalog(inputs[pool]))
    searched = without_copies(load_embeddings(inputs[embeddings]), copies)
    approximate = is_approximate(searched, section, config[ComputeConfig])
    candidates = propose(searched, settled(section, approximate=approximate), config[ComputeConfig])
    candidates.save(out / "candidates.parquet")
    return {"pairs": len(candidates), "search": "approximate" if approximate else None}


def plan_search(inputs: Inputs, config: StageConfig, pool: str, **others: Any) -> Sequence[Any]:
    """Cut the listings of a pool into ranges twice as long as `plan_rows`, since whole pools are searched faster."""
    return ranges(count_listings(inputs[pool]), 2 * config[ComputeConfig].shard_rows)


def prepare_search(inputs: Inputs, config: StageConfig, out: Path, branch: str, pool: str, embeddings: str) -> None:
    """Note whether a pool is searched approximately, with its cells if it is dense: the same for all its shards."""
    section, copies = config[registry.get(branch).Config], copy_of(load_catalog(inputs[pool]))
    searched = without_copies(load_embeddings(inputs[embeddings]), copies)
    if is_approximate(searched, section, config[ComputeConfig]):
        (out / APPROXIMATE).touch()
        if not issparse(searched.vectors):
            Cells.of(searched, config[ComputeConfig].cpu_threads).save(out / CELLS)


def open_searcher(
    inputs: Inputs, config: StageConfig, prepared: Path, branch: str, pool: str, embeddings: str
) -> Callable[[tuple[int, int], Path], object]:
    """Load what a search of a pool needs; return the function that finds the neighbors of a range of its listings."""
    section, copies = config[registry.get(branch).Config], copy_of(load_catalog(inputs[pool]))
    searched = without_copies(load_embeddings(inputs[embeddings]), copies)
    section, path = settled(section, approximate=(prepared / APPROXIMATE).exists()), prepared / CELLS
    searcher = searcher_of(searched, section, config[ComputeConfig], Cells.load(path) if path.exists() else None)
    return lambda rows, out: searcher.lists(np.arange(*rows)).save(out / "lists.parquet")


def join_lists(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    shards: Sequence[Path],
    prepared: Path,
    branch: str,
    pool: str,
    embeddings: str,
) -> Mapping[str, Any]:
    """Unite the neighbors of all listings of a pool into pairs."""
    lists, n = [NeighborLists.load(shard / "lists.parquet") for shard in shards], count_listings(inputs[pool])
    if (prepared / CELLS).exists():
        searched = without_copies(load_embeddings(inputs[embeddings]), copy_of(load_catalog(inputs[pool])))
        section = settled(config[registry.get(branch).Config], approximate=True)
        lists = [NeighborLists.joined(n, lists)]  # those of the shards need not stay in memory
        lists = [finished(lists[0], searched, section, config[ComputeConfig])]
    candidates = candidates_of(lists, n)
    candidates.save(out / "candidates.parquet")
    return {"pairs": len(candidates), "search": "approximate" if (prepared / APPROXIMATE).exists() else None}
