"""Reading a user's listings: find the table and the pictures, name every fault at once, make a `Catalog`."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from shared.catalog.image_folder import digest, scan
from shared.catalog.images import MISSING, PILLOW_MAX_PIXELS, Picture
from shared.catalog.tables import ENDINGS, Table, ending, frame_table, printable, read_table
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError, raise_faults
from shared.schema import CATALOG_SCHEMA, Catalog


class DataConfig(ConfigSection):
    """ConfigSection `data`: how the listings are written down."""

    path: str = Field("demo", description="folder in Kaggle layout, or one table; demo: invented listings")
    id_column: str = Field("posting_id", min_length=1, description="column with the listing's unique id")
    title_column: str = Field("title", description="column with the title; empty: there is none")
    image_column: str = Field("image", description="column with the image's file name; empty: there is none")
    phash_column: str = Field("image_phash", description="column with a perceptual hash (16 hex digits), if any")
    label_column: str = Field(
        "label_group", min_length=1, description="column with the product that the listing sells, for training"
    )
    images: str = Field(
        "",
        description="image folder, looked for beside the table, then here; empty: train_images or test_images beside "
        "the table; for a single table also images, then the table's own folder",
    )
    max_pixels: int = Field(50_000_000, ge=1, le=PILLOW_MAX_PIXELS, description="larger images are refused undecoded")


@dataclass(frozen=True)
class Source:
    """Where listings are read from.

    Args:
        table: The table's file.
        images: The folder with its pictures; None when there is none.
    """

    table: Path
    images: Path | None


@dataclass(frozen=True)
class _Advice:
    """What to do about a fault, in words for those who gave a table or a frame.

    Args:
        rename: Where a column seems to have another name.
        drop: … and perhaps is none of those read.
        name: Where a column is missing.
        name_any: Where there is nothing to compare listings by.
        find: Where none of the pictures is found.
    """

    rename: str
    drop: str
    name: str
    name_any: str
    find: str


_TABLE = _Advice(
    rename="say --data.{setting}={near}",
    drop=", or --data.{setting}= if there is none",
    name="; name it with --data.{setting}=",
    name_any="; see --data.title_column, --data.image_column",
    find="name their folder with --data.images=, or use --data.image_column= to do without",
)
_FRAME = _Advice(
    rename="rename it to {name!r}",
    drop=", or leave it out if it is not",
    name="",
    name_any="",
    find="give the folder they lie in, or none to do without",
)

# What other exports call a column, in lower case and without punctuation.
_OTHER_NAMES = {
    "id_column": ("id", "listingid", "itemid", "productid", "offerid", "sku"),
    "title_column": ("name", "productname", "producttitle", "itemname", "listingtitle", "description"),
    "image_column": ("img", "picture", "photo", "file", "filename", "imagename", "imagefile", "imagepath"),
    "label_column": ("label", "labels", "group", "groupid", "product", "productgroup", "cluster", "clusterid"),
}
_COLUMNS = ("id_column", "title_column", "image_column", "phash_column", "label_column")
_PHASH = re.compile("[0-9a-fA-F]{16}")
NO_FOLDER = "no image folder"
_ROWS_SHOWN = 10


def find_source(data: Path, config: DataConfig, *, test: bool = False) -> Source:
    """Find the table and the image folder.

    Args:
        data: A folder in Kaggle layout (`train.csv`, `train_images/`), or one table.
        config: ConfigSection `data`.
        test: In a folder, take `test.csv` and `test_images/` when they are there.

    Raises:
        MatcherError: There is no such path, no table in the folder or more than one, or no such image folder.
    """
    if os.path.isdir(data):
        kind = "test" if test and has_test(data) else "train"
        return Source(_table_in(data, kind), _image_folder(data, config, [f"{kind}_images"]))
    if not os.path.exists(data):
        raise MatcherError(f"{data}: no such file or folder")
    kind = data.name[: -len(ending(data) or "")]
    return Source(data, _image_folder(data.parent, config, [f"{kind}_images", "images", "."]))


def has_test(data: Path) -> bool:
    """Whether a folder holds a test table (`test.csv` or another format)."""
    return any(os.path.exists(data / f"test{end}") for end in ENDINGS)


def _table_in(folder: Path, kind: str) -> Path:
    found = [folder / f"{kind}{end}" for end in ENDINGS if os.path.exists(folder / f"{kind}{end}")]
    if not found:
        raise MatcherError(f"{folder}: no {kind}.csv in it (nor {', '.join(f'{kind}{e}' for e in ENDINGS[1:])})")
    if len(found) > 1:
        raise MatcherError(f"{folder}: holds {' and '.join(p.name for p in found)}; name the table to read")
    return found[0]


def _image_folder(base: Path, config: DataConfig, usual: list[str]) -> Path | None:
    places = [base / config.images, Path(config.images)] if config.images else [base / name for name in usual]
    found = next((place.absolute() for place in places if os.path.isdir(place)), None)
    if config.images and found is None:
        raise MatcherError(f"data.images={config.images}: no such folder, neither in {base} nor in {Path.cwd()}")
    return found


def read_catalog(
    source: Source, config: DataConfig, compute: ComputeConfig, *, labeled: bool, progress: bool = True
) -> Catalog:
    """Read a table of listings and look at every picture that it names.

    A listing keeps its row whatever its picture is like; what is wrong with the picture stands in `image_fault`.
    The perceptual hash is taken from the picture; the one in the table is used where there is no usable picture.

    Args:
        source: From `find_source`.
        config: ConfigSection `data`.
        compute: ConfigSection `compute`, for the number of threads.
        labeled: Whether label groups are needed; if not they are not read either.
        progress: Whether to draw a bar when on a terminal.

    Returns:
        The listings in the table's order, with every value as written.

    Raises:
        MatcherError: The table has faults (one error names all of them, with their rows), or an image folder was
            given that holds none of the pictures.
    """
    table = read_table(source.table)
    _check(table, f"{source.table} (row 1 is the first below the header)", config, labeled, _TABLE)
    return catalog_of(table, source, config, compute, labeled=labeled, progress=progress)


def frame_catalog(listings: pd.DataFrame, images: Path | None, config: DataConfig, compute: ComputeConfig) -> Catalog:
    """The unlabeled catalog of a frame, by the same rules as that of a table.

    Args:
        listings: Its index is not looked at.
        images: The image folder; None: pictures are done without.
        config: Names of the columns, and how large a picture may be.
        compute: ConfigSection `compute`, for the number of threads.

    Raises:
        MatcherError: The frame has faults (one error names all of them), or the folder is none or holds no picture.
    """
    if images is not None and not images.is_dir():
        raise MatcherError(f"images={images}: no such folder")
    table = frame_table(listings, {getattr(config, setting) for setting in _COLUMNS})
    _check(table, "the frame (row 1 is its first)", config, False, _FRAME)
    config = config.model_copy(update={"images": str(images or "")})
    source = Source(Path("the frame"), images)
    return catalog_of(table, source, config, compute, labeled=False, advice=_FRAME)


def read_labels(source: Source, config: DataConfig) -> NDArray[Any]:
    """The label group of every listing of a table, as written, to judge matches by: str or None [n].

    Raises:
        MatcherError: The table has no such column, or no listing has a label.
    """
    table = read_table(source.table)
    raise_faults(str(source.table), list(_column_fault(table, config, "label_column", _TABLE)))
    labels = [label if label.strip() else None for label in table.columns.get(config.label_column, [])]
    if not any(labels):
        raise MatcherError(f"{source.table}: no listing has a {config.label_column}, so there is nothing to judge by")
    return np.array([*labels, None], dtype=object)[:-1]


def _check(table: Table, what: str, config: DataConfig, labeled: bool, advice: _Advice) -> None:
    """Raise one error that names all faults of a table, or return when there is none."""
    faults = [*table.faults, *_column_faults(table, config, labeled, advice), *_value_faults(table, config, labeled)]
    lines = [f"row {row}: {what}" if row else what for row, what in sorted(faults, key=lambda fault: fault[0])]
    raise_faults(what, lines)


def without_pictures(catalog: Catalog) -> str | None:
    """In one line, how many pictures are named that cannot be used, and why; None where there is none."""
    faults = Counter(fault for fault in catalog.column("image_fault") if fault)
    if not faults:
        return None
    reasons = [f"{fault} {count:,}" for fault, count in faults.most_common(3)] + ["…"] * (len(faults) > 3)
    advice = " (--data.images=FOLDER names one)" if NO_FOLDER in faults else ""
    return " · ".join([f"pictures that cannot be used {faults.total():,}", *reasons]) + advice


def catalog_of(
    table: Table,
    source: Source,
    config: DataConfig,
    compute: ComputeConfig,
    *,
    labeled: bool,
    progress: bool = True,
    advice: _Advice = _TABLE,
) -> Catalog:
    """The catalog of a table without faults; looks at every picture that it names. Arguments as of `read_catalog`."""
    names = table.columns.get(config.image_column, [""] * len(table))
    named = [name for name in names if name.strip()]
    pictures, folder = _pictures(source, config, compute, named, progress, advice)
    return Catalog(_assemble(table, config, names, pictures, labeled), folder)


def catalog_fingerprint(source: Source, config: DataConfig) -> dict[str, str]:
    """Digests of what `read_catalog` reads: of the table's bytes, and of all pictures that it names.

    Returns:
        SHA-256 by name ("table", "images"); a changed or added picture changes the second, a changed time neither.

    Raises:
        MatcherError: The table cannot be read.
    """
    names = read_table(source.table).columns.get(config.image_column, [])
    images = digest(source.images, filter(str.strip, names)) if source.images else ""
    return {"table": hashlib.sha256(source.table.read_bytes()).hexdigest(), "images": images}


def _column_faults(table: Table, config: DataConfig, labeled: bool, advice: _Advice) -> Iterator[tuple[int, str]]:
    for setting in _COLUMNS:
        if labeled or setting != "label_column":
            yield from ((0, fault) for fault in _column_fault(table, config, setting, advice))
    columns = list(table.columns)
    if not {config.title_column, config.image_column} & set(columns):
        yield 0, f"neither a title nor an image column (columns: {_shown(columns)}){advice.name_any}"
    if not len(table):
        yield 0, "no rows" if columns else "the file is empty"


def _column_fault(table: Table, config: DataConfig, setting: str, advice: _Advice) -> Iterator[str]:
    name, columns = getattr(config, setting), list(table.columns)
    if not name or name in columns:
        return
    taken = {getattr(config, other) for other in _COLUMNS}
    near = _nearest(setting, name, [c for c in columns if c not in taken])
    named = name != DataConfig.model_fields[setting].default
    if setting in ("id_column", "label_column") or near or named:
        yield f"no column {name!r}{_about_column(setting, name, near, advice)} (columns: {_shown(columns)})"


def _shown(columns: list[str]) -> str:
    return ", ".join(printable(name) for name in columns) or "none"


def _nearest(setting: str, name: str, columns: list[str]) -> str | None:
    plain = {re.sub(r"[\W_]", "", column.casefold()): column for column in columns}
    others = (re.sub(r"[\W_]", "", name.casefold()), *_OTHER_NAMES.get(setting, ()))
    close = difflib.get_close_matches(others[0], plain, n=1, cutoff=0.75)
    return next((plain[other] for other in (*others, *close) if other in plain), None)


def _about_column(setting: str, name: str, near: str | None, advice: _Advice) -> str:
    if near is None:
        return advice.name.format(setting=setting)
    drop = "" if setting in ("id_column", "label_column") else advice.drop.format(setting=setting)
    rename = advice.rename.format(setting=setting, near=printable(near), name=name)
    return f"; if it is {printable(near)!r}, {rename}{drop}"


def _value_faults(table: Table, config: DataConfig, labeled: bool) -> Iterator[tuple[int, str]]:
    unread = {row for row, _ in table.faults}

    def values(column: str) -> Iterator[tuple[int, str]]:
        rows = enumerate(table.columns.get(column, []), start=1)
        return ((row, value) for row, value in rows if row not in unread)

    first: dict[str, int] = {}
    for row, posting_id in values(config.id_column):
        if not posting_id.strip():
            yield row, f"empty {config.id_column}"
        elif first.setdefault(posting_id, row) != row:
            yield row, f"id {printable(posting_id)!r} stands in row {first[posting_id]} already"
    for row, phash in values(config.phash_column):
        if phash.strip() and not _PHASH.fullmatch(phash.strip()):
            yield row, f"{config.phash_column} {printable(phash)!r} is not 16 hex digits"
    blank = [row for row, label in values(config.label_column) if labeled and not label.strip()]
    if blank:
        more = f" and {len(blank) - _ROWS_SHOWN} more" if len(blank) > _ROWS_SHOWN else ""
        rows = ", ".join(map(str, blank[:_ROWS_SHOWN]))
        yield 0, f"training needs every {config.label_column}: none in row{'s' * (len(blank) > 1)} {rows}{more}"


def _pictures(
    source: Source, config: DataConfig, compute: ComputeConfig, names: list[str], progress: bool, advice: _Advice
) -> tuple[dict[str, Picture | str], Path | None]:
    """What is known of each named picture, and the folder they lie in."""
    folder = source.images
    if folder is None or not names:
        return dict.fromkeys(names, NO_FOLDER), None
    pictures = scan(folder, names, config.max_pixels, compute.cpu_threads, progress)
    if all(picture == MISSING for picture in pictures.values()):
        if folder == source.table.parent.absolute() and not config.images:  # nobody said that pictures lie there
            return dict.fromkeys(names, NO_FOLDER), None
        raise MatcherError(
            f"{source.table}: names {len(pictures)} images ({printable(names[0])}, …), none of them is in {folder}; "
            f"{advice.find}"
        )
    return pictures, folder


def _assemble(
    table: Table, config: DataConfig, names: list[str], pictures: dict[str, Picture | str], labeled: bool
) -> pa.Table:
    found = [pictures.get(name) for name in names]
    usable = [picture if isinstance(picture, Picture) else None for picture in found]
    blank = [""] * len(table)
    given = [int(value, 16) if value.strip() else None for value in table.columns.get(config.phash_column, blank)]
    columns = {
        "posting_id": table.columns[config.id_column],
        "title": [title or None for title in table.columns.get(config.title_column, blank)],
        "image": [name or None for name in names],
        "label_group": table.columns[config.label_column] if labeled else [None] * len(table),
        "phash": [picture.phash if picture else known for picture, known in zip(usable, given, strict=True)],
        "image_sha": [picture and picture.sha for picture in usable],
        "width": [picture and picture.width for picture in usable],
        "height": [picture and picture.height for picture in usable],
        "bytes": [picture and picture.size for picture in usable],
        "image_fault": [reason if isinstance(reason, str) else None for reason in found],
    }
    return pa.table(columns, schema=CATALOG_SCHEMA)
