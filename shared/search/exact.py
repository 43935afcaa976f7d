"""Exact nearest neighbors by cosine: the same lists for any block size, thread count and processor.

Matrix products in float32 round differently with the shape of the block, and so would order exact duplicates at random.
Hence two steps:

1. A fast product picks, for each listing, all that rounding may have kept from being among its k best.
2. What is kept and how it ranks follows from exact similarities (`lists.py`).

`incremental.py` brings the result up to date when a few listings of a large pool change.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
from scipy import sparse

from shared.schema import Candidates, Embeddings, Vectors
from shared.search.dot_products import Product, Products, products
from shared.search.lists import (
    DECIMALS,
    Hits,
    Index,
    Limits,
    NeighborLists,
    candidates_of,
    exact_lists,
    in_blocks,
)

CELLS = 1 << 23  # similarities in memory at a time, unless `block` says otherwise: 32 MiB
FEWEST_ROWS = 64  # listings at a time, however large the pool: all vectors are read for each block
COLUMN_GROUPS = 16  # times k: column groups whose maxima bound the k-th best similarity of a row from below
RANKED_AT_ONCE = 1 << 15  # listings whose lists are ranked at a time


def nearest(
    embeddings: Embeddings,
    k: int,
    xp: ModuleType,
    *,
    minimum: float = 0.0,
    max_ties: int | None = None,
    block: int | None = None,
) -> Candidates:
    """Return the k most similar listings of each listing that has evidence, by cosine.

    Args:
        embeddings: Vectors of the pool, dense or CSR.
        k: Neighbors per listing, at least 1; this and the next two are the `Limits` of the lists.
        xp: numpy or cupy: where the matrix products run.
        minimum: Least similarity of a neighbor.
        max_ties: At most this many neighbors per listing, ties included.
        block: Listings searched at a time; by default as many as make `CELLS` similarities, or `FEWEST_ROWS`.

    Returns:
        Each unordered pair once, with its similarity rounded to `DECIMALS`. Ranks are competition ranks: 1 + the number
        of listings that are more similar, so that ties share the smallest rank.

    Examples:
        >>> vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32)
        >>> candidates = nearest(Embeddings(vectors, np.ones(3, dtype=bool)), 1, np)
        >>> candidates.left.tolist(), candidates.right.tolist()
        ([0, 1], [1, 2])
        >>> candidates.rank_left.tolist(), candidates.rank_right.tolist()
        ([1, 1], [0, 1])
    """
    searcher = ProductSearcher.of(embeddings, Limits(k, minimum, max_ties), xp, block=block)
    return candidates_of([searcher.lists(np.arange(len(embeddings)))], len(embeddings))


@dataclass(frozen=True)
class ProductSearcher:
    """Searches a pool by products of its vectors with all of its vectors.

    Args:
        embeddings: Of the pool, dense or CSR.
        pool: The listings that have evidence, int64 [m].
        product: Products of listings with these.
        search: What counts as a hit.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), np.ones(3, dtype=bool))
        >>> ProductSearcher.of(pool, Limits(1), np).lists(np.array([2])).neighbor.tolist()
        [1]
    """

    embeddings: Embeddings
    pool: Index
    product: Product
    search: Search

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, xp: ModuleType, *, block: int | None = None) -> Self:
        """Return a searcher of a pool.

        Args:
            embeddings: Of the pool.
            limits: Which listings are neighbors.
            xp: numpy or CuPy: where the products run.
            block: Listings searched at a time; by default as many as make `CELLS` similarities.
        """
        search, pool = Search.of(embeddings.vectors, limits, xp, block=block), np.flatnonzero(embeddings.present)
        return cls(embeddings, pool, search.products(pool), search)

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        n, present = len(self.embeddings), rows[self.embeddings.present[rows]]
        return in_blocks(self._ranked, present, RANKED_AT_ONCE, n)

    def _ranked(self, rows: Index) -> NeighborLists:
        return exact_lists(self.embeddings, self._hits(rows), self.search.limits)

    def _hits(self, rows: Index) -> Hits:
        m, block = len(self.pool), self.search.block_size(len(self.pool))
        listings, neighbors = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            similarity = without_itself(self.product(some), some, self.pool, self.search.xp)
            positions = host(block_hits(similarity, self.search))
            listings.append(some[positions // m])
            neighbors.append(self.pool[positions % m])
        return np.concatenate(listings), np.concatenate(neighbors)


# --- step 1: a superset of the neighbors, by float32 products -------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """A search of step 1: its vectors, and which products count as hits.

    Args:
        xp: The array library.
        products: Of the embeddings.
        limits: Which listings are neighbors; beyond the largest number of them, ties are thinned out.
        slack: How far below the k-th best similarity a product may lie, its true value being as large.
        block: Listings searched at a time; None: as many as make `CELLS` similarities.

    Examples:
        >>> vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
        >>> search = Search.of(vectors, Limits(5), np)
        >>> search.limits.most, search.block_size(columns=1024)
        (20, 8192)
    """

    xp: ModuleType
    products: Products
    limits: Limits
    slack: float
    block: int | None

    @classmethod
    def of(cls, vectors: Vectors, limits: Limits, xp: ModuleType, *, block: int | None = None) -> Self:
        """Return the search of a pool's vectors; arguments as of `ProductSearcher.of`."""
        return cls(xp, products(vectors, xp), limits, _slack(vectors), block)

    @property
    def least(self) -> float:
        """Return the least product that can be a hit; it is above zero, whatever the minimum."""
        return max(self.limits.minimum - self.slack, float(np.finfo(np.float32).tiny))

    def block_size(self, columns: int) -> int:
        """Return the number of listings that are searched among `columns` others at a time."""
        return self.block or max(FEWEST_ROWS, CELLS // max(1, columns))


def _slack(vectors: Vectors) -> float:
    """Return a bound of what rounding does to the difference of two similarities.

    A float32 sum of n products of unit rows is off by at most n·2^-24, in whatever order it is taken; the exact values
    are rounded to `DECIMALS`.
    """
    terms = np.diff(vectors.indptr).max(initial=0) if sparse.issparse(vectors) else vectors.shape[1]
    return float(2 * terms * 2**-24 + 10**-DECIMALS)


def without_itself(similarity: Any, rows: Index, columns: Index, xp: ModuleType) -> Any:
    """Return products of listings `rows` with `columns`, changed in place so that no listing is its own neighbor.

    Examples:
        >>> without_itself(np.ones((1, 2), np.float32), np.array([3]), np.array([3, 5]), np).tolist()
        [[-1.0, 1.0]]
    """
    _, row, column = np.intersect1d(rows, columns, assume_unique=True, return_indices=True)
    similarity[xp.asarray(row), xp.asarray(column)] = -1
    return similarity


def block_hits(similarity: Any, search: Search, reach: Any = None) -> Any:
    """Return flat positions of at least the k best of each row and what is tied with the k-th.

    Of a crowd of ties no more are returned than a list may hold. With `reach`, [b], all that lies below the reach of
    its row is left out.

    Examples:
        >>> search = Search.of(np.eye(2, dtype=np.float32), Limits(1), np)
        >>> block_hits(np.array([[0.2, 0.9, 0.5], [0.7, 0.1, 0.7]], np.float32), search).tolist()
        [1, 3, 5]
    """
    bound = kth_bound(similarity, search.limits.k, search.xp)
    return hits_above(similarity, bound if reach is None else search.xp.maximum(bound, reach), search)


def hits_above(similarity: Any, bound: Any, search: Search) -> Any:
    """Return flat positions of what rounding may have kept from being above the bound of its row, [b].

    Of a crowd of ties no more are returned than a list may hold.

    Examples:
        >>> search = Search.of(np.eye(2, dtype=np.float32), Limits(1), np)
        >>> hits_above(np.array([[0.2, 0.9, 0.5]], np.float32), np.array([0.5], np.float32), search).tolist()
        [1, 2]
    """
    xp, m = search.xp, similarity.shape[1]
    hit = similarity >= xp.maximum(bound - search.slack, search.least)[:, None]
    positions = xp.flatnonzero(hit)
    if len(positions) <= search.limits.most:  # no row is crowded; and CuPy's bincount refuses an empty array
        return positions
    crowded = xp.flatnonzero(xp.bincount(positions // m, minlength=len(hit)) > search.limits.most)
    if len(crowded) == 0:
        return positions
    hit[crowded] &= _thinned(similarity[crowded], search)
    return xp.flatnonzero(hit)


def kth_bound(similarity: Any, k: int, xp: ModuleType) -> Any:
    """Return a lower bound of the k-th largest value of each row, [b]; mostly the value itself or just below it.

    The columns are dealt into groups; the k-th largest of the groups' maxima has k values at or above it.
    """
    b, m = similarity.shape
    if m <= k:
        return xp.full(b, -1, dtype=similarity.dtype)
    depth = max(1, m // (COLUMN_GROUPS * k))
    groups = m // depth
    maxima = similarity[:, : depth * groups].reshape(b, depth, groups).max(axis=1)
    return xp.partition(maxima, groups - k, axis=1)[:, groups - k]


def _thinned(similarity: Any, search: Search) -> Any:
    """Return where values are surely above the k-th largest of their row, or among the first of those close to it."""
    xp, place = search.xp, similarity.shape[1] - search.limits.k
    kth = xp.partition(similarity, place, axis=1)[:, place][:, None]
    above = similarity > kth + search.slack
    close = (similarity >= xp.maximum(kth - search.slack, search.least)) & ~above
    return above | (close & (xp.cumsum(close, axis=1, dtype=np.int32) <= search.limits.most))


def host(array: Any) -> Any:
    """Return an array as a numpy array, whether it is in memory of the CPU or of a GPU.

    Examples:
        >>> host(np.array([1, 2])).tolist()
        [1, 2]
    """
    return array.get() if hasattr(array, "get") else array
