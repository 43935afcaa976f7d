"""Exact nearest neighbours by cosine: the same candidates for any block size, thread count and processor.

Matrix products in float32 round differently with the shape of the block, and so would order exact duplicates at random.
Hence two steps:

1. A fast product picks, for each listing, all that rounding may have kept from being among its k best.
2. Each picked pair is computed again by `Embeddings.similarity`, in float64 and independent of all else in the pool,
   and rounded to `DECIMALS`. What is kept and how it ranks follows from these values alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import Candidates, Embeddings, Vectors

DECIMALS = 6  # similarities that agree to this many decimals are tied
CELLS = 1 << 23  # similarities in memory at a time, unless `block` says otherwise: 32 MiB
PAIRS = 8192  # pairs computed exactly at a time
COLUMN_GROUPS = 16  # times k: column groups whose maxima bound the k-th best similarity of a row from below
COMMON = 1 / 16  # a sparse column filled in more than this share of the rows is multiplied faster as a dense one

Index = NDArray[np.int64]
Hits = tuple[Index, Index]  # (listing, neighbour), positions in the pool
Product = Callable[[int, int], Any]  # rows start to stop times all rows, float32 [stop - start, m]


def nearest(
    embeddings: Embeddings,
    k: int,
    xp: ModuleType,
    *,
    minimum: float = 0.0,
    max_ties: int | None = None,
    block: int | None = None,
) -> Candidates:
    """The k most similar listings of each listing that has evidence, by cosine.

    Args:
        embeddings: Vectors of the pool, dense or CSR.
        k: Neighbours a listing, at least 1. Those tied with the k-th are kept as well.
        xp: numpy or cupy: where the matrix products run.
        minimum: Least similarity of a neighbour. Whatever it is, only a similarity above zero makes a neighbour.
        max_ties: At most this many neighbours a listing, ties included; 4·k by default. Of more listings that are tied
            with the k-th, or as close to it as rounding is coarse, those in the lowest rows are kept. This is the one
            choice that depends on the order of the rows.
        block: Listings searched at a time; by default as many as make `CELLS` similarities.

    Returns:
        Each unordered pair once, with its similarity rounded to `DECIMALS`. Ranks are competition ranks: 1 + the number
        of listings that are more similar, so that ties share the smallest rank.
    """
    pool = np.flatnonzero(embeddings.present)
    limit = max(k, 4 * k if max_ties is None else max_ties)
    vectors = embeddings.vectors[pool]
    search = _Search(xp, k, limit, minimum, _slack(vectors))
    listing, neighbour = _hits(vectors, search, block or max(1, CELLS // max(1, len(pool))))
    return _ranked(embeddings, pool[listing], pool[neighbour], k, limit, minimum)


# --- step 1: a superset of the neighbours, by float32 products -------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    """What step 1 looks for, and where.

    Args:
        xp: The array library.
        k: Neighbours wanted a listing.
        limit: Hits a listing beyond which ties are thinned out.
        minimum: Least similarity.
        slack: How far below the k-th best similarity a product may lie, its true value being as large.
    """

    xp: ModuleType
    k: int
    limit: int
    minimum: float
    slack: float

    @property
    def least(self) -> float:
        """The least product of interest: above zero, whatever the minimum."""
        return max(self.minimum - self.slack, float(np.finfo(np.float32).tiny))


def _slack(vectors: Vectors) -> float:
    """A bound of what rounding does to the difference of two similarities.

    A float32 sum of n products of unit rows is off by at most n·2^-24, in whatever order it is taken; the exact values
    are rounded to `DECIMALS`.
    """
    terms = np.diff(vectors.indptr).max(initial=0) if sparse.issparse(vectors) else vectors.shape[1]
    return float(2 * terms * 2**-24 + 10**-DECIMALS)


def _hits(vectors: Vectors, search: _Search, block: int) -> Hits:
    """Listings with a superset of their neighbours, found `block` listings at a time."""
    m, xp = vectors.shape[0], search.xp
    product = _product(vectors, xp)
    listings, neighbours = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, m, block):
        stop = min(start + block, m)
        similarity = product(start, stop)
        similarity[xp.arange(stop - start), xp.arange(start, stop)] = -1  # a listing is not its own neighbour
        at = _host(_block_hits(similarity, search))
        listings.append(start + at // m)
        neighbours.append(at % m)
    return np.concatenate(listings), np.concatenate(neighbours)


def _product(vectors: Vectors, xp: ModuleType) -> Product:
    """Products of some rows with all rows, on `xp`.

    Of a sparse matrix the common columns are taken out and multiplied as a dense one: they are few, and cause most of
    the work of a sparse product, which costs the square of a column's entries.
    """
    if not sparse.issparse(vectors):
        dense = xp.asarray(vectors)
        return lambda start, stop: dense[start:stop] @ dense.T
    common = np.bincount(vectors.indices, minlength=vectors.shape[1]) > COMMON * vectors.shape[0]
    dense = xp.asarray(vectors[:, np.flatnonzero(common)].toarray())
    rest = vectors[:, np.flatnonzero(~common)]
    if rest.nnz == 0:
        return lambda start, stop: dense[start:stop] @ dense.T
    if xp is not np:
        rest = importlib.import_module("cupyx.scipy.sparse").csr_matrix(rest)
    columns = rest.T.tocsr()
    return lambda start, stop: rest[start:stop] @ columns + dense[start:stop] @ dense.T


def _block_hits(similarity: Any, search: _Search) -> Any:
    """Flat positions of at least the k best of each row and what is tied with the k-th (or `limit` of those)."""
    xp, m = search.xp, similarity.shape[1]
    bound = xp.maximum(_kth_bound(similarity, search.k, xp) - search.slack, search.least)
    hit = similarity >= bound[:, None]
    at = xp.flatnonzero(hit)
    crowded = xp.flatnonzero(xp.bincount(at // m, minlength=len(hit)) > search.limit)
    if len(crowded) == 0:
        return at
    hit[crowded] = _thinned(similarity[crowded], search)
    return xp.flatnonzero(hit)


def _kth_bound(similarity: Any, k: int, xp: ModuleType) -> Any:
    """A lower bound of the k-th largest value of each row, [b]; as a rule the value itself or just below it.

    The columns are dealt into groups; the k-th largest of the groups' maxima has k values at or above it.
    """
    b, m = similarity.shape
    if m <= k:
        return xp.full(b, -1, dtype=similarity.dtype)
    depth = max(1, m // (COLUMN_GROUPS * k))
    groups = m // depth
    maxima = similarity[:, : depth * groups].reshape(b, depth, groups).max(axis=1)
    return xp.partition(maxima, groups - k, axis=1)[:, groups - k]


def _thinned(similarity: Any, search: _Search) -> Any:
    """Which values are surely above the k-th largest of their row, or among the first `limit` close to it; bool."""
    xp, place = search.xp, similarity.shape[1] - search.k
    kth = xp.partition(similarity, place, axis=1)[:, place][:, None]
    above = similarity > kth + search.slack
    close = (similarity >= xp.maximum(kth - search.slack, search.least)) & ~above
    return above | (close & (xp.cumsum(close, axis=1, dtype=np.int32) <= search.limit))


def _host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array


# --- step 2: exact similarities, ties and ranks ----------------------------------------------------------------------


def _ranked(embeddings: Embeddings, listing: Index, neighbour: Index, k: int, limit: int, minimum: float) -> Candidates:
    """Candidates from a superset of each listing's neighbours."""
    n = len(embeddings)
    key = np.minimum(listing, neighbour) * n + np.maximum(listing, neighbour)
    pairs, pair = np.unique(key, return_inverse=True)
    left, right = (pairs // n).astype(np.int32), (pairs % n).astype(np.int32)
    similarity = np.round(embeddings.similarity(left, right, block=PAIRS), DECIMALS)
    wanted = (similarity > 0) & (similarity >= np.float32(round(minimum, DECIMALS)))
    kept = wanted[pair]
    listing, neighbour, pair = listing[kept], neighbour[kept], pair[kept]
    order = np.lexsort((neighbour, -similarity[pair], listing))
    listing, neighbour, pair = listing[order], neighbour[order], pair[order]
    rank, place = _ranks(listing, similarity[pair])
    kept = (rank <= k) & (place < limit)
    ranks = np.zeros((2, len(pairs)), dtype=np.int32)
    ranks[(listing > neighbour).astype(np.int8)[kept], pair[kept]] = rank[kept]
    found = ranks.any(axis=0)
    return Candidates(n, left[found], right[found], similarity[found], ranks[0, found], ranks[1, found])


def _ranks(listing: Index, similarity: NDArray[np.float32]) -> tuple[Index, Index]:
    """Competition rank (from 1) and place (from 0) of each entry; entries come by listing, then falling similarity."""
    at = np.arange(len(listing))
    new_listing = np.diff(listing, prepend=-1) != 0
    new_value = new_listing | (np.diff(similarity, prepend=np.float32(np.nan)) != 0)
    start = np.maximum.accumulate(np.where(new_listing, at, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, at, 0))
    return first_equal - start + 1, at - start
