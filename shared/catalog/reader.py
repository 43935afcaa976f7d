"""Listings read from a table or a frame, with the images that they name, as a `Catalog`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from shared.arrays import object_array
from shared.catalog.cells import is_missing, read_hash
from shared.catalog.config import DataConfig
from shared.catalog.image_folder import LINK, URL, Files, content_digest, find_images, inspect_images, is_url
from shared.catalog.image_memo import ImageMemo
from shared.catalog.images import FORMATS, MISSING, ImageFacts
from shared.catalog.not_used import (
    BLANKS,
    HALF,
    HASH,
    IMAGE,
    LABEL,
    MISSING_WORD,
    NO_HASH,
    TITLE,
    Note,
    note,
    with_notes,
)
from shared.catalog.source import Source
from shared.catalog.tables import Table, frame_table, read_table
from shared.catalog.unusable_images import NO_FOLDER, why_no_image
from shared.catalog.validation import (
    FRAME_ADVICE,
    TABLE_ADVICE,
    Advice,
    check_table,
    has_labels,
    missing_column,
)
from shared.compute import ComputeConfig
from shared.errors import MatcherError, raise_faults
from shared.schema import Catalog


def read_catalog(
    source: Source,
    config: DataConfig,
    compute: ComputeConfig,
    *,
    labeled: bool,
    progress: bool = True,
    table: Table | None = None,
) -> Catalog:
    """Return the listings of a table, with the facts about every image that it names.

    A listing keeps its row whatever its image is like; what is wrong with the image stands in `image_fault`. The
    perceptual hash is taken from the image; the one in the table is used where there is no usable image.

    Args:
        source: From `find_source`.
        config: Section `data`.
        compute: Section `compute`, for the number of threads.
        labeled: Whether label groups are needed, at least of some listings; if not they are not read either.
        progress: Whether to draw a bar when on a terminal.
        table: From `read_source`, if the caller has read it before; None: read it here.

    Returns:
        The listings in the table's order, with every value as written, but labels without blanks at their ends.

    Raises:
        MatcherError: The table has faults (one error names all of them, with their rows), or there is an image folder
            that holds none of the images.
    """
    table = read_source(source, config if labeled else _unlabeled(config)) if table is None else table
    check_table(table, f"{source.table} (row 1 is the first below the header)", config, labeled)
    return catalog_of(table, source, config, compute, labeled=labeled, progress=progress)


def read_source(source: Source, config: DataConfig) -> Table:
    """Return the table of a source, with the columns that the settings name.

    Raises:
        MatcherError: It cannot be read at all.
    """
    return read_table(source.table, config.columns, config.table_settings)


def frame_catalog(listings: pd.DataFrame, images: Path | None, config: DataConfig, compute: ComputeConfig) -> Catalog:
    """Return the unlabeled catalog of a frame, by the same rules as that of a table.

    Args:
        listings: A frame with the columns that `config` names; its index is not looked at.
        images: The image folder; None: the catalog does without images.
        config: Names of the columns, and how large an image may be.
        compute: Section `compute`, for the number of threads.

    Raises:
        MatcherError: The frame has faults (one error names all of them), or there is no such folder, or it holds none
            of the images.

    Examples:
        >>> frame = pd.DataFrame({"posting_id": [7, 8], "title": ["Red Mug 0,3 L", None]})
        >>> catalog = frame_catalog(frame, None, DataConfig(), ComputeConfig())
        >>> catalog.ids.tolist(), catalog.titles.tolist(), catalog.normalized_titles.tolist()
        (['7', '8'], ['Red Mug 0,3 L', ''], ['red mug 0.3l', ''])
    """
    if not isinstance(listings, pd.DataFrame):
        kind = type(listings).__name__
        raise MatcherError(f"listings: a pandas frame is needed, not an object of type {kind}; see pandas.DataFrame")
    if images is not None and not images.is_dir():
        raise MatcherError(f"images={images}: no such folder")
    config = _unlabeled(config).model_copy(update={"images": str(images or "")})
    by = config.table_settings
    table = frame_table(listings, config.columns, by.lenient, by.cut)
    check_table(table, "the frame (row 1 is its first)", config, False, FRAME_ADVICE)
    source = Source(Path("the frame"), images)
    return catalog_of(table, source, config, compute, labeled=False, advice=FRAME_ADVICE)


def _unlabeled(config: DataConfig) -> DataConfig:
    """Return the settings by which the column of labels is not read, so that nothing in it can be a fault."""
    return config.model_copy(update={"label_column": ""})


def read_labels(source: Source, config: DataConfig) -> NDArray[Any]:
    """Return the label group of every listing of a table, to judge matches by: str or None [n].

    Raises:
        MatcherError: The table has no such column, or no listing has a label.
    """
    table = read_source(source, config)
    fault = missing_column(table, config, "label_column")
    raise_faults(str(source.table), [fault] if fault else [])
    labels = [None if is_missing(label) else label.strip() for label in table.columns.get(config.label_column, [])]
    if not any(labels):
        column = config.label_column or "label group"
        raise MatcherError(f"{source.table}: no listing has a {column}, so there is nothing to judge by")
    return object_array(labels)


def is_labeled(source: Source, config: DataConfig) -> bool:
    """Return whether a table is to be read as a labeled one; see `has_labels`.

    Raises:
        MatcherError: The table cannot be read at all.
    """
    return has_labels(read_source(source, config), config)


def catalog_of(
    table: Table,
    source: Source,
    config: DataConfig,
    compute: ComputeConfig,
    *,
    labeled: bool,
    progress: bool = True,
    advice: Advice = TABLE_ADVICE,
) -> Catalog:
    """Return the catalog of a table without faults, with the facts about every image that it names.

    Args:
        table: The listings.
        source: Where the table comes from, for errors, and its image folder.
        config: Section `data`.
        compute: Section `compute`, for the number of threads.
        labeled: Whether to take the label groups.
        progress: Whether to draw a bar when on a terminal.
        advice: Words for what to do when no image is in the image folder.

    Raises:
        MatcherError: There is an image folder that holds none of the images.
    """
    notes: dict[int, list[Note]] = {}
    titles, names = (
        _present(table, name, what, notes)
        for name, what in ((config.title_column, TITLE), (config.image_column, IMAGE))
    )
    for row, name in table.halves:
        what = TITLE if name == config.title_column else IMAGE
        notes.setdefault(row - 1, []).append(note(what, table.columns[name][row - 1], HALF))
    labels = _labels(table, config, notes) if labeled else [None] * len(table)
    folder, files, images = _inspected(source, config, compute, _named(table, config), progress, advice)
    looks = [images.get(name or "") for name in names]
    facts = [image if isinstance(image, ImageFacts) else None for image in looks]
    hashes = _hashes(table, config, notes)
    columns: dict[str, list[Any]] = {
        "posting_id": table.columns[config.id_column],
        "title": titles,
        "image": [name and _path_of(files.get(name), name) for name in names],
        "label_group": labels,
        "phash": [image.phash if image else phash for image, phash in zip(facts, hashes, strict=True)],
        "image_sha": [image and image.sha for image in facts],
        "width": [image and image.width for image in facts],
        "height": [image and image.height for image in facts],
        "bytes": [image and image.size for image in facts],
        "image_fault": [fault if isinstance(fault, str) else None for fault in looks],
        "not_used": with_notes([None] * len(table), notes),
    }
    return Catalog.from_columns(columns, folder)


def _present(table: Table, column: str, what: str, notes: dict[int, list[Note]]) -> list[str | None]:
    """Return the values of a column, None for each that is missing; a word for a missing value is noted."""
    values: list[str | None] = []
    for row, text in enumerate(table.columns.get(column, [""] * len(table))):
        missing = is_missing(text)
        if missing and text.strip():
            notes.setdefault(row, []).append(note(what, text, MISSING_WORD))
        values.append(None if not text or (missing and (text.strip() or what != TITLE)) else text)
    return values


def _labels(table: Table, config: DataConfig, notes: dict[int, list[Note]]) -> list[str | None]:
    """Return the label of each listing without blanks at its ends, which are noted."""
    labels = _present(table, config.label_column, LABEL, notes)
    for row, label in enumerate(labels):
        if label is not None and (label[0].isspace() or label[-1].isspace()):
            labels[row] = label.strip()
            notes.setdefault(row, []).append(note(LABEL, label, BLANKS))
    return labels


def _hashes(table: Table, config: DataConfig, notes: dict[int, list[Note]]) -> list[int | None]:
    """Return the hash of each listing; one that cannot be read is noted."""
    hashes: list[int | None] = []
    for row, text in enumerate(_present(table, config.phash_column, HASH, notes)):
        hashes.append(None if text is None else read_hash(text))
        if text is not None and hashes[-1] is None:
            notes.setdefault(row, []).append(note(HASH, text, NO_HASH))
    return hashes


def _inspected(
    source: Source, config: DataConfig, compute: ComputeConfig, names: list[str], progress: bool, advice: Advice
) -> tuple[Path | None, Files, Mapping[str, ImageFacts | str]]:
    """Return the image folder, if it is of use, and by name the file and the facts or the fault of each image."""
    folder, unused = source.images, {name: URL if is_url(name) else NO_FOLDER for name in names}
    if not names or (folder is None and advice is FRAME_ADVICE):  # without images on purpose
        return None, {}, unused
    files = _files(source, config, names)
    images = inspect_images(folder, files, config.max_pixels, compute.cpu_threads, progress) if folder else unused
    if fault := why_no_image(images, folder, config.image_column, advice):
        if _is_unnamed(source, config) and MISSING in images.values() and LINK not in images.values():
            return None, {}, unused
        raise MatcherError(f"{source.table}: {fault}")
    return folder, files, images


def _named(table: Table, config: DataConfig) -> list[str]:
    return [name for name in table.columns.get(config.image_column, []) if not is_missing(name)]


def _files(source: Source, config: DataConfig, names: Sequence[str]) -> Files:
    """Return the file of every image that is named; in a folder that nobody named, files are not guessed."""
    if source.images is None:
        return {}
    guess = not _is_unnamed(source, config)
    return find_images(source.images, names, follow_links=config.follow_links, guess=guess)


def _is_unnamed(source: Source, config: DataConfig) -> bool:
    """Return whether the image folder is the table's own, and nobody said that images lie there."""
    return source.images == source.table.parent.absolute() and not config.images


def _path_of(file: Path | str | None, name: str) -> str:
    """Return a name as written, or the path of its file where that is another."""
    return str(file) if isinstance(file, Path) and file != Path(name) else name


def catalog_fingerprint(
    source: Source, config: DataConfig, memo: ImageMemo | None = None, table: Table | None = None
) -> dict[str, str]:
    """Return digests of what `read_catalog` reads: of the table's bytes, and of all images that it names.

    Args:
        source: From `find_source`.
        config: Section `data`.
        memo: Digests of images from before; files of the same size and time are not read again. None: all are read.
        table: From `read_source`, if the caller has read it before; None: read it here.

    Returns:
        SHA-256 by name ("table", "images"); a changed or added image changes the second, a changed time neither.

    Raises:
        MatcherError: The table cannot be read.
    """
    table = read_source(source, config) if table is None else table
    names = _named(table, config)
    images = content_digest(source.images, _files(source, config, names), memo) if source.images else ""
    readers = {"heif": "pillow-heif"} if "HEIF" in FORMATS else {}  # once it is installed, images are read again
    return {"table": _sha256(source.table), "images": images, **readers}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise MatcherError(f"{path}: cannot be read: {error}") from None
