"""More to learn from than the catalog's own labels: other catalogs, published data sets, labeled title pairs.

Each of them becomes a stage `catalog/extra/<name>` with a `Catalog` of its own, whose ids and label groups begin
with that name. Training joins them to the catalog's training rows (`join`), but for what an encoder may not see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.artifacts import digest
from shared.catalog.config import DataConfig
from shared.catalog.image_folder import content_digest, find_images
from shared.catalog.public_datasets import (
    IN_SHOP_FILES,
    PAIR_COLUMNS,
    SOP_FILES,
    LabeledTable,
    files_in,
    read_in_shop,
    read_sop,
    read_title_pairs,
)
from shared.catalog.reader import catalog_fingerprint, catalog_of, read_catalog
from shared.catalog.source import Source, find_source
from shared.catalog.split import components, evidence
from shared.catalog.tables import ENDINGS, FOLDER_ENDINGS, ending, read_table
from shared.compute import ComputeConfig
from shared.config import ConfigSection
from shared.errors import MatcherError
from shared.schema import Catalog, Flags

SOP, IN_SHOP, PAIRS, CATALOG = "Stanford Online Products", "DeepFashion In-shop", "title pairs", "catalog"
LAYOUTS: Mapping[str, Callable[[Path], LabeledTable]] = {SOP: read_sop, IN_SHOP: read_in_shop, PAIRS: read_title_pairs}
KNOWN = f"""known are
  - {SOP}: a folder with {" or ".join(SOP_FILES)}
  - {IN_SHOP} Clothes Retrieval: a folder with {" or ".join(IN_SHOP_FILES)}
  - a catalog as --data takes it, with the columns' default names: a folder with train.csv, or one table
  - {PAIRS}: a table with the columns {", ".join(PAIR_COLUMNS)}; a table's name ends with {", ".join(ENDINGS)}"""


@dataclass(frozen=True)
class Extra:
    """Training data beside the catalog.

    Args:
        path: Where it lies, absolute.
    """

    path: Path

    @property
    def name(self) -> str:
        """Its name in a run: the path's last part and a digest of the whole path."""
        return f"{re.sub(r'[^A-Za-z0-9_]+', '_', self.path.name)[:40]}-{digest(str(self.path))[:12]}"

    @property
    def stage(self) -> str:
        """The stage that reads it."""
        return f"catalog/extra/{self.name}"


def extras_of(config: ConfigSection) -> list[Extra]:
    """What a branch's setting `extra` names, each path once; nothing for a branch without that setting."""
    paths = [Path(os.path.expanduser(given)).absolute() for given in getattr(config, "extra", [])]
    return [Extra(path) for path in dict.fromkeys(paths)]


def layout_of(path: Path) -> str:
    """Tell by its files which layout a path holds: `CATALOG`, or a key of `LAYOUTS`.

    Raises:
        MatcherError: It does not exist, or holds no known layout; the message says which are known.
    """
    if path.is_dir():
        kinds = {SOP: SOP_FILES, IN_SHOP: IN_SHOP_FILES, CATALOG: [f"train{end}" for end in FOLDER_ENDINGS]}
        found = next((kind for kind, files in kinds.items() if files_in(path, files)), None)
    elif path.is_file() and ending(path):
        found = PAIRS if set(PAIR_COLUMNS[:2]) & set(read_table(path, PAIR_COLUMNS).columns) else CATALOG
    else:
        found = None
    if found is None:
        what = "holds no training data of a known layout" if path.exists() else "no such file or folder"
        raise MatcherError(f"extra={path}: {what}; {KNOWN}")
    return found


@dataclass(frozen=True)
class Reading:
    """How to read an extra, and digests of all that this would read.

    Args:
        layout: What is there: `CATALOG` or a key of `LAYOUTS`.
        sources: Digests of the table and of the images it names.
        images: The image folder; None when there is none.
        read: Reads the listings.
        metrics: What was noticed about the data before an image was looked at, by name.
    """

    layout: str
    sources: dict[str, str]
    images: Path | None
    read: Callable[[], Catalog]
    metrics: dict[str, int] = field(default_factory=dict)


def reading_of(path: Path, compute: ComputeConfig) -> Reading:
    """Find out how an extra is to be read.

    Raises:
        MatcherError: It is no extra, or has faults (one error names all of them).
    """
    layout = layout_of(path)
    return _catalog(path, compute) if layout == CATALOG else _published(path, layout, compute)


def read_extra(path: Path, name: str, compute: ComputeConfig) -> tuple[Catalog, Reading]:
    """Read an extra.

    Args:
        path: Where it lies.
        name: What its ids and label groups are to begin with, so that no other catalog has the same.
        compute: Section `compute`, for the number of threads.

    Raises:
        MatcherError: It has faults (one error names all of them), or no two of its listings are of one product.
    """
    reading = reading_of(path, compute)
    catalog = reading.read()
    _require_a_pair(path, catalog.labels.tolist())
    return _prefixed(catalog, name), reading


def _require_a_pair(path: Path, labels: Sequence[str]) -> None:
    if len(set(labels)) == len(labels):
        raise MatcherError(f"{path}: no two of its {len(labels)} listings are of one product: nothing to learn from")


def _catalog(path: Path, compute: ComputeConfig) -> Reading:
    config = DataConfig()
    source = find_source(path, config)

    def read() -> Catalog:
        try:
            catalog = read_catalog(source, config, compute, labeled=True)
        except MatcherError as error:
            told = "an extra is read with --data's settings at their defaults, whatever the run's are"
            raise MatcherError(f"{error}\n({told}; {KNOWN})") from None
        return catalog.take(np.flatnonzero([label is not None for label in catalog.labels]))

    return Reading(CATALOG, catalog_fingerprint(source, config), source.images, read)


def _published(path: Path, layout: str, compute: ComputeConfig) -> Reading:
    labeled, config = LAYOUTS[layout](path), DataConfig()
    table, images = labeled.table, labeled.images
    _require_a_pair(path, table.columns["label_group"])  # before minutes go into images
    sources = {
        "table": digest([table.columns, labeled.counts]),
        "images": content_digest(images, find_images(images, table.columns["image"])) if images else "",
    }
    source = Source(path, images)
    return Reading(
        layout, sources, images, lambda: catalog_of(table, source, config, compute, labeled=True), labeled.counts
    )


def _prefixed(catalog: Catalog, name: str) -> Catalog:
    """The catalog with ids and label groups that no other has: each begins with `name`."""
    columns = ("posting_id", "label_group")
    return catalog.with_columns({key: [f"{name}:{value}" for value in catalog.column(key)] for key in columns})


def join(
    own: Catalog, extras: Sequence[Catalog], unseen: Sequence[Catalog]
) -> tuple[Catalog, NDArray[np.int32], dict[str, int]]:
    """Add extra listings to those an encoder is trained on, but none that gives away what it is measured on.

    An extra listing that has the image content, perceptual hash or normalized title of an unseen one is left out, and
    with it its whole connected component over own and extra listings: its group shows the same product, and so may
    what shares a image, hash or title with the group. Own listings stay, as the split has parted them from the
    unseen ones. Images that are near copies of an unseen one are not noticed; the split does not notice them either.

    Components are made over all that is left, so an extra listing is not a negative of one whose title, image or
    hash it shares, whatever their labels.

    Args:
        own: Training rows of the catalog.
        extras: With ids and label groups that no other has.
        unseen: Listings that the encoder must not know anything of.

    Returns:
        Own listings and after them the extra ones that are left; the component of each, int32 [n]; and how many extra
        listings are there and how many were left out.
    """
    joined = Catalog.concat([own, *extras])
    component, extra = components(joined), np.arange(len(joined)) >= len(own)
    leaked = np.concatenate([np.zeros(len(own), dtype=bool), *(_shares_evidence(each, unseen) for each in extras)])
    left_out = extra & np.isin(component, component[leaked])
    kept = joined.take(np.flatnonzero(~left_out))
    metrics = {"extra_joined": len(kept) - len(own), "extra_left_out": int(left_out.sum())}
    return kept, components(kept), metrics


def _shares_evidence(catalog: Catalog, others: Sequence[Catalog]) -> Flags:
    """Which listings have the image content, hash or normalized title of one in `others`, bool [n]."""
    shares = np.zeros(len(catalog), dtype=bool)
    known = [evidence(other) for other in others]
    for at, values in enumerate(evidence(catalog)):
        seen = {value for columns in known for value in columns[at]} - {None}
        shares |= np.array([value in seen for value in values], dtype=bool)
    return shares
