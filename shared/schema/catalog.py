"""The listings of a catalog."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.arrays import object_array
from shared.schema.types import Flags, require
from shared.titles import normalize_all

UNUSED = pa.struct(  # a part of a listing that was not used, its text, and why
    [pa.field("what", pa.string()), pa.field("value", pa.string()), pa.field("reason", pa.string())]
)
CATALOG_SCHEMA = pa.schema(  # what is read of a listing
    [
        pa.field("posting_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),  # as written; null or blank: no title
        pa.field("image", pa.string()),  # file name as written, below the image folder
        pa.field("label_group", pa.string()),  # null: not labeled
        pa.field("phash", pa.uint64()),  # of the image, or the one in the table where its file is missing
        pa.field("image_sha", pa.string()),  # SHA-256 of the file's bytes, hex; null: no usable image
        pa.field("width", pa.int32()),  # pixels, as shown (after EXIF rotation)
        pa.field("height", pa.int32()),
        pa.field("bytes", pa.int64()),
        pa.field("image_fault", pa.string()),  # why the image that the table names cannot be used
        pa.field("not_used", pa.list_(pa.field("element", UNUSED))),  # what else was not used; null: nothing
    ]
)
NORMALIZED_TITLE = pa.field("normalized_title", pa.string())  # null: nothing is left of it, or it cannot be read


@dataclass(frozen=True)
class Catalog:
    """Listings in the order in which they were read.

    Args:
        table: Columns of `CATALOG_SCHEMA`, and `NORMALIZED_TITLE` as the last one. A table without the last one gets
            it here, so that every title is normalized once. Ids are unique and not null.
        image_folder: Folder below which the names in `image` are looked up; None when no image is used.
        sources: Names of the catalogs that were joined to it (`join`); none where it was read from one table.

    Raises:
        ValueError: The table has other columns or types, or an id is null or occurs twice.

    Examples:
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b", "c"], "title": ["Red Mug!", None, "Fan 5 V"]})
        >>> catalog.normalized_titles.tolist()
        ['red mug', '', 'fan 5v']
        >>> catalog.take(np.array([2, 0])).ids.tolist()
        ['c', 'a']
    """

    table: pa.Table
    image_folder: Path | None = None
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fields = [(f.name, f.type) for f in self.table.schema]
        as_read = [(f.name, f.type) for f in CATALOG_SCHEMA]
        complete = [*as_read, (NORMALIZED_TITLE.name, NORMALIZED_TITLE.type)]
        require(fields in (as_read, complete), f"catalog columns: {fields}")
        ids = self.ids
        require(None not in ids, "a posting id is null")
        require(len(set(ids)) == len(ids), "posting ids are not unique")
        if fields == as_read:
            normalized = pa.array([title or None for title in normalize_all(self.titles)], NORMALIZED_TITLE.type)
            object.__setattr__(self, "table", self.table.append_column(NORMALIZED_TITLE, normalized))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @classmethod
    def from_columns(cls, columns: Mapping[str, Sequence[Any]], image_folder: Path | None = None) -> Self:
        """Return the catalog of some columns; all others are null.

        Args:
            columns: `posting_id` and any other of `CATALOG_SCHEMA`, each of n values, None where there is none.
            image_folder: Folder below which the names in `image` are looked up.

        Raises:
            ValueError: A column is not of `CATALOG_SCHEMA`, or the ids are missing, null or not unique.
        """
        unknown = sorted(columns.keys() - set(CATALOG_SCHEMA.names))
        require(not unknown, f"no columns of a catalog: {', '.join(unknown)}")
        require("posting_id" in columns, "a catalog needs the column posting_id")
        nulls = [None] * len(columns["posting_id"])
        table = {name: columns.get(name, nulls) for name in CATALOG_SCHEMA.names}
        return cls(pa.table(table, schema=CATALOG_SCHEMA), image_folder)

    def with_columns(self, columns: Mapping[str, Sequence[Any]]) -> Catalog:
        """Return the same listings with some columns replaced; the normalized titles follow the titles.

        Args:
            columns: Columns of `CATALOG_SCHEMA`, each of n values, None where there is none.

        Raises:
            ValueError: The ids are null or not unique.
        """
        table = self.table.drop_columns([NORMALIZED_TITLE.name]) if "title" in columns else self.table
        for name, values in columns.items():
            column = CATALOG_SCHEMA.get_field_index(name)
            field = CATALOG_SCHEMA.field(column)
            table = table.set_column(column, field, pa.array(values, field.type))
        return Catalog(table, self.image_folder, self.sources)

    def column(self, name: str) -> NDArray[Any]:
        """Return one column as an object array [n], None where it is null."""
        return object_array(self.table.column(name).to_pylist())

    @property
    def ids(self) -> NDArray[Any]:
        """Posting ids, str [n]."""
        return self.column("posting_id")

    @property
    def titles(self) -> NDArray[Any]:
        """Titles as written, str [n]; "" where there is none."""
        return object_array(title or "" for title in self.column("title"))

    @property
    def normalized_titles(self) -> NDArray[Any]:
        """Titles in the form of `shared.titles.normalize`, str [n]; "" where there is none."""
        return object_array(title or "" for title in self.column(NORMALIZED_TITLE.name))

    @property
    def has_unreadable_title(self) -> Flags:
        """Whether each listing has a title that `shared.titles` cannot read, bool [n]; it counts as having none."""
        unreadable = self.table.column(NORMALIZED_TITLE.name).is_null().to_numpy() & (self.titles != "")
        rows = np.flatnonzero(unreadable)
        unreadable[rows] = [title is None for title in normalize_all(self.titles[rows])]
        flags: Flags = unreadable
        return flags

    @property
    def labels(self) -> NDArray[Any]:
        """Label groups, str or None [n]."""
        return self.column("label_group")

    @property
    def has_image(self) -> Flags:
        """Whether the image of each listing can be decoded, bool [n]."""
        valid: Flags = self.table.column("image_sha").is_valid().to_numpy()
        return valid

    @property
    def has_phash(self) -> Flags:
        """Whether each listing has a perceptual hash, bool [n]."""
        valid: Flags = self.table.column("phash").is_valid().to_numpy()
        return valid

    @property
    def phashes(self) -> NDArray[np.uint64]:
        """Perceptual hashes, uint64 [n]; 0 where there is none."""
        hashes: NDArray[np.uint64] = self.table.column("phash").fill_null(0).to_numpy().astype(np.uint64)
        return hashes

    def counts(self) -> dict[str, int]:
        """Return the number of listings, of those with an image and of those with a title, for progress lines."""
        return {
            "listings": len(self),
            "with_image": int(self.has_image.sum()),
            "with_title": int((self.titles != "").sum()),
        }

    def image_paths(self) -> list[Path | None]:
        """Return the image file of each listing; None where it cannot be used."""
        folder, names = self.image_folder, self.column("image")
        return [folder / n if folder and ok else None for n, ok in zip(names, self.has_image, strict=True)]

    def take(self, rows: NDArray[np.integer]) -> Catalog:
        """Return the listings at `rows`, in that order."""
        taken = self.table.take(pa.array(np.asarray(rows, dtype=np.int64)))
        return Catalog(taken, self.image_folder, self.sources)

    @classmethod
    def concat(cls, catalogs: Sequence[Catalog]) -> Catalog:
        """Return the listings of one or more catalogs, one after the other; their ids must differ.

        The image folder is the one that all of theirs lie in. A usable image's name is written from there; other
        names stay as they were written and stand for no file. Its sources are those of all of them.
        """
        folders = [c.image_folder.absolute() for c in catalogs if c.image_folder and c.has_image.any()]
        root = Path(os.path.commonpath(folders)) if folders else None
        sources = tuple(dict.fromkeys(name for catalog in catalogs for name in catalog.sources))
        return cls(pa.concat_tables([catalog._named_from(root).table for catalog in catalogs]), root, sources)

    def _named_from(self, root: Path | None) -> Catalog:
        """Return the catalog with the names of usable images written from `root`, which lies above its folder."""
        paths, written = self.image_paths(), self.column("image")
        names = [str(p.absolute().relative_to(root)) if p and root else n for p, n in zip(paths, written, strict=True)]
        return self.with_columns({"image": names})

    @classmethod
    def join(cls, catalogs: Mapping[str, Catalog]) -> Catalog:
        """Return the listings of several catalogs, one after the other; ids and label groups become `source:value`.

        Args:
            catalogs: Name of the source → its catalog; a name holds no colon.

        Examples:
            >>> shop = Catalog.from_columns({"posting_id": ["1", "2"]})
            >>> joined = Catalog.join({"a": shop, "b": shop})
            >>> joined.ids.tolist(), joined.source_numbers().tolist(), joined.of_source("b").ids.tolist()
            (['a:1', 'a:2', 'b:1', 'b:2'], [0, 0, 1, 1], ['1', '2'])
        """
        joined = cls.concat([catalog._renamed(f"{name}:".__add__) for name, catalog in catalogs.items()])
        return cls(joined.table, joined.image_folder, tuple(catalogs))

    def _renamed(self, rename: Callable[[str], str]) -> Catalog:
        """Return the same listings with other ids and label groups."""
        columns = ("posting_id", "label_group")
        return self.with_columns(
            {key: [value if value is None else rename(value) for value in self.column(key)] for key in columns}
        )

    def source_numbers(self) -> NDArray[np.int64]:
        """Return the position in `sources` of each listing's source, int64 [n]; -1 where it is from none of them."""
        number = {name: position for position, name in enumerate(self.sources)}
        prefixes = (posting_id.partition(":")[0] for posting_id in self.ids) if self.sources else [""] * len(self)
        return np.array([number.get(prefix, -1) for prefix in prefixes], dtype=np.int64)

    def of_source(self, source: str) -> Catalog:
        """Return the listings of one source of a joined catalog, with ids and label groups as in their own table."""
        rows = np.flatnonzero(self.source_numbers() == self.sources.index(source))
        part = self.take(rows)._renamed(lambda value: value.removeprefix(f"{source}:"))
        return Catalog(part.table, part.image_folder)

    def without_labels(self) -> Catalog:
        """Return the same listings, as if nobody had labeled them."""
        return self.with_columns({"label_group": [None] * len(self)})

    def save(self, path: Path) -> None:
        """Write one Parquet file; the image folder and the sources travel in its metadata."""
        metadata = {"image_folder": str(self.image_folder) if self.image_folder else ""}
        if self.sources:
            metadata["sources"] = ",".join(self.sources)
        pq.write_table(self.table.replace_schema_metadata(metadata), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; titles of a file without their normalized form are normalized."""
        table = pq.read_table(path)
        if "not_used" not in table.column_names:  # of an earlier version
            field = CATALOG_SCHEMA.field("not_used")
            place = CATALOG_SCHEMA.get_field_index("not_used")
            table = table.add_column(place, field, pa.nulls(table.num_rows, field.type))
        metadata = table.schema.metadata or {}
        folder, names = (metadata.get(key, b"").decode() for key in (b"image_folder", b"sources"))
        sources = tuple(names.split(",")) if names else ()
        return cls(table.replace_schema_metadata(None), Path(folder) if folder else None, sources)
