"""Listings with equal content: one of them is searched and scored, and its matches are those of all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shared.arrays import object_array
from shared.artifacts import digest
from shared.catalog.images import is_flat_hash
from shared.schema import NORMALIZED_TITLE, Catalog, Rows
from shared.titles import fold

_BESIDE_DIGIT = re.compile(r"[^\w\s.,](?=\d)|(?<=\d)[^\w\s.,]")


def copy_of(catalog: Catalog) -> Rows:
    """Return for each listing the row of the listing that stands for all of equal content, int32 [n].

    Content is the normalized title with the signs beside its numbers (5" is no 5'), the image file and the perceptual
    hash. The listing with the smallest posting id
    stands for all. One without a title whose image is missing or blank has no content and stands for itself.

    Args:
        catalog: n listings.

    Examples:
        >>> titles = ["Red mug", "Fan", "RED MUG!", None, None]
        >>> copy_of(Catalog.from_columns({"posting_id": ["c", "b", "a", "d", "e"], "title": titles})).tolist()
        [2, 1, 2, 3, 4]
    """
    n = len(catalog)
    titles = pd.factorize(catalog.column(NORMALIZED_TITLE.name))[0]
    signs = pd.factorize(object_array(_signs(catalog)))[0]
    images = pd.factorize(catalog.column("image_sha"))[0]
    hashes = np.where(catalog.has_phash, np.unique(catalog.phashes, return_inverse=True)[1], -1)
    has_content = (titles >= 0) | (catalog.has_phash & ~is_flat_hash(catalog.phashes))
    alone = np.where(has_content, -1, np.arange(n))
    content = np.stack([titles, signs, images, hashes, alone], axis=1)
    _, code = np.unique(content, axis=0, return_inverse=True)
    by_id = np.argsort(catalog.ids, kind="stable")
    _, first = np.unique(code[by_id], return_index=True)
    rows: Rows = by_id[first][code].astype(np.int32)
    return rows


def content_digests(catalog: Catalog) -> NDArray[Any]:
    """Return a digest of the content of each listing, which is equal where `copy_of` calls content equal; str [n].

    It has 32 hex digits of a SHA-256. Listings without any content have the same one.

    Args:
        catalog: n listings.

    Examples:
        >>> titles = ["Red mug", "RED MUG!", "Fan"]
        >>> one, other, fan = content_digests(Catalog.from_columns({"posting_id": list("abc"), "title": titles}))
        >>> one == other, one == fan, len(one)
        (True, False, 32)
    """
    titles = catalog.column(NORMALIZED_TITLE.name)
    content = zip(titles, _signs(catalog), catalog.column("image_sha"), catalog.column("phash"), strict=True)
    return object_array(digest(list(of_listing))[:32] for of_listing in content)


def _signs(catalog: Catalog) -> Iterator[str]:
    """Yield the punctuation beside the digits of each title, which may be units, fractions or ranges.

    A title of which nothing is left, or that cannot be read, has none.

    Examples:
        >>> list(_signs(Catalog.from_columns({"posting_id": ["a"], "title": ["Cable 5' - 1/4 inch!"]})))
        ["'/"]
    """
    for title, normalized in zip(catalog.titles, catalog.column(NORMALIZED_TITLE.name), strict=True):
        has_digit = normalized is not None and any(map(str.isdigit, title))
        yield "".join(_BESIDE_DIGIT.findall(fold(title))) if has_digit else ""


def class_sizes(copies: Rows) -> Rows:
    """Return the number of listings that each one stands for, itself included, int32 [n]; 0 for one that is a copy.

    Examples:
        >>> class_sizes(np.array([2, 1, 2], np.int32)).tolist()
        [0, 1, 2]
    """
    sizes: Rows = np.bincount(copies, minlength=len(copies)).astype(np.int32)
    return sizes
