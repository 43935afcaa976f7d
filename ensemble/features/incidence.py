"""The items that two listings have in common, from sparse matrices with one row per listing and one column per item."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from shared.schema import CandidatePairs, Floats


def incidence(items: Sequence[Collection[str]]) -> Any:
    """Return which listing has which item: float32 CSR [n, distinct items], 1 or 0; columns in alphabetical order.

    Args:
        items: The items of each of n listings, each item once.

    Examples:
        >>> incidence([{"b", "a"}, set(), {"b"}]).toarray().tolist()
        [[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]
    """
    column = {item: index for index, item in enumerate(distinct_items(items))}
    columns = [column[item] for of_listing in items for item in sorted(of_listing)]
    indptr = np.cumsum([0, *(len(of_listing) for of_listing in items)])
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_array((ones, columns, indptr), shape=(len(items), len(column)))


def distinct_items(items: Sequence[Collection[str]]) -> list[str]:
    """Return all items of all listings in alphabetical order; the empty string alone where there are none.

    Examples:
        >>> distinct_items([{"mug", "red"}, {"fan"}])
        ['fan', 'mug', 'red']
    """
    return sorted(set().union(*items)) or [""]


def shared_weight(left: Any, right: Any, pairs: CandidatePairs, block_size: int = 1 << 17) -> Floats:
    """Return the dot product of two sparse rows for each pair, float32 [p].

    Args:
        left: CSR [n, items]; of each pair the row of its left listing is used.
        right: CSR [n, items]; of each pair the row of its right listing is used.
        pairs: p pairs of n listings.
        block_size: Number of pairs in memory at a time.

    Examples:
        >>> has = incidence([{"red", "mug"}, {"red", "fan"}, {"red", "mug"}])
        >>> pairs = CandidatePairs(3, np.array([0, 0], np.int32), np.array([1, 2], np.int32))
        >>> shared_weight(has, has, pairs).tolist()
        [1.0, 2.0]
    """
    parts = [np.zeros(0, dtype=np.float32)]
    for start in range(0, len(pairs), block_size):
        rows, others = pairs.left[start : start + block_size], pairs.right[start : start + block_size]
        product = left[rows].multiply(right[others])
        parts.append(np.asarray(product.sum(axis=1), dtype=np.float32).ravel())
    return np.concatenate(parts)
