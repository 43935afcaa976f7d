"""Exact nearest neighbors by cosine: the same candidates for any block size, thread count and processor.

Matrix products in float32 round differently with the shape of the block, and so would order exact duplicates at random.
Hence two steps:

1. A fast product picks, for each listing, all that rounding may have kept from being among its k best.
2. Each picked pair is computed again by `Embeddings.similarity`, in float64 and independent of all else in the pool,
   and rounded to `DECIMALS`. What is kept and how it ranks follows from these values alone.

`incremental.py` brings the result up to date when a few listings of a large pool change.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import Candidates, Embeddings, Flags, Rows, Vectors
from shared.search.dot_products import Products, products
from shared.search.sorting import best_first, distinct

DECIMALS = 6  # similarities that agree to this many decimals are tied
CELLS = 1 << 23  # similarities in memory at a time, unless `block` says otherwise: 32 MiB
COLUMN_GROUPS = 16  # times k: column groups whose maxima bound the k-th best similarity of a row from below

Index = NDArray[np.int64]
Similarities = NDArray[np.float32]
Hits = tuple[Index, Index]  # (listing, neighbor), rows


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
        k: Neighbors per listing, at least 1. Those tied with the k-th are kept as well.
        xp: numpy or cupy: where the matrix products run.
        minimum: Least similarity of a neighbor. Whatever it is, only a similarity above zero makes a neighbor.
        max_ties: At most this many neighbors per listing, ties included; 4·k by default. Of more listings that are tied
            with the k-th, or nearer to it than float32 tells apart (`_slack`), those in the lowest rows are kept. This
            is the one choice that depends on the order of the rows.
        block: Listings searched at a time; by default as many as make `CELLS` similarities.

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
    search = Search.of(embeddings.vectors, k, xp, minimum=minimum, max_ties=max_ties, block=block)
    pool = np.flatnonzero(embeddings.present)
    return _ranked(embeddings, *_hits(pool, search), search)


# --- step 1: a superset of the neighbors, by float32 products -------------------------------------------------------


@dataclass(frozen=True)
class Search:
    """A search of step 1: its vectors, and which products count as hits.

    Args:
        xp: The array library.
        products: Of the embeddings.
        k: Neighbors per listing.
        limit: Neighbors per listing beyond which ties are thinned out.
        minimum: Least similarity.
        slack: How far below the k-th best similarity a product may lie, its true value being as large.
        block: Listings searched at a time; None: as many as make `CELLS` similarities.

    Examples:
        >>> vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
        >>> search = Search.of(vectors, 5, np, minimum=0.0, max_ties=None, block=None)
        >>> search.limit, search.block_size(columns=1024)
        (20, 8192)
    """

    xp: ModuleType
    products: Products
    k: int
    limit: int
    minimum: float
    slack: float
    block: int | None

    @classmethod
    def of(
        cls, vectors: Vectors, k: int, xp: ModuleType, *, minimum: float, max_ties: int | None, block: int | None
    ) -> Self:
        """Return the search of a pool's vectors; arguments as of `nearest`."""
        limit = max(k, 4 * k if max_ties is None else max_ties)
        return cls(xp, products(vectors, xp), k, limit, minimum, _slack(vectors), block)

    @property
    def least(self) -> float:
        """Return the least product that can be a hit; it is above zero, whatever the minimum."""
        return max(self.minimum - self.slack, float(np.finfo(np.float32).tiny))

    def block_size(self, columns: int) -> int:
        """Return the number of listings that are searched among `columns` others at a time."""
        return self.block or max(1, CELLS // max(1, columns))


def _slack(vectors: Vectors) -> float:
    """Return a bound of what rounding does to the difference of two similarities.

    A float32 sum of n products of unit rows is off by at most n·2^-24, in whatever order it is taken; the exact values
    are rounded to `DECIMALS`.
    """
    terms = np.diff(vectors.indptr).max(initial=0) if sparse.issparse(vectors) else vectors.shape[1]
    return float(2 * terms * 2**-24 + 10**-DECIMALS)


def _hits(pool: Index, search: Search) -> Hits:
    """Return the listings `pool`, in rising order, each with a superset of its neighbors among them."""
    m = len(pool)
    product, block = search.products(pool), search.block_size(m)
    listings, neighbors = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, m, block):
        rows = pool[start : start + block]
        similarity = without_itself(product(rows), rows, pool, search.xp)
        positions = host(block_hits(similarity, search))
        listings.append(rows[positions // m])
        neighbors.append(pool[positions % m])
    return np.concatenate(listings), np.concatenate(neighbors)


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
    """Return flat positions of at least the k best of each row and what is tied with the k-th (or `limit` of those).

    With `reach`, [b], all that lies below the reach of its row is left out.

    Examples:
        >>> search = Search.of(np.eye(2, dtype=np.float32), 1, np, minimum=0.0, max_ties=None, block=None)
        >>> block_hits(np.array([[0.2, 0.9, 0.5], [0.7, 0.1, 0.7]], np.float32), search).tolist()
        [1, 3, 5]
    """
    xp, m = search.xp, similarity.shape[1]
    bound = _kth_bound(similarity, search.k, xp)
    if reach is not None:
        bound = xp.maximum(bound, reach)
    bound = xp.maximum(bound - search.slack, search.least)
    hit = similarity >= bound[:, None]
    positions = xp.flatnonzero(hit)
    if len(positions) <= search.limit:  # no row is crowded; and CuPy's bincount refuses an empty array
        return positions
    crowded = xp.flatnonzero(xp.bincount(positions // m, minlength=len(hit)) > search.limit)
    if len(crowded) == 0:
        return positions
    hit[crowded] &= _thinned(similarity[crowded], search)
    return xp.flatnonzero(hit)


def _kth_bound(similarity: Any, k: int, xp: ModuleType) -> Any:
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
    """Return where values are surely above the k-th largest of their row, or among the first `limit` close to it."""
    xp, place = search.xp, similarity.shape[1] - search.k
    kth = xp.partition(similarity, place, axis=1)[:, place][:, None]
    above = similarity > kth + search.slack
    close = (similarity >= xp.maximum(kth - search.slack, search.least)) & ~above
    return above | (close & (xp.cumsum(close, axis=1, dtype=np.int32) <= search.limit))


def host(array: Any) -> Any:
    """Return an array as a numpy array, whether it is in memory of the CPU or of a GPU.

    Examples:
        >>> host(np.array([1, 2])).tolist()
        [1, 2]
    """
    return array.get() if hasattr(array, "get") else array


# --- step 2: exact similarities, ties and ranks ----------------------------------------------------------------------


def _ranked(embeddings: Embeddings, listing: Index, neighbor: Index, search: Search) -> Candidates:
    """Return candidates, by exact similarities, from a superset of each listing's neighbors."""
    n = len(embeddings)
    key = np.minimum(listing, neighbor) * n + np.maximum(listing, neighbor)
    key, of_right = np.divmod(distinct(2 * key + (listing > neighbor)), 2)  # by pair, so a listing's by neighbor
    new = np.diff(key, prepend=-1) != 0
    pairs, pair = key[new], np.cumsum(new) - 1
    left, right = (pairs // n).astype(np.int32), (pairs % n).astype(np.int32)
    similarity = exact_similarity(embeddings, left, right)
    mask = near_enough(similarity, search.minimum)[pair]
    pair, of_right = pair[mask], of_right[mask]
    listing = np.where(of_right, right[pair], left[pair])
    order = best_first(listing, similarity[pair])
    listing, pair, of_right = listing[order], pair[order], of_right[order]
    rank, place = rank_and_place(listing, similarity[pair])
    mask = (rank <= search.k) & (place < search.limit)
    ranks = np.zeros((2, len(pairs)), dtype=np.int32)
    ranks[of_right[mask], pair[mask]] = rank[mask]
    is_candidate = ranks.any(axis=0)
    return Candidates(
        n,
        left[is_candidate],
        right[is_candidate],
        similarity[is_candidate],
        ranks[0, is_candidate],
        ranks[1, is_candidate],
    )


def exact_similarity(embeddings: Embeddings, left: Rows, right: Rows) -> Similarities:
    """Return the cosine of each pair, rounded to `DECIMALS`, float32 [p]; NaN where a listing has no evidence.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0, 1]], np.float32), np.array([True, True]))
        >>> exact_similarity(pool, np.array([0], np.int32), np.array([1], np.int32)).tolist()
        [0.0]
    """
    similarity: Similarities = embeddings.similarity(left, right).round(DECIMALS)
    return similarity


def near_enough(similarity: Similarities, minimum: float) -> Flags:
    """Return where exact similarities make neighbors, bool [p]: above zero and not below the minimum.

    Examples:
        >>> near_enough(np.array([0, 0.4, 0.5], np.float32), 0.5).tolist()
        [False, False, True]
    """
    mask: Flags = (similarity > 0) & (similarity >= np.float32(round(minimum, DECIMALS)))
    return mask


def rank_and_place(listing: Index, similarity: Similarities) -> tuple[Index, Index]:
    """Return the competition rank (from 1) and the place (from 0) of each entry in its list.

    Args:
        listing: The listing that each entry belongs to, rising, int64 [e].
        similarity: float32 [e], falling within a listing.

    Examples:
        >>> rank, place = rank_and_place(np.array([0, 0, 0, 1]), np.array([0.9, 0.9, 0.5, 0.7], np.float32))
        >>> rank.tolist(), place.tolist()
        ([1, 1, 3, 1], [0, 1, 2, 0])
    """
    positions = np.arange(len(listing))
    new_listing = np.diff(listing, prepend=-1) != 0
    new_value = new_listing | (np.diff(similarity, prepend=np.float32(np.nan)) != 0)
    start = np.maximum.accumulate(np.where(new_listing, positions, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, positions, 0))
    return first_equal - start + 1, positions - start
