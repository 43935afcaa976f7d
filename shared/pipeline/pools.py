"""Pools, and the stages before the branches: the catalog, its split, and the listings of every pool.

A pool is a set of listings searched among themselves with one set of encoders. Fold k's pool is embedded by encoders
that never saw fold k; the holdout and the catalog to be matched by encoders trained on all folds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.catalog.config import DataConfig
from shared.catalog.reader import catalog_fingerprint, read_catalog
from shared.catalog.source import Source, find_source, has_test
from shared.catalog.split import HOLDOUT, Split, SplitConfig, make_split
from shared.compute import ComputeConfig
from shared.demo import make_demo
from shared.demo.config import DemoConfig
from shared.errors import MatcherError
from shared.pipeline.extra_data import extras_of, layout_of
from shared.pipeline.run import Run
from shared.pipeline.settings import Settings, branch_names
from shared.schema import Catalog

ALL = "all"  # the encoder trained on all folds


@dataclass(frozen=True)
class Pool:
    """A pool's name, and the encoder that embeds it."""

    name: str
    encoder: str


def fold_pools(settings: Settings) -> list[Pool]:
    """The pools that train the scorer and tune the decision."""
    return [Pool(f"fold{k}", f"fold{k}") for k in range(settings[SplitConfig].folds)]


HOLDOUT_POOL = Pool("holdout", ALL)
CATALOG_POOL = Pool("catalog", ALL)  # what the run is to match: test.csv where there is one, else all listings


def all_pools(settings: Settings) -> list[Pool]:
    """Every pool of a run, in the order in which they are worked on."""
    return [*fold_pools(settings), HOLDOUT_POOL, CATALOG_POOL]


def prepare(run: Run, settings: Settings) -> None:
    """Make the demo if no data is named, read the catalog, split it, and lay out the pools.

    That there are the extras which any branch names is seen first, before hours go into the training of another one.
    """
    for name in branch_names():
        for extra in extras_of(settings.branch(name)):
            layout_of(extra.path)
    source = _source(run, settings)
    _catalog_stage(run, settings, "catalog/train", source, labeled=True)
    run.remember(settings.values)
    compute, split_config = settings[ComputeConfig], settings[SplitConfig]

    def split(out: Path) -> Mapping[str, Any]:
        made = make_split(train_catalog(run), split_config, compute.seed)
        made.save(out / "split.parquet")
        held_out = made.fold == HOLDOUT
        return {"listings to train on": int((~held_out).sum()), "held out": int(held_out.sum())}

    inputs = {"catalog": run.digest_of("catalog/train")}
    keys = {"split": split_config.model_dump(mode="json"), "seed": compute.seed}
    run.stage("split", "shared.catalog.split", inputs, keys, split)
    if _has_test(settings):
        data = settings[DataConfig]
        _catalog_stage(run, settings, "catalog/test", find_source(Path(data.path), data, test=True), labeled=False)


def _source(run: Run, settings: Settings) -> Source:
    data, demo = settings[DataConfig], settings[DemoConfig]
    if data.path != "demo":
        return find_source(Path(data.path), data)

    def make(out: Path) -> Mapping[str, Any]:
        make_demo(out / "data", demo.listings, demo.seed, settings[ComputeConfig].cpu_threads)
        return {"listings made up": demo.listings}

    folder = run.stage("demo", "shared.demo", {}, demo.model_dump(mode="json"), make)
    return find_source(folder / "data", DataConfig())


def _has_test(settings: Settings) -> bool:
    data = settings[DataConfig]
    return data.path != "demo" and has_test(Path(data.path))


def _catalog_stage(run: Run, settings: Settings, name: str, source: Source, *, labeled: bool) -> None:
    data, compute = settings[DataConfig], settings[ComputeConfig]

    def read(out: Path) -> Mapping[str, Any]:
        catalog = read_catalog(source, data, compute, labeled=labeled)
        catalog.save(out / "catalog.parquet")
        return {
            "listings": len(catalog),
            "with picture": int(catalog.has_image.sum()),
            "with title": int((catalog.titles != "").sum()),
        }

    keys = data.model_dump(mode="json") | {"image folder": str(source.images)}  # the catalog says where pictures lie
    run.stage(name, "shared.catalog.reader", catalog_fingerprint(source, data), keys, read)


def train_catalog(run: Run) -> Catalog:
    """The run's labeled catalog."""
    return Catalog.load(run.open("catalog/train") / "catalog.parquet")


def load_split(run: Run) -> Split:
    """The run's split of its labeled catalog."""
    return Split.load(run.open("split") / "split.parquet")


def training_rows(split: Split, encoder: str) -> NDArray[np.int64]:
    """Rows of the labeled catalog that an encoder (`fold0`, …, or `all`) may be trained on."""
    wanted = split.fold != HOLDOUT
    if encoder != ALL:
        wanted &= split.fold != int(encoder.removeprefix("fold"))
    return np.flatnonzero(wanted)


def unseen_catalogs(run: Run, settings: Settings, encoder: str) -> list[Catalog]:
    """What an encoder is measured on or embeds, and may not learn from, not by way of other data either.

    These are the labeled listings outside its training rows and, for the encoder of all folds, those of `test.csv`.
    """
    catalog, rows = train_catalog(run), training_rows(load_split(run), encoder)
    labeled = catalog.take(np.setdiff1d(np.arange(len(catalog)), rows))
    tested = encoder == ALL and _has_test(settings)
    return [labeled, pool_catalog(run, settings, CATALOG_POOL)] if tested else [labeled]


def unseen_inputs(run: Run, settings: Settings, encoder: str) -> dict[str, str]:
    """Digests of what determines `unseen_catalogs`, for a stage that reads them."""
    labeled = {"catalog": run.digest_of("catalog/train"), "split": run.digest_of("split")}
    tested = encoder == ALL and _has_test(settings)
    return labeled | ({"test": run.digest_of("catalog/test")} if tested else {})


def pool_rows(split: Split, pool: Pool) -> NDArray[np.int64]:
    """Rows of the labeled catalog that make a fold pool or the holdout."""
    fold = HOLDOUT if pool == HOLDOUT_POOL else int(pool.name.removeprefix("fold"))
    return np.flatnonzero(split.fold == fold)


def pool_catalog(run: Run, settings: Settings, pool: Pool) -> Catalog:
    """The listings of a pool, in the order of the table they come from; unlabeled for the catalog to be matched."""
    if pool != CATALOG_POOL:
        return train_catalog(run).take(pool_rows(load_split(run), pool))
    if _has_test(settings):
        return Catalog.load(run.open("catalog/test") / "catalog.parquet")
    return train_catalog(run).without_labels()


def pool_inputs(run: Run, settings: Settings, pool: Pool) -> dict[str, str]:
    """Digests of what determines a pool's listings, for a stage that reads them."""
    if pool == CATALOG_POOL:
        return {"catalog": run.digest_of("catalog/test" if _has_test(settings) else "catalog/train")}
    return {"catalog": run.digest_of("catalog/train"), "split": run.digest_of("split")}


def new_source(settings: Settings) -> Source:
    """Where the catalog lies that `--data` names beside the run's own: `test.csv` of a folder that has one.

    Raises:
        MatcherError: No data is named, or there is none.
    """
    data = settings[DataConfig]
    if data.path == "demo":
        raise MatcherError("name the catalog with --data DIR (a folder or a table)")
    return find_source(Path(data.path), data, test=True)


def new_catalog(settings: Settings) -> Catalog:
    """The catalog that `--data` names beside the run's own; labels are not used.

    Raises:
        MatcherError: No data is named, or it cannot be read.
    """
    return read_catalog(new_source(settings), settings[DataConfig], settings[ComputeConfig], labeled=False)


def data_line(settings: Settings) -> str:
    """What a run works on, in words."""
    path = settings[DataConfig].path
    return f"catalog {path}" if path != "demo" else "the demo marketplace (invented listings; see README)"
