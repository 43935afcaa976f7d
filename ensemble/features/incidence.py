"""The items that two listings have in common, from sparse matrices with one row per listing and one column per item."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import CandidatePairs, Flags, Floats, Rows
from shared.search.sorting import distinct


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


def word_incidence(titles: Sequence[str] | NDArray[Any]) -> tuple[Any, list[str]]:
    """Return which title has which word, as `incidence` does, and the words in alphabetical order.

    Args:
        titles: n texts; words are what blanks of any kind part.

    Examples:
        >>> has, words = word_incidence(["mug red mug", ""])
        >>> has.toarray().tolist(), words
        ([[1.0, 1.0], [0.0, 0.0]], ['mug', 'red'])
    """
    of_titles = pc.utf8_split_whitespace(pa.array(titles, pa.large_string()))
    rows = np.repeat(np.arange(len(titles), dtype=np.int64), pc.list_value_length(of_titles).to_numpy())
    encoded = of_titles.flatten().dictionary_encode()
    words = encoded.dictionary.to_numpy(zero_copy_only=False)
    order = np.argsort(words, kind="stable")
    place = np.empty(len(words), dtype=np.int64)
    place[order] = np.arange(len(words))
    is_word = words[order] != ""  # a text with blanks at its ends leaves an empty one, which is the first
    column = place[encoded.indices.to_numpy()] - int(not is_word.all())
    entries = distinct(((rows << 32) + column)[column >= 0])
    names = [*words[order][is_word]] or [""]
    indptr = np.searchsorted(entries >> 32, np.arange(len(titles) + 1))
    ones = np.ones(len(entries), dtype=np.float32)
    return sparse.csr_array((ones, entries & 0xFFFFFFFF, indptr), shape=(len(titles), len(names))), names


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
    weight = np.zeros(len(pairs), dtype=np.float32)
    filled = np.flatnonzero(_has_items(left, pairs.left) & _has_items(right, pairs.right))
    for start in range(0, len(filled), block_size):
        positions = filled[start : start + block_size]
        product = left[pairs.left[positions]].multiply(right[pairs.right[positions]])
        weight[positions] = np.asarray(product.sum(axis=1), dtype=np.float32).ravel()
    return weight


def _has_items(matrix: Any, rows: Rows) -> Flags:
    """Return which of some rows hold anything, bool [r]."""
    mask: Flags = matrix.indptr[rows] < matrix.indptr[rows + 1]
    return mask
