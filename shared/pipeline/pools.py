"""Pools: sets of listings that are searched among themselves with one set of encoders.

Fold k's pool is embedded by encoders that never saw fold k; its pairs train the scorer and tune the decision. The
holdout, and the catalog to be matched, are embedded by encoders trained on all folds. The listings of each pool are
written once, as the stage `pools/<name>` (`catalog_stages.py`); every later stage reads them there.

In a run of several catalogs each of them has pools of its own, named `<pool>-<source>`; an encoder learns from the
folds of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.artifacts import read_json, reading, write_json
from shared.catalog.placeholders import SetAside
from shared.catalog.split import HOLDOUT, Split
from shared.schema import Catalog

ALL = "all"  # the encoder trained on all folds


@dataclass(frozen=True)
class Pool:
    """A pool's name, the encoder that embeds it, and where its listings are from.

    Args:
        name: The name of the pool.
        encoder: The encoder: that of a fold, or `all`.
        fold: The fold that its listings are, from 0; `HOLDOUT` for the holdout and the catalog.
        source: The name of the catalog that they are from; "" in a run of one catalog.

    Examples:
        >>> fold_pool(0).stage
        'pools/fold0'
    """

    name: str
    encoder: str
    fold: int = HOLDOUT
    source: str = ""

    @property
    def stage(self) -> str:
        """Return the name of the stage that writes its listings."""
        return f"pools/{self.name}"


def of_source(name: str, source: str) -> str:
    """Return the name of what every catalog of a run has one of, such as a pool.

    Examples:
        >>> of_source("holdout", "shop"), of_source("holdout", "")
        ('holdout-shop', 'holdout')
    """
    return f"{name}-{source}" if source else name


ONE_SOURCE = ("",)  # the sources of a run of one catalog


def fold_pool(fold: int, source: str = "") -> Pool:
    """Return the pool of a fold of a catalog.

    Examples:
        >>> fold_pool(1, "shop")
        Pool(name='fold1-shop', encoder='fold1', fold=1, source='shop')
    """
    return Pool(of_source(f"fold{fold}", source), f"fold{fold}", fold, source)


def fold_pools(folds: int, sources: Sequence[str] = ONE_SOURCE) -> list[Pool]:
    """Return the pools that train the scorer and tune the decision.

    Examples:
        >>> [pool.name for pool in fold_pools(2)]
        ['fold0', 'fold1']
    """
    return [fold_pool(fold, source) for fold in range(folds) for source in sources]


def holdout_pool(source: str = "") -> Pool:
    """Return the pool that a catalog's metrics are made on."""
    return Pool(of_source("holdout", source), ALL, source=source)


def catalog_pool(source: str = "") -> Pool:
    """Return the pool of the listings that the run matches: those of test.csv if there is one, else all."""
    return Pool(of_source("catalog", source), ALL, source=source)


HOLDOUT_POOL, CATALOG_POOL = holdout_pool(), catalog_pool()  # of a run of one catalog


def all_pools(folds: int, sources: Sequence[str] = ONE_SOURCE) -> list[Pool]:
    """Return every pool of a run, in the order in which they are worked on.

    Examples:
        >>> [pool.name for pool in all_pools(1)]
        ['fold0', 'holdout', 'catalog']
    """
    return [*fold_pools(folds, sources), *map(holdout_pool, sources), *map(catalog_pool, sources)]


def load_catalog(folder: Path) -> Catalog:
    """Return the listings that a stage wrote into its folder: a catalog, or a pool's part of one."""
    return Catalog.load(folder / "catalog.parquet")


def count_listings(folder: Path) -> int:
    """Return the number of listings that a stage wrote into its folder, without reading them.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_catalog(Catalog.from_columns({"posting_id": ["a", "b"]}), Path(folder))
        ...     count_listings(Path(folder))
        2
    """
    return int(pq.read_metadata(folder / "catalog.parquet").num_rows)


def save_catalog(catalog: Catalog, folder: Path) -> None:
    """Write listings into the folder of a stage.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     save_catalog(Catalog.from_columns({"posting_id": ["a", "b"]}), Path(folder))
        ...     len(load_catalog(Path(folder)))
        2
    """
    catalog.save(folder / "catalog.parquet")


def save_set_aside(report: SetAside, folder: Path) -> None:
    """Write what was set aside of a pool's evidence into the folder of its stage."""
    write_json(folder / "set_aside.json", report.to_json())


def load_set_aside(folder: Path) -> SetAside:
    """Return what was set aside of the evidence of a pool, whose stage has this folder."""
    path = folder / "set_aside.json"
    with reading(path):
        return SetAside.from_json(read_json(path))


def load_split(folder: Path) -> Split:
    """Return the split that the stage `split` wrote."""
    return Split.load(folder / "split.parquet")


def training_rows(split: Split, encoder: str) -> NDArray[np.int64]:
    """Return the rows of the labeled catalog that an encoder (`fold0`, …, or `all`) may be trained on, rising.

    Examples:
        >>> ids, components = np.array(["a", "b", "c"], dtype=object), np.array([0, 1, 2], np.int32)
        >>> split = Split(ids, components, np.array([0, 1, HOLDOUT], np.int8))
        >>> training_rows(split, "fold0").tolist(), training_rows(split, "all").tolist()
        ([1], [0, 1])
    """
    mask = split.fold >= 0
    if encoder != ALL:
        mask &= split.fold != int(encoder.removeprefix("fold"))
    return np.flatnonzero(mask)
