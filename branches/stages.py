"""The stages that every branch goes through: encoders, embeddings and candidates of each pool."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from branches import registry
from branches.base import Branch, BranchConfig
from branches.candidates import is_approximate, propose, searcher_of, without_copies
from branches.reuse import embed_reusing
from shared.artifacts import digest, file_digest
from shared.catalog.config import DataConfig
from shared.catalog.copies import copy_of
from shared.catalog.extra_data import Extra, extras_of, join, layout_of, read_extra, reading_of
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.pipeline.catalog_stages import SPLIT, TRAIN
from shared.pipeline.pools import (
    ALL,
    Pool,
    all_pools,
    catalog_pool,
    count_listings,
    fold_pools,
    holdout_pool,
    load_catalog,
    load_split,
    save_catalog,
    training_rows,
)
from shared.pipeline.settings import Settings
from shared.pipeline.shards import ranges
from shared.pipeline.stage import Inputs, Shards, Stage, StageConfig
from shared.schema import Candidates, Catalog, Embeddings
from shared.search.cells import Cells
from shared.search.lists import NeighborLists, candidates_of

CELLS = "cells.safetensors"  # of a pool that is searched approximately in shards
APPROXIMATE = "approximate"  # file that says that a pool is searched approximately
PRETRAINED_SAMPLE = 5000  # listings of a catalog without labels that its encoders are fitted to


def encoder_stage_name(branch: str, encoder: str) -> str:
    """Return the name of the stage that trains an encoder (`fold0`, …, or `all`) of a branch.

    Examples:
        >>> encoder_stage_name("image", "fold0")
        'image/encoder/fold0'
    """
    return f"{branch}/encoder/{encoder}"


def embeddings_stage_name(branch: str, pool: Pool) -> str:
    """Return the name of the stage that embeds a pool by a branch.

    Examples:
        >>> embeddings_stage_name("image", holdout_pool())
        'image/embeddings/holdout'
    """
    return f"{branch}/embeddings/{pool.name}"


def candidates_stage_name(branch: str, pool: Pool) -> str:
    """Return the name of the stage that proposes pairs of a pool by a branch.

    Examples:
        >>> candidates_stage_name("image", holdout_pool())
        'image/candidates/holdout'
    """
    return f"{branch}/candidates/{pool.name}"


def new_catalog_encoders(names: Sequence[str]) -> list[str]:
    """Return the stages with the encoders that new catalogs are embedded with, for some branches.

    Examples:
        >>> new_catalog_encoders(["image", "tfidf"])
        ['image/encoder/all']
    """
    return [encoder_stage_name(name, ALL) for name in names if registry.get(name).learns]


def load_embeddings(folder: Path) -> Embeddings:
    """Return the embeddings that a stage wrote into its folder."""
    return Embeddings.load(folder / "embeddings.safetensors")


def load_candidates(folder: Path) -> Candidates:
    """Return the candidates that a stage wrote into its folder."""
    return Candidates.load(folder / "candidates.parquet")


def unlabeled_stages(name: str, encoder: Stage | None) -> list[Stage]:
    """Return the stages of a branch in a run without labels: its encoder, embeddings and candidates of the catalog.

        unlabeled_stages("image", pretrained_stage("image", settings))

    Args:
        name: The branch.
        encoder: The stage with its encoder `all`; None for a branch that does not learn.

    Raises:
        MatcherError: There is no such branch.
    """
    branch, pool = registry.get(name), catalog_pool()
    embeddings = _embeddings_stage(branch, pool, with_test=[pool.source])  # no holdout to reuse embeddings of
    return [*([] if encoder is None else [encoder]), embeddings, candidates_stage(branch, pool)]


def branch_stages(name: str, settings: Settings, *, with_test: Collection[str]) -> list[Stage]:
    """Return all stages of a branch for every pool of a run.

        branch_stages("image", settings, with_test=[])

    Args:
        name: The branch.
        settings: Settings of the run.
        with_test: Names of the sources of which the run matches a test table, not the labeled listings.

    Raises:
        MatcherError: There is no such branch, or extra data that it is to learn from is missing.
    """
    branch, folds, sources = registry.get(name), settings[SplitConfig].folds, settings[DataConfig].sources
    stages: list[Stage] = []
    if branch.learns:
        config = settings[branch.Config]
        for extra in extras_of(config):
            layout_of(extra.path)  # raises an error before hours of another training if the data is missing
        encoders = [*(pool.encoder for pool in fold_pools(folds)), ALL]
        unseen = [catalog_pool(source).stage for source in with_test]
        stages += [_encoder_stage(branch, config, encoder, unseen if encoder == ALL else ()) for encoder in encoders]
    pools = all_pools(folds, sources)
    stages += [_embeddings_stage(branch, pool, with_test=with_test) for pool in pools]
    return [*stages, *(candidates_stage(branch, pool) for pool in pools)]


# --- extra data to learn from ----------------------------------------------------------------------------------------


def extra_stages(names: Sequence[str], settings: Settings) -> list[Stage]:
    """Return the stages that read the extra data that some branches learn from, each data set once."""
    extras = [extra for name in names for extra in extras_of(settings[registry.get(name).Config])]
    return [_extra_stage(extra, settings[ComputeConfig]) for extra in dict.fromkeys(extras)]


def _extra_stage(extra: Extra, compute: ComputeConfig) -> Stage:
    return Stage(
        extra.stage,
        read_extra_data,
        code=("shared.catalog.extra_data",),
        parameters={"path": str(extra.path), "name": extra.name},
        sources=partial(_extra_sources, extra.path, compute),
    )


def _extra_sources(path: Path, compute: ComputeConfig) -> Mapping[str, str]:
    reading = reading_of(path, compute)
    return {**reading.sources, "layout": reading.layout, "image folder": str(reading.images)}


def read_extra_data(inputs: Inputs, config: StageConfig, out: Path, path: str, name: str) -> Mapping[str, Any]:
    """Read extra data to learn from into a catalog of its own."""
    catalog, reading = read_extra(Path(path), name, config[ComputeConfig])
    save_catalog(catalog, out)
    return {
        "layout": reading.layout,
        "listings": len(catalog),
        "products": len(set(catalog.labels)),
        "with_image": int(catalog.has_image.sum()),
        "with_title": int((catalog.titles != "").sum()),
        **{label.replace(" ", "_"): count for label, count in reading.metrics.items()},
    }


# --- encoders --------------------------------------------------------------------------------------------------------


def _encoder_stage(branch: Branch, config: BranchConfig, encoder: str, tests: Sequence[str]) -> Stage:
    extras = tuple(extra.stage for extra in extras_of(config))
    unseen = tests if extras else ()
    return Stage(
        encoder_stage_name(branch.name, encoder),
        train_encoder,
        code=(
            registry.module_of(branch.name, "train"),
            "shared.pipeline.pools",  # which rows an encoder may see
            *(("shared.catalog.extra_data",) if extras else ()),
        ),
        reads=(TRAIN, SPLIT, *extras, *unseen),
        settings=(branch.Config, ComputeConfig),
        step="train",
        parameters={"branch": branch.name, "encoder": encoder, "extras": list(extras), "unseen": list(unseen)},
        sources=partial(_weights, config),
        distributed=True,
    )


def pretrained_stage(name: str, settings: Settings) -> Stage | None:
    """Return the stage with the encoder of a branch as it comes, which no label taught; None if it does not learn."""
    branch, pool = registry.get(name), catalog_pool()
    if not branch.learns:
        return None
    return Stage(
        encoder_stage_name(name, ALL),
        prepare_pretrained,
        code=(registry.module_of(name, "train"),),
        reads=(pool.stage,),
        settings=(branch.Config, ComputeConfig),
        step="train",
        parameters={"branch": name, "pool": pool.stage, "sample": PRETRAINED_SAMPLE},
        sources=partial(_weights, settings[branch.Config]),
    )


def prepare_pretrained(
    inputs: Inputs, config: StageConfig, out: Path, branch: str, pool: str, sample: int
) -> Mapping[str, Any]:
    """Write the pretrained encoder of a branch, fitted to a random sample of a catalog as far as that needs no labels.

    Every listing counts as a product of its own there, so that no two of them are to be alike.
    """
    member, catalog = registry.get(branch), load_catalog(inputs[pool])
    rows = np.random.default_rng(config[ComputeConfig].seed).permutation(len(catalog))[:sample]
    listings = catalog.take(np.sort(rows))
    alone = listings.with_columns({"label_group": listings.ids.tolist()})
    components = np.arange(len(alone), dtype=np.int32)
    metrics = member.train(alone, components, config[member.Config], config[ComputeConfig], out)
    return {name: value for name, value in metrics.items() if name != "steps"}


def _weights(config: ConfigSection) -> Mapping[str, str]:
    """Return digests of the files in folders that settings name, such as pretrained weights: setting → digest."""
    paths = {key: Path(value).expanduser() for key, value in config if isinstance(value, str) and value}
    folders = {key: path for key, path in paths.items() if path.is_dir()}
    return {
        key: digest({str(path.relative_to(folder)): file_digest(path) for path in folder.rglob("*") if path.is_file()})
        for key, folder in folders.items()
    }


def train_encoder(
    inputs: Inputs,
    config: StageConfig,
    out: Path,
    branch: str,
    encoder: str,
    extras: Sequence[str],
    unseen: Sequence[str],
) -> Mapping[str, Any]:
    """Train an encoder on the listings that it may see, and on extra data without listings that it is measured on."""
    member, split = registry.get(branch), load_split(inputs["split"])
    all_labeled, rows = load_catalog(inputs["catalog/train"]), training_rows(split, encoder)
    catalog, component = all_labeled.take(rows), split.component[rows]
    join_metrics: Mapping[str, Any] = {}
    if extras:
        rest = all_labeled.take(np.setdiff1d(np.arange(len(all_labeled)), rows))
        hidden = [rest, *(load_catalog(inputs[name]) for name in unseen)]
        catalog, component, join_metrics = join(catalog, [load_catalog(inputs[name]) for name in extras], hidden)
    metrics = member.train(catalog, component, config[member.Config], config[ComputeConfig], out)
    return {**metrics, **join_metrics}


# --- embeddings and candidates ---------------------------------------------------------------------------------------


def _embeddings_stage(branch: Branch, pool: Pool, *, with_test: Collection[str]) -> Stage:
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
    section, searched = config[registry.get(branch).Config], _searched(inputs, pool, embeddings)
    candidates = propose(searched, section, config[ComputeConfig])
    candidates.save(out / "candidates.parquet")
    approximate = is_approximate(searched, section, config[ComputeConfig])
    return {"pairs": len(candidates), "search": "approximate" if approximate else None}


def plan_search(inputs: Inputs, config: StageConfig, pool: str, **others: Any) -> Sequence[Any]:
    """Cut the listings of a pool into ranges twice as long as `plan_rows`, since whole pools are searched faster."""
    return ranges(count_listings(inputs[pool]), 2 * config[ComputeConfig].shard_rows)


def prepare_search(inputs: Inputs, config: StageConfig, out: Path, branch: str, pool: str, embeddings: str) -> None:
    """Note whether a pool is searched approximately, with its cells if it is dense: the same for all its shards."""
    section, searched = config[registry.get(branch).Config], _searched(inputs, pool, embeddings)
    if is_approximate(searched, section, config[ComputeConfig]):
        (out / APPROXIMATE).touch()
        if not issparse(searched.vectors):
            Cells.of(searched, config[ComputeConfig].cpu_threads).save(out / CELLS)


def open_searcher(
    inputs: Inputs, config: StageConfig, prepared: Path, branch: str, pool: str, embeddings: str
) -> Callable[[tuple[int, int], Path], object]:
    """Load what a search of a pool needs; return the function that finds the neighbors of a range of its listings."""
    section, searched = config[registry.get(branch).Config], _searched(inputs, pool, embeddings)
    path = prepared / CELLS
    searcher = searcher_of(searched, section, config[ComputeConfig], Cells.load(path) if path.exists() else None)
    return lambda rows, out: searcher.lists(np.arange(*rows)).save(out / "lists.parquet")


def join_lists(
    inputs: Inputs, config: StageConfig, out: Path, shards: Sequence[Path], prepared: Path, pool: str, **others: Any
) -> Mapping[str, Any]:
    """Unite the neighbors of all listings of a pool into pairs."""
    lists, n = (NeighborLists.load(shard / "lists.parquet") for shard in shards), count_listings(inputs[pool])
    candidates = candidates_of(lists, n)
    candidates.save(out / "candidates.parquet")
    return {"pairs": len(candidates), "search": "approximate" if (prepared / APPROXIMATE).exists() else None}


def _searched(inputs: Inputs, pool: str, embeddings: str) -> Embeddings:
    """Return the embeddings of a pool in which, of listings with equal content, one alone has evidence."""
    return without_copies(load_embeddings(inputs[embeddings]), copy_of(load_catalog(inputs[pool])))


def embed_catalog(
    branch: Branch, listings: Catalog, encoder: Path | None, config: BranchConfig, compute: ComputeConfig
) -> Embeddings:
    """Embed listings as a pool of their own.

    Examples:
        embed_catalog(registry.get("image"), listings, Path("runs/default/image/encoder/all"), config, compute)
    """
    return branch.fit(listings, encoder, config, compute).transform(listings)
