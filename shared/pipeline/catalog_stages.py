"""The stages before the branches: the demo if no data is named, the catalog, its split, and the pools."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shared.catalog.config import DataConfig
from shared.catalog.image_memo import ImageMemo
from shared.catalog.placeholders import set_aside
from shared.catalog.reader import catalog_fingerprint, read_catalog
from shared.catalog.source import Source, Sources, find_sources
from shared.catalog.split import HOLDOUT, SplitConfig, make_split
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.demo.config import DemoConfig
from shared.errors import MatcherError
from shared.pipeline.engine import bring_up_to_date
from shared.pipeline.pools import (
    CATALOG_POOL,
    HOLDOUT_POOL,
    fold_pools,
    load_catalog,
    load_split,
    save_catalog,
    save_set_aside,
)
from shared.pipeline.run import RunFolder
from shared.pipeline.settings import Settings
from shared.pipeline.stage import Graph, Inputs, Stage, StageConfig

DEMO, TRAIN, TEST, SPLIT = "demo", "catalog/train", "catalog/test", "split"
_POOL_CODE = ("shared.schema", "shared.catalog.placeholders")
IMAGE_MEMO = "images.json"  # of the run folder: size, time and checksum of each image that was hashed


def sources_of(run: RunFolder, settings: Settings) -> Sources:
    """Return the table and image folder that the listings of a run are read from; only this function looks for them.

        sources_of(RunFolder(Path("runs/default")), settings).train.table

    Raises:
        MatcherError: There is no such data.
    """
    data = settings[DataConfig]
    if data.path != "demo":
        return find_sources(Path(data.path), data)
    folder = run.folder.absolute() / DEMO / "data"
    return Sources(Source(folder / "train.csv", folder / "train_images"), None)


def catalog_stages(run: RunFolder, settings: Settings, sources: Sources) -> list[Stage]:
    """Return the stages from the user's data to the listings of every pool.

    Examples:
        Graph(catalog_stages(run, settings, sources_of(run, settings)))
    """
    demo = settings[DataConfig].path == "demo"
    stages = [_demo_stage()] if demo else []
    stages.append(_catalog_stage(TRAIN, run, settings, sources.train, reads=(DEMO,) if demo else ()))
    if sources.test is not None:
        stages.append(_catalog_stage(TEST, run, settings, sources.test))
    whole = TRAIN if sources.test is None else TEST
    return [*stages, _split_stage(), *fold_stages(settings[SplitConfig].folds), _catalog_pool_stage(whole)]


def _demo_stage() -> Stage:
    return Stage(DEMO, invent_listings, code=("shared.demo",), settings=(DemoConfig,))


def invent_listings(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    """Generate the listings of the demo marketplace."""
    demo = config[DemoConfig]
    make_demo(out / "data", demo.listings, demo.seed, config[ComputeConfig].cpu_threads)
    return {"invented_listings": demo.listings}


def _catalog_stage(name: str, run: RunFolder, settings: Settings, source: Source, reads: tuple[str, ...] = ()) -> Stage:
    return Stage(
        name,
        read_listings,
        code=("shared.catalog.reader",),
        reads=reads,
        settings=(DataConfig,),
        parameters={
            "table": str(source.table),
            "images": None if source.images is None else str(source.images),
            "labeled": name == TRAIN,
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
    return {
        "listings": len(catalog),
        "with_image": int(catalog.has_image.sum()),
        "with_title": int((catalog.titles != "").sum()),
    }


def _split_stage() -> Stage:
    return Stage(
        SPLIT, split_listings, code=("shared.catalog.split",), reads=(TRAIN,), settings=(SplitConfig, ComputeConfig)
    )


def split_listings(inputs: Inputs, config: StageConfig, out: Path) -> Mapping[str, Any]:
    """Split the labeled listings into folds and holdout."""
    split = make_split(load_catalog(inputs[TRAIN]), config[SplitConfig], config[ComputeConfig].seed)
    split.save(out / "split.parquet")
    held_out = split.fold == HOLDOUT
    return {"listings_to_train_on": int((~held_out).sum()), "held_out": int(held_out.sum())}


def fold_stages(folds: int) -> list[Stage]:
    """Return the stages that write the listings of the fold pools and of the holdout.

    Examples:
        >>> [stage.name for stage in fold_stages(2)]
        ['pools/fold0', 'pools/fold1', 'pools/holdout']
    """
    labeled = {pool.stage: fold for fold, pool in enumerate(fold_pools(folds))} | {HOLDOUT_POOL.stage: HOLDOUT}
    return [
        Stage(name, take_fold, code=_POOL_CODE, reads=(TRAIN, SPLIT), parameters={"fold": fold})
        for name, fold in labeled.items()
    ]


def _catalog_pool_stage(whole: str) -> Stage:
    return Stage(CATALOG_POOL.stage, take_all, code=_POOL_CODE, reads=(whole,), parameters={"catalog": whole})


def take_fold(inputs: Inputs, config: StageConfig, out: Path, fold: int) -> Mapping[str, Any]:
    """Write the labeled listings of a fold or of the holdout, without what many unlike ones share."""
    catalog, split = load_catalog(inputs["catalog/train"]), load_split(inputs["split"])
    pool, report = set_aside(catalog.take(np.flatnonzero(split.fold == fold)))
    save_catalog(pool, out)
    save_set_aside(report, out)
    return {"listings": len(pool)} | report.metrics


def take_all(inputs: Inputs, config: StageConfig, out: Path, catalog: str) -> Mapping[str, Any]:
    """Write all listings of a catalog, without their labels and without what many unlike ones share."""
    pool, report = set_aside(load_catalog(inputs[catalog]).without_labels())
    save_catalog(pool, out)
    save_set_aside(report, out)
    return {"listings": len(pool)} | report.metrics


def update_stages(
    run: RunFolder, settings: Settings, graph: Graph, targets: Iterable[str], *, redo: Collection[str] = ()
) -> None:
    """Bring stages up to date; once the catalog has been read, the run remembers the settings.

        update_stages(run, settings, graph, ["split"])

    Args:
        run: The run folder; held by this process.
        settings: Of the run.
        graph: The stages, those of the catalog among them.
        targets: Names of the stages to bring up to date.
        redo: Names of stages that are done even if nothing changed.

    Raises:
        MatcherError: A stage refuses its input; what was finished before is intact.
    """

    def remember(stage: str) -> None:
        if stage == TRAIN:
            run.remember(settings.values)

    try:
        bring_up_to_date(run, settings, graph, [TRAIN, *targets], redo=redo, done=remember)
    except MatcherError:
        if run.manifest(TRAIN) is None:  # refused data leaves no run folder, thus no memo in it
            (run.folder / IMAGE_MEMO).unlink(missing_ok=True)
        raise
