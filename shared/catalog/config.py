"""Settings of reading listings."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from shared.catalog.images import PILLOW_MAX_PIXELS
from shared.catalog.tables import TableSettings, ending
from shared.catalog.tables.bounds import LONGEST_LINE, MAX_CHARACTERS, MAX_GB
from shared.catalog.tables.encoding import check_encoding
from shared.config import ConfigSection

Duplicates = Literal["unknown", "all", "pairs"]  # what a user knows of how many listings of a catalog sell one product


class DataConfig(ConfigSection):
    """Section `data`: how the listings are written down."""

    path: str | list[str] = Field(
        "demo",
        description="folder in Kaggle layout, or one table; demo: invented listings; several, A,B: all train one "
        "system, each searched alone",
    )
    id_column: str = Field("posting_id", min_length=1, description="column with the listing's unique id")
    title_column: str = Field("title", description="column with the title; empty: there is none")
    image_column: str = Field("image", description="column with the image's file name; empty: there is none")
    phash_column: str = Field("image_phash", description="column with a perceptual hash (16 hex digits), if any")
    label_column: str = Field(
        "label_group",
        description="column with the product that the listing sells, for training; empty: nobody labeled the listings",
    )
    images: str = Field(
        "",
        description="image folder, looked for beside the table, then here; empty: train_images or test_images beside "
        "the table; for a single table also images, then the table's own folder",
    )
    follow_links: bool = Field(
        False,
        description="use images that are links to files outside the image folder, as of DVC and git-annex; only in "
        "folders whose makers you trust",
    )
    duplicates: Duplicates = Field(
        "unknown",
        description="what you know of the catalog to be matched; all: every listing has a match; pairs: no product has "
        "more than two listings, as in two lists with one listing each",
    )
    encoding: str = Field(
        "",
        description="encoding of a CSV or JSON file without a byte order mark, such as cp1252, gb18030 or shift_jis; "
        "empty: UTF-8",
    )
    max_table_gb: float = Field(
        MAX_GB, gt=0, le=1000, description="a table that holds more gigabytes once it is decompressed is refused"
    )
    max_characters: int = Field(
        MAX_CHARACTERS, ge=1, le=LONGEST_LINE, description="a table with a longer title, id or other cell is refused"
    )
    max_pixels: int = Field(50_000_000, ge=1, le=PILLOW_MAX_PIXELS, description="larger images are refused undecoded")

    @field_validator("path", mode="before")
    @classmethod
    def _check_path(cls, value: Any) -> Any:
        parts = value if isinstance(value, list) and value else [value]
        if not all(isinstance(part, str) for part in parts):
            raise ValueError("a catalog is named by the text of its path, several by a list of texts")
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        return check_encoding(value.strip())

    @property
    def table_settings(self) -> TableSettings:
        """Return how tables are to be read."""
        lenient, cut = frozenset({self.phash_column}), frozenset({self.title_column, self.image_column})
        return TableSettings(self.encoding, self.max_table_gb, self.max_characters, lenient, cut)

    @property
    def columns(self) -> set[str]:
        """Return the names of the columns that are read."""
        return {self.id_column, self.title_column, self.image_column, self.phash_column, self.label_column} - {""}

    @property
    def paths(self) -> list[str]:
        """Return the folders and tables that `path` names; `demo` stands for the demo marketplace.

        Examples:
            >>> DataConfig(path="my/catalog").paths, DataConfig(path=["demo", "my/catalog"]).paths
            (['my/catalog'], ['demo', 'my/catalog'])
        """
        return [self.path] if isinstance(self.path, str) else self.path

    @property
    def sources(self) -> list[str]:
        """Return a name for each of `paths`, unique in any case of letters; [""] where there is one path.

        Examples:
            >>> DataConfig(path="my/catalog").sources
            ['']
            >>> DataConfig(path=["/a/shop.csv", "/b/Shop", "demo"]).sources
            ['shop', 'Shop-2', 'demo']
        """
        if len(self.paths) == 1:
            return [""]
        names: list[str] = []
        for path in map(Path, self.paths):
            stem = path.name[: -len(ending(path) or "")] if ending(path) else path.name
            plain = re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:30] or "catalog"
            endings = ("", *(f"-{number}" for number in range(2, len(self.paths) + 1)))
            used = {name.lower() for name in names}
            names.append(next(plain + end for end in endings if (plain + end).lower() not in used))
        return names
