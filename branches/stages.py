"""The stages that every branch goes through: its encoders, then its embeddings and candidates of each pool."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from branches import registry
from branches.base import Branch, BranchConfig
from branches.pool_stages import candidates_stage, embeddings_stage
from branches.stage_names import encoder_stage_name
from shared.artifacts import digest, file_digest
from shared.catalog.config import DataConfig
from shared.catalog.extra_data import Extra, extras_of, join, layout_of, read_extra, reading_of
from shared.catalog.split import SplitConfig
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.pipeline.catalog_stages import SPLIT, TRAIN
from shared.pipeline.pools import (
    ALL,
    all_pools,
    catalog_pool,
    fold_pools,
    load_catalog,
    load_split,
    save_catalog,
    training_rows,
)
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Inputs, Stage, StageConfig
from shared.schema import Catalog, Embeddings

PRETRAINED_SAMPLE = 5000  # listings of a catalog without labels that its encoders are fitted to


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
    embeddings = embeddings_stage(branch, pool, with_test=[pool.source])  # no holdout to reuse embeddings of
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
    stages += [embeddings_stage(branch, pool, with_test=with_test) for pool in pools]
    return [*stages, *(candidates_stage(branch, pool) for pool in pools)]


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


def embed_catalog(
    branch: Branch, listings: Catalog, encoder: Path | None, config: BranchConfig, compute: ComputeConfig
) -> Embeddings:
    """Embed listings as a pool of their own.

    Examples:
        embed_catalog(registry.get("image"), listings, Path("runs/default/image/encoder/all"), config, compute)
    """
    return branch.fit(listings, encoder, config, compute).transform(listings)
