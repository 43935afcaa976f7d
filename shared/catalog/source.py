"""Where listings lie: the tables of a folder in Kaggle layout or a single table, and the image folder beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shared.catalog.config import DataConfig
from shared.catalog.tables import FOLDER_ENDINGS, ending
from shared.errors import MatcherError


@dataclass(frozen=True)
class Source:
    """Where listings are read from.

    Args:
        table: The table's file.
        images: The image folder, absolute; None when there is none.
    """

    table: Path
    images: Path | None


@dataclass(frozen=True)
class Sources:
    """Where all listings of a folder are read from.

    Args:
        train: The labeled listings.
        test: The listings to be matched; None when the folder holds no test table.
        name: The name of this catalog in a run of several; "" in a run of one.
    """

    train: Source
    test: Source | None
    name: str = ""


def find_sources(data: Path, config: DataConfig) -> Sources:
    """Return the training table of a folder and its test table, if there is one; a single table is for training.

    Args:
        data: A folder in Kaggle layout (`train.csv`, `train_images/` and perhaps `test.csv`, `test_images/`), or one
            table.
        config: Section `data`.

    Raises:
        MatcherError: There is no such path, no training table in the folder or more than one of a kind, or no such
            image folder.
    """
    train, tables = find_source(data, config), _tables(data, "test")
    return Sources(train, _in_folder(data, config, "test", tables) if tables else None)


def find_source(data: Path, config: DataConfig, *, test: bool = False) -> Source:
    """Return the table and the image folder to read listings from.

    Args:
        data: A folder in Kaggle layout (`train.csv`, `train_images/`), or one table.
        config: Section `data`.
        test: In a folder, take `test.csv` and `test_images/` when they are there.

    Raises:
        MatcherError: There is no such path, no table in the folder or more than one, or no such image folder.
    """
    if os.path.isdir(data):
        if test and (tables := _tables(data, "test")):
            return _in_folder(data, config, "test", tables)
        return _in_folder(data, config, "train", _tables(data, "train"))
    if not os.path.exists(data):
        raise MatcherError(f"{data}: no such file or folder")
    kind = data.name[: -len(ending(data) or "")]
    return Source(data, _image_folder(data.parent, config, [f"{kind}_images", "images", "."]))


def new_source(config: DataConfig) -> Source:
    """Return where the catalog lies that `--data` names beside a run's own: `test.csv` of a folder that has one.

    Raises:
        MatcherError: No data is named, or there is none.
    """
    if len(config.paths) > 1:
        raise MatcherError(f"--data names {len(config.paths)} catalogs; name one: each is a pool of its own")
    if config.paths == ["demo"]:
        raise MatcherError("name the catalog with --data DIR (a folder or a table)")
    return find_source(Path(config.paths[0]), config, test=True)


def has_test(data: Path) -> bool:
    """Return whether a folder holds a test table (`test.csv` or another format)."""
    return bool(_tables(data, "test"))


def _in_folder(folder: Path, config: DataConfig, kind: str, tables: list[Path]) -> Source:
    """Return the source of one kind, `train` or `test`, in a folder in Kaggle layout that holds these tables of it."""
    if not tables:
        raise MatcherError(f"{folder}: no {kind}.csv in it (nor {', '.join(f'{kind}{e}' for e in FOLDER_ENDINGS[1:])})")
    if len(tables) > 1:
        raise MatcherError(f"{folder}: holds {' and '.join(table.name for table in tables)}; name the table to read")
    return Source(tables[0], _image_folder(folder, config, [f"{kind}_images"]))


def _tables(folder: Path, kind: str) -> list[Path]:
    """Return the tables of one kind that a folder holds, whatever their format; none where it is no folder."""
    paths = [folder / f"{kind}{end}" for end in FOLDER_ENDINGS]
    return [path for path in paths if os.path.exists(path)]


def _image_folder(base: Path, config: DataConfig, usual_names: list[str]) -> Path | None:
    """Return the image folder that the settings name, or else the first of the usual ones that is there."""
    places = [base / config.images, Path(config.images)] if config.images else [base / name for name in usual_names]
    folder = next((place.absolute() for place in places if os.path.isdir(place)), None)
    if config.images and folder is None:
        where = " nor in ".join(dict.fromkeys([str(base.absolute()), str(Path.cwd())]))
        raise MatcherError(f"data.images={config.images}: no such folder, neither as it is nor in {where}")
    return folder
