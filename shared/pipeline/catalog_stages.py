"""The stages before the branches: the demo if no data is named, the catalog, its split, and the pools."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.catalog.config import DataConfig
from shared.catalog.image_memo import ImageMemo
from shared.catalog.not_used import in_words
from shared.catalog.placeholders import set_aside
from shared.catalog.reader import catalog_fingerprint, is_labeled, read_catalog
from shared.catalog.source import Source, Sources, find_sources
from shared.catalog.split import HOLDOUT, UNLABELED, SplitConfig, large_label_groups, make_split
from shared.catalog.unusable_images import unusable_metrics
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.demo.config import DemoConfig
from shared.errors import MatcherError
from shared.pipeline.pools import (
    ONE_SOURCE,
    Pool,
    catalog_pool,
    fold_pools,
    holdout_pool,
    load_catalog,
    load_split,
    of_source,
    save_catalog,
    save_set_aside,
)
from shared.pipeline.run import ArtifactStore, RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig
from shared.schema import Catalog

DEMO, TRAIN, TEST, SPLIT = "demo", "catalog/train", "catalog/test", "split"
_POOL_CODE = ("shared.schema", "shared.catalog.placeholders")
IMAGE_MEMO = "images.json"  # of the run folder: size, time and checksum of each image that was hashed


def sources_of(run: RunFolder, settings: Settings) -> list[Sources]:
    """Return the tables and image folders that the listings of a run are read from; only this function looks for them.

        sources_of(RunFolder(Path("runs/default")), settings)[0].train.table

    Returns:
        One element for each catalog that the settings name.

    Raises:
        MatcherError: There is no such data, or the same catalog is named twice.
    """
    data, folder = settings[DataConfig], run.folder.absolute() / DEMO / "data"
    demo = Sources(Source(folder / "train.csv", folder / "train_images"), None)
    found = [demo if path == DEMO else find_sources(Path(path), data) for path in data.paths]
    tables = [sources.train.table.resolve() for sources in found]
    if twice := next((path for path, table in zip(data.paths, tables, strict=True) if tables.count(table) > 1), None):
        raise MatcherError(f"--data names {twice} twice; name each catalog once")
    return [replace(sources, name=name) for sources, name in zip(found, data.sources, strict=True)]


def are_labeled(settings: Settings, sources: Sequence[Sources]) -> bool:
    """Return whether a run learns from labels; a run without labels matches one catalog.

        are_labeled(settings, sources_of(run, settings))

    Args:
        settings: Of the run.
        sources: Where its listings are read from.

    Raises:
        MatcherError: A table cannot be read, or one of several catalogs has no labels.
    """
    data = settings[DataConfig]
    unlabeled = [
        path
        for path, each in zip(data.paths, sources, strict=True)
        if not (data.label_column if path == DEMO else is_labeled(each.train, data))
    ]
    if unlabeled and len(sources) > 1:
        raise MatcherError(
            f"{unlabeled[0]} has no labels (column {data.label_column or 'none'}), and several catalogs train one "
            "system; match a catalog without labels in a run of its own: --data CATALOG --run R"
        )
    return not unlabeled


def catalog_stages(
    run: RunFolder, settings: Settings, sources: Sequence[Sources], *, labeled: bool = True
) -> list[Stage]:
    """Return the stages from the user's data to the listings of every pool.

        Graph(catalog_stages(run, settings, sources_of(run, settings)))

    Args:
        run: The run folder.
        settings: Its settings.
        sources: Where its listings are read from.
        labeled: Whether they have labels; without, there are no split and no pools but that of the catalog.
    """
    data, names = settings[DataConfig], [each.name for each in sources]
    stages = [_demo_stage()] if DEMO in data.paths else []
    for path, each in zip(data.paths, sources, strict=True):
        reads = (DEMO,) if path == DEMO else ()
        stages.append(_catalog_stage(TRAIN, each.name, run, settings, each.train, reads, labeled=labeled))
        if each.test is not None:
            stages.append(_catalog_stage(TEST, each.name, run, settings, each.test))
    stages += [_join_stage(names)] if len(sources) > 1 else []
    stages += [_split_stage(), *fold_stages(settings[SplitConfig].folds, names)] if labeled else []
    return [*stages, *(_catalog_pool_stage(each) for each in sources)]


def require_labels(run: RunFolder, graph: Graph) -> None:
    """Raise an error unless the stages of a run learn from labels.

    Args:
        run: The run folder.
        graph: Its stages.

    Raises:
        MatcherError: Its listings have no labels.
    """
    if SPLIT not in graph:
        raise MatcherError(_without_labels(run))


def require_labeled_run(run: ArtifactStore) -> None:
    """Raise an error if a run matched its catalog without labels, so that it trained and measured nothing.

    Args:
        run: A finished run; a bundle is always of one with labels.

    Raises:
        MatcherError: Its listings have no labels.
    """
    manifest = run.manifest(TRAIN) if isinstance(run, RunFolder) else None
    if manifest is not None and manifest["key"].get("parameters", {}).get("labeled") is False:
        raise MatcherError(_without_labels(run))


def _without_labels(run: ArtifactStore) -> str:
    return (
        f"{run.folder} is a run without labels: it trains, tunes and measures nothing of its own. Name a bundle "
        f"(--bundle B) or a run with labels where the command takes one, or make labels of answers: python -m "
        f"ensemble.review --run {run.folder} asks, python -m ensemble.answers labels --run {run.folder} --out T.csv "
        "writes a table to train on"
    )


def _demo_stage() -> Stage:
    return Stage(DEMO, invent_listings, code=("shared.demo",), settings=(DemoConfig,))


def invent_listings(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    """Generate the listings of the demo."""
    demo = config[DemoConfig]
    make_demo(out / "data", demo.listings, demo.seed, config[ComputeConfig].cpu_threads, demo.kind)
    return {"invented_listings": demo.listings}


def _catalog_stage(
    kind: str,
    name: str,
    run: RunFolder,
    settings: Settings,
    source: Source,
    reads: tuple[str, ...] = (),
    *,
    labeled: bool = False,
) -> Stage:
    return Stage(
        of_source(kind, name),
        read_listings,
        code=("shared.catalog.reader", "shared.catalog.not_used"),
        reads=reads,
        settings=(DataConfig,),
        parameters={
            "table": str(source.table),
            "images": None if source.images is None else str(source.images),
            "labeled": labeled,
        },
        sources=partial(_fingerprint, run.folder, source, settings[DataConfig]),
    )


def _fingerprint(run: Path, source: Source, config: DataConfig) -> Mapping[str, str]:
    """Return digests of a table and of the images that it names; only images that changed are read."""
    memo = ImageMemo.load(run / IMAGE_MEMO)
    fingerprint = catalog_fingerprint(source, config, memo)
    memo.save(run / IMAGE_MEMO)
    return fingerprint


def read_listings(
    inputs: Inputs, config: StageConfig, out: Path, table: str, images: str | None, labeled: bool
) -> Mapping[str, Any]:
    """Read a table and check every image that it names."""
    source = Source(Path(table), None if images is None else Path(images))
    catalog = read_catalog(source, config[DataConfig], config[ComputeConfig], labeled=labeled)
    save_catalog(catalog, out)
    words = in_words(catalog)
    return catalog.counts() | unusable_metrics(catalog) | ({} if words is None else {"not_used": words})


def _join_stage(names: Sequence[str]) -> Stage:
    return Stage(
        TRAIN,
        join_catalogs,
        code=("shared.schema",),
        reads=tuple(of_source(TRAIN, name) for name in names),
        parameters={"catalogs": {name: of_source(TRAIN, name) for name in names}},
    )


def join_catalogs(inputs: Inputs, config: StageConfig, out: Path, catalogs: Mapping[str, str]) -> Mapping[str, Any]:
    """Write the labeled listings of all catalogs, source → stage, as one catalog."""
    joined = Catalog.join({name: load_catalog(inputs[stage]) for name, stage in catalogs.items()})
    save_catalog(joined, out)
    return {"catalogs": len(catalogs), **joined.counts()}


def _split_stage() -> Stage:
    return Stage(
        SPLIT, split_listings, code=("shared.catalog.split",), reads=(TRAIN,), settings=(SplitConfig, ComputeConfig)
    )


def split_listings(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    """Split the labeled listings into folds and holdout; those without a label are in neither."""
    catalog = load_catalog(inputs[TRAIN])
    split = make_split(catalog, config[SplitConfig], config[ComputeConfig].seed)
    split.save(out / "split.parquet")
    unlabeled, large = int((split.fold == UNLABELED).sum()), large_label_groups(catalog)
    return {
        "listings_to_train_on": int((split.fold >= 0).sum()),
        "held_out": int((split.fold == HOLDOUT).sum()),
        **({"without_a_label": unlabeled} if unlabeled else {}),
        **({} if large is None else {"large_label_groups": large}),
    }


def fold_stages(folds: int, sources: Sequence[str] = ONE_SOURCE) -> list[Stage]:
    """Return the stages that write the listings of the fold pools and of the holdout.

    Examples:
        >>> [stage.name for stage in fold_stages(2)]
        ['pools/fold0', 'pools/fold1', 'pools/holdout']
    """
    return [_fold_stage(pool) for pool in (*fold_pools(folds, sources), *map(holdout_pool, sources))]


def _fold_stage(pool: Pool) -> Stage:
    source = {"source": pool.source} if pool.source else {}
    parameters = {"fold": pool.fold, **source}
    return Stage(pool.stage, take_fold, code=_POOL_CODE, reads=(TRAIN, SPLIT), parameters=parameters)


def matched_stage(source: str, with_test: Collection[str]) -> str:
    """Return the name of the stage with the listings that are matched of a catalog, as they were read.

    Args:
        source: Name of the catalog, "" in a run of one.
        with_test: Names of the catalogs that have test listings.

    Examples:
        >>> matched_stage("", with_test=[]), matched_stage("shop", with_test=["shop"])
        ('catalog/train', 'catalog/test-shop')
    """
    return of_source(TEST if source in with_test else TRAIN, source)


def original_stage(run: RunFolder, source: str) -> str:
    """Return the name of the stage with the listings that a run matches of a catalog, as they were read.

        original_stage(run, "")

    Args:
        run: A finished run.
        source: Name of the catalog, "" in a run of one.

    Raises:
        ArtifactError: The run has not read that catalog.
    """
    pool = catalog_pool(source).stage
    run.open(pool)
    stage: str = (run.manifest(pool) or {})["key"]["parameters"]["catalog"]
    return stage


def load_original(run: RunFolder, source: str) -> Catalog:
    """Return the listings that a run matches of a catalog as they were read, with labels and what was set aside.

        load_original(run, "").ids

    Args:
        run: A finished run.
        source: Name of the catalog, "" in a run of one.

    Raises:
        ArtifactError: They are missing or damaged.
    """
    return load_catalog(run.open(original_stage(run, source)))


def _catalog_pool_stage(sources: Sources) -> Stage:
    whole = matched_stage(sources.name, [] if sources.test is None else [sources.name])
    return Stage(
        catalog_pool(sources.name).stage,
        take_all,
        code=_POOL_CODE,
        reads=(whole,),
        parameters={"catalog": whole},
    )


def take_fold(inputs: Inputs, config: StageConfig, out: Path, fold: int, source: str = "") -> Mapping[str, Any]:
    """Write the labeled listings of a fold or of the holdout, without what many unlike ones share."""
    catalog, split = load_catalog(inputs["catalog/train"]), load_split(inputs["split"])
    whole = catalog.take(np.flatnonzero(split.fold == fold))
    pool, report = set_aside(whole.of_source(source) if source else whole)
    save_catalog(pool, out)
    save_set_aside(report, out)
    return {"listings": len(pool)} | report.metrics


def take_all(inputs: Inputs, config: StageConfig, out: Path, catalog: str) -> Mapping[str, Any]:
    """Write all listings of a catalog, without their labels and without what many unlike ones share."""
    pool, report = set_aside(load_catalog(inputs[catalog]).without_labels())
    save_catalog(pool, out)
    save_set_aside(report, out)
    return {"listings": len(pool)} | report.metrics
