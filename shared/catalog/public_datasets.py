"""Labeled data as others publish it: two image data sets in their own layouts, and tables of title pairs.

- Stanford Online Products (Song et al., CVPR 2016): `Ebay_train.txt`, `Ebay_test.txt`, `Ebay_info.txt`; images in
  `bicycle_final/` and eleven other folders beside them.
- DeepFashion In-shop Clothes Retrieval (Liu et al., CVPR 2016): `Eval/list_eval_partition.txt`; images of 256 pixels in
  `Img/img/`, larger ones in `Img/img_highres/`.
- Title pairs: a table with the columns `title_1`, `title_2` and `label` (1: the same product, 0: not).

All parts that are there are taken, those published for testing too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shared.arrays import object_array
from shared.catalog.image_folder import locate
from shared.catalog.images import ImageFault
from shared.catalog.tables import Table, printable, read_table
from shared.errors import MatcherError, raise_faults
from shared.titles import normalize_all

SOP_FILES = ("Ebay_train.txt", "Ebay_test.txt", "Ebay_info.txt")
SOP_HEADER = ("image_id", "class_id", "super_class_id", "path")
IN_SHOP_FILES = tuple(f"{folder}list_eval_partition.txt" for folder in ("Eval/", "Anno/", ""))
IN_SHOP_HEADER = ("image_name", "item_id", "evaluation_status")
IN_SHOP_PARTS = ("train", "query", "gallery")
IN_SHOP_IMAGES = ("img/", "img_highres/")  # the list names the first; the second holds the same names
PAIR_COLUMNS = ("title_1", "title_2", "label")


@dataclass(frozen=True)
class LabeledTable:
    """Listings with their products, before their images are read.

    Args:
        table: Columns `posting_id`, `label_group`, and `image` or `title`; without faults.
        images: Folder below which the names in `image` are looked up; None when there are none.
        counts: Numbers that reading the data brought up, by name.
    """

    table: Table
    images: Path | None = None
    counts: dict[str, int] = field(default_factory=dict)


def files_in(folder: Path, files: Sequence[str]) -> list[Path]:
    """Return those of some files that a folder holds, in the same order."""
    return [folder / name for name in files if (folder / name).is_file()]


def read_sop(folder: Path) -> LabeledTable:
    """Return Stanford Online Products: one listing per image, `class_id` is its product.

    Raises:
        MatcherError: Lists every fault with its file and row; or none of the images is there.
    """
    faults: list[str] = []
    products: dict[str, str] = {}
    for file in files_in(folder, SOP_FILES):
        for place, (_, product, _, image) in _rows(file, _lines(file), SOP_HEADER, faults):
            _assign(products, image, product, place, faults)
    return _image_listings(folder, products, faults, [(folder, {})])


def read_in_shop(folder: Path) -> LabeledTable:
    """Return In-shop Clothes Retrieval: one listing per image, `item_id` is its product.

    The images are those of `img/`; where these are not there, those of `img_highres/`.

    Raises:
        MatcherError: Lists every fault with its file and row; or none of the images is there.
    """
    faults: list[str] = []
    products: dict[str, str] = {}
    file = files_in(folder, IN_SHOP_FILES)[0]
    count, *lines = _lines(file) or [[]]
    if count != [str(max(0, len(lines) - 1))]:
        first = printable(" ".join(count))
        faults.append(f"{file.name}: the first line is {first!r}, not the number of rows, {max(0, len(lines) - 1)}")
    for place, (image, product, part) in _rows(file, lines, IN_SHOP_HEADER, faults):
        if part not in IN_SHOP_PARTS:
            faults.append(f"{place}: evaluation_status {printable(part)!r} is none of {', '.join(IN_SHOP_PARTS)}")
        _assign(products, image, product, place, faults)
    listed, large = IN_SHOP_IMAGES
    larger = {name: large + name.removeprefix(listed) for name in products if name.startswith(listed)}
    places = [(place, files) for files in ({}, larger) for place in (folder, folder / "Img")]
    return _image_listings(folder, products, faults, places)


def _lines(file: Path) -> list[list[str]]:
    """Return the words of every line that is not blank."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MatcherError(f"{file}: byte {error.start} is not UTF-8") from None
    return [words for line in text.splitlines() if (words := line.split())]


def _rows(
    file: Path, lines: list[list[str]], header: Sequence[str], faults: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield each sound row with its place in words; row 1 is the first below the header. Add to `faults`."""
    if not lines or lines[0] != list(header):
        first = printable(" ".join(lines[0])) if lines else ""
        faults.append(f"{file.name}: the header is {first!r}, not {' '.join(header)!r}")
        return
    for row, words in enumerate(lines[1:], start=1):
        if len(words) == len(header):
            yield f"{file.name} row {row}", words
        else:
            faults.append(f"{file.name} row {row}: {len(words)} fields where the header has {len(header)}")


def _assign(products: dict[str, str], image: str, product: str, place: str, faults: list[str]) -> None:
    previous = products.setdefault(image, product)
    if previous != product:
        faults.append(
            f"{place}: {printable(image)!r} is of {printable(product)!r} here, of {printable(previous)!r} before"
        )


def _image_listings(
    folder: Path, products: dict[str, str], faults: list[str], places: Sequence[tuple[Path, Mapping[str, str]]]
) -> LabeledTable:
    """Return one listing per image, in the first place that holds one of them.

    Args:
        folder: The data set.
        products: Name of each image as listed, and its product.
        faults: What is wrong with the lists; any is an error.
        places: Folders with images, and how files in them are named that are not named as listed.
    """
    if not products and not faults:
        faults = ["no rows"]
    raise_faults(f"{folder} (row 1 is the first below the header)", faults)
    for place, renamed in places:
        images = [renamed.get(name, name) for name in products]
        if any(_is_there(place, image) for image in images):
            columns = {"posting_id": list(products), "image": images, "label_group": list(products.values())}
            return LabeledTable(Table(columns), place)
    tried = " or ".join(dict.fromkeys(str(place) for place, _ in places))
    raise MatcherError(
        f"{folder}: names {len(products)} images ({printable(next(iter(products)))}, …), none of them is in {tried}; "
        "unpack the images there"
    )


def _is_there(folder: Path, name: str) -> bool:
    try:
        return (folder / locate(folder, name)).is_file()
    except ImageFault:
        return False


def read_title_pairs(path: Path) -> LabeledTable:
    """Return one listing per title of labeled pairs; products are the connected components of the pairs with 1.

    Titles that are equal once normalized are one listing, written as where it first stands (`title_1` before
    `title_2`). A title that no pair with 1 names is a product by itself, which is all that a pair with 0 says: the
    other one is not its match. A pair with a blank title says nothing and is left out. Pairs with 0 inside one
    component contradict the pairs with 1 that make it; these win, and the counts say how many there are.

    Raises:
        MatcherError: Lists every fault with its row.
    """
    table = read_table(path, PAIR_COLUMNS)
    faults = sorted([*table.faults, *_pair_faults(table)], key=lambda fault: fault[0])
    lines = [f"row {row}: {fault}" if row else fault for row, fault in faults]
    raise_faults(f"{path} (row 1 is the first below the header)", lines)

    written = np.array([table.columns[name] for name in PAIR_COLUMNS[:2]], dtype=object)  # [2, pairs]
    normalized = np.stack([object_array(form or "" for form in normalize_all(titles)) for titles in written])
    matches = np.array([label.strip() == "1" for label in table.columns["label"]], dtype=bool)
    blank = (normalized == "").any(axis=0)
    titles, texts = pd.factorize(normalized[:, ~blank].ravel())  # numbered as they first come
    _, first = np.unique(titles, return_index=True)
    left, right = titles.reshape(2, -1)
    product = _linked(left, right, matches[~blank], len(texts))
    contradicted = (product[left] == product[right]) & ~matches[~blank]
    columns = {
        "posting_id": [str(title) for title in range(len(texts))],
        "title": written[:, ~blank].ravel()[first].tolist(),
        "label_group": [str(number) for number in product],
    }
    counts = {"pairs": len(table), "pairs without a title": blank.sum(), "contradicted pairs": contradicted.sum()}
    return LabeledTable(Table(columns), None, {name: int(count) for name, count in counts.items()})


def _pair_faults(table: Table) -> Iterator[tuple[int, str]]:
    columns = ", ".join(map(printable, table.columns)) or "none"
    for name in PAIR_COLUMNS:
        if name not in table.columns:
            yield 0, f"no column {name!r} (columns: {columns})"
    if not len(table):
        yield 0, "no rows"
    broken = {row for row, _ in table.faults}
    for row, label in enumerate(table.columns.get("label", []), start=1):
        if row not in broken and label.strip() not in ("0", "1"):
            yield row, f"label {printable(label)!r} is neither 0 nor 1"


def _linked(
    left: NDArray[np.int64], right: NDArray[np.int64], matches: NDArray[np.bool_], titles: int
) -> NDArray[np.int32]:
    """Return the connected component of each title over the pairs that match, int32 [titles]."""
    edges = (left[matches], right[matches])
    graph = coo_array((np.ones(len(edges[0]), dtype=np.int8), edges), shape=(titles, titles))
    component: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return component
