"""Exact nearest neighbors by cosine: the same candidates for any block size, thread count and processor.

Matrix products in float32 round differently with the shape of the block, and so would order exact duplicates at random.
Hence two steps:

1. A fast product picks, for each listing, all that rounding may have kept from being among its k best.
2. Each picked pair is computed again by `Embeddings.similarity`, in float64 and independent of all else in the pool,
   and rounded to `DECIMALS`. What is kept and how it ranks follows from these values alone.

Where some listings were searched before, step 1 looks for what they cannot know yet, or for what is at least as near as
the neighbors that they had; step 2 takes the similarities that are known, and what is found stays the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
PANELS = 16  # parts in which listings are compared with each other, each of them with those before it
COLUMN_GROUPS = 16  # times k: column groups whose maxima bound the k-th best similarity of a row from below

Index = NDArray[np.int64]
Similarities = NDArray[np.float32]
Hits = tuple[Index, Index]  # (listing, neighbor), rows


@dataclass(frozen=True)
class Known:
    """What was found among earlier listings, some of which are still there.

    Args:
        found: Of `nearest` with the same arguments, or made by it from something known.
        origin: The row that each listing had, int64 [n], rising; -1 for one that is new or has become another one.
        moved: Whether those that are still there may have other vectors than they had. What was near them is then
            likely to be near still, and no more is known.
    """

    found: Candidates
    origin: Index
    moved: bool = False


def nearest(
    embeddings: Embeddings,
    k: int,
    xp: ModuleType,
    *,
    minimum: float = 0.0,
    max_ties: int | None = None,
    block: int | None = None,
    known: Known | None = None,
) -> Candidates:
    """The k most similar listings of each listing that has evidence, by cosine.

    Args:
        embeddings: Vectors of the pool, dense or CSR.
        k: Neighbors a listing, at least 1. Those tied with the k-th are kept as well.
        xp: numpy or cupy: where the matrix products run.
        minimum: Least similarity of a neighbor. Whatever it is, only a similarity above zero makes a neighbor.
        max_ties: At most this many neighbors a listing, ties included; 4·k by default. Of more listings that are tied
            with the k-th, or nearer to it than float32 tells apart (`_slack`), those in the lowest rows are kept. This
            is the one choice that depends on the order of the rows and, unless all of them are tied, on what is known.
        block: Listings searched at a time; by default as many as make `CELLS` similarities.
        known: What an earlier search found. It saves time; what is found stays the same, but see `max_ties`.

    Returns:
        Each unordered pair once, with its similarity rounded to `DECIMALS`. Ranks are competition ranks: 1 + the number
        of listings that are more similar, so that ties share the smallest rank.
    """
    pool = np.flatnonzero(embeddings.present)
    limit = max(k, 4 * k if max_ties is None else max_ties)
    search = _Search(xp, products(embeddings.vectors, xp), k, limit, minimum, _slack(embeddings.vectors), block)
    if known is None:
        return _ranked(embeddings, *_hits(pool, pool, search), k, limit, minimum)
    before = _Before.of(known, embeddings)
    hits = _moved(pool, before, search) if known.moved else _grown(pool, before, search)
    return _ranked(embeddings, *hits, k, limit, minimum, before)


# --- step 1: a superset of the neighbors, by float32 products -------------------------------------------------------


@dataclass(frozen=True)
class _Search:
    """What step 1 looks for, and where.

    Args:
        xp: The array library.
        products: Of the embeddings.
        k: Neighbors wanted a listing.
        limit: Hits a listing beyond which ties are thinned out.
        minimum: Least similarity.
        slack: How far below the k-th best similarity a product may lie, its true value being as large.
        block: Listings searched at a time; None: as many as make `CELLS` similarities.
    """

    xp: ModuleType
    products: Products
    k: int
    limit: int
    minimum: float
    slack: float
    block: int | None

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


def _hits(rows: Index, columns: Index, search: _Search, reach: Similarities | None = None) -> Hits:
    """Listings `rows` with a superset of their neighbors among the listings `columns`; both are rising.

    Args:
        rows: Listings to search neighbors of.
        columns: Listings to search.
        search: What to look for.
        reach: What each of `rows` has k neighbors with already, or more, elsewhere.
    """
    m, xp = len(columns), search.xp
    product = search.products(columns)
    block = search.block or max(1, CELLS // max(1, m))
    listings, neighbors = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(rows) if m else 0, block):
        searched = rows[start : start + block]
        similarity = product(searched)
        _, itself, column = np.intersect1d(searched, columns, assume_unique=True, return_indices=True)
        similarity[xp.asarray(itself), xp.asarray(column)] = -1  # a listing is not its own neighbor
        least = None if reach is None else xp.asarray(reach[start : start + block])
        at = _host(_block_hits(similarity, search, least))
        listings.append(searched[at // m])
        neighbors.append(columns[at % m])
    return np.concatenate(listings), np.concatenate(neighbors)


@dataclass(frozen=True)
class _Before:
    """What is known, in today's rows: the pairs whose listings are both still there.

    Args:
        pairs: left · n + right, int64 [p], rising.
        similarity: Of their vectors as they are now, [p].
        listing: Listings, int64 [h]; each with ...
        neighbor: ... one of the k neighbors that it had.
        nearness: Their similarity, [h].
        new: Listings that were not there, bool [n].
        incomplete: Those, and listings that lost a neighbor, bool [n].
    """

    pairs: Index
    similarity: Similarities
    listing: Index
    neighbor: Index
    nearness: Similarities
    new: Flags
    incomplete: Flags

    @classmethod
    def of(cls, known: Known, embeddings: Embeddings) -> Self:
        found, n = known.found, len(known.origin)
        place = np.full(found.n + 1, -1, dtype=np.int64)
        still = np.flatnonzero(known.origin >= 0)
        place[known.origin[still]] = still
        left, right = (place[rows].astype(np.int32) for rows in (found.left, found.right))
        both = (left >= 0) & (right >= 0)
        similarity = found.similarity
        if known.moved:
            similarity = np.zeros_like(similarity)
            similarity[both] = np.nan_to_num(_exact(embeddings, left[both], right[both]))  # NaN: no evidence any more
        forth, back = found.rank_left > 0, found.rank_right > 0
        incomplete = known.origin < 0
        for end, other, named in ((left, right, forth), (right, left, back)):
            incomplete[end[named & (end >= 0) & (other < 0)]] = True
        forth, back = forth & both, back & both
        return cls(
            left[both].astype(np.int64) * n + right[both],
            similarity[both],
            np.concatenate([left[forth], right[back]]),
            np.concatenate([right[forth], left[back]]),
            np.concatenate([similarity[forth], similarity[back]]),
            known.origin < 0,
            incomplete,
        )

    def neighbors(self) -> Index:
        """How many neighbors each listing has, [n]."""
        return np.bincount(self.listing, minlength=len(self.incomplete))

    def reach(self, k: int) -> Similarities:
        """The least similarity among the neighbors of each listing that has k of them, [n]; -1 for all others."""
        reach = np.full(len(self.incomplete), 2, dtype=np.float32)
        np.minimum.at(reach, self.listing, self.nearness)
        reach[self.neighbors() < k] = -1
        return reach


def _grown(pool: Index, before: _Before, search: _Search) -> Hits:
    """The hits of all of `pool`, where listings that are still there have the vectors that they had.

    New listings, and those that lost a neighbor, are searched among all. Of the others' neighbors all are known but
    those among the new listings that are nearer than the last of them.
    """
    again, reach = before.incomplete, before.reach(search.k)
    stays = ~again[before.listing]
    rest, new = pool[~again[pool]], pool[before.new[pool]]
    return _together(
        [
            (before.listing[stays], before.neighbor[stays]),
            _hits(pool[again[pool]], pool, search),
            _hits(rest, new, search, reach[rest]),
        ]
    )


def _moved(pool: Index, before: _Before, search: _Search) -> Hits:
    """The hits of all of `pool`, where listings that are still there have other vectors.

    How near the neighbors are that a listing had bounds from below how near its k-th best is now. So both listings of
    a pair can be asked at once whether it is near enough, and each similarity is worked out once. Listings that have
    too few neighbors for that, or as many as ties may make, are searched among all.
    """
    reach, count = before.reach(search.k), before.neighbors()
    again = before.incomplete | (reach <= 0) | (count >= search.limit)
    rest, others = pool[~again[pool]], pool[again[pool]]
    return _together(
        [
            _hits(others, pool, search),
            _hits(rest, others, search, reach[rest]),
            *_mutual_hits(rest, search, reach),
        ]
    )


def _mutual_hits(rows: Index, search: _Search, reach: Similarities) -> Iterator[Hits]:
    """Listings `rows` with a superset of their neighbors among themselves, a part at a time; see `_hits`.

    Each of some panels of listings is compared with those before it, for both, and with itself.
    """
    xp = search.xp
    least = np.maximum(reach - np.float32(search.slack), np.float32(search.least))
    for at in np.array_split(np.arange(len(rows)), PANELS):
        panel, before = rows[at], rows[: at[0]] if len(at) else rows[:0]
        yield _hits(panel, panel, search, reach[panel])
        product = search.products(panel)
        block = search.block or max(1, CELLS // max(1, len(panel)))
        for start in range(0, len(before), block):
            some = before[start : start + block]
            similarity = product(some)
            for_some = _host(xp.flatnonzero(similarity >= xp.asarray(least[some])[:, None]))
            for_panel = _host(xp.flatnonzero(similarity >= xp.asarray(least[panel])))
            yield some[for_some // len(panel)], panel[for_some % len(panel)]
            yield panel[for_panel % len(panel)], some[for_panel // len(panel)]


def _together(hits: Iterable[Hits]) -> Hits:
    listings, neighbors = zip(*hits, strict=True)
    return np.concatenate(listings), np.concatenate(neighbors)


def _block_hits(similarity: Any, search: _Search, reach: Any = None) -> Any:
    """Flat positions of at least the k best of each row and what is tied with the k-th (or `limit` of those).

    Where a row has `reach`, [b], what lies below it is left out.
    """
    xp, m = search.xp, similarity.shape[1]
    bound = _kth_bound(similarity, search.k, xp)
    if reach is not None:
        bound = xp.maximum(bound, reach)
    bound = xp.maximum(bound - search.slack, search.least)
    hit = similarity >= bound[:, None]
    at = xp.flatnonzero(hit)
    if len(at) <= search.limit:  # no row is crowded; and CuPy's bincount refuses an empty array
        return at
    crowded = xp.flatnonzero(xp.bincount(at // m, minlength=len(hit)) > search.limit)
    if len(crowded) == 0:
        return at
    hit[crowded] &= _thinned(similarity[crowded], search)
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


def _ranked(
    embeddings: Embeddings,
    listing: Index,
    neighbor: Index,
    k: int,
    limit: int,
    minimum: float,
    before: _Before | None = None,
) -> Candidates:
    """Candidates from a superset of each listing's neighbors; the similarity of pairs from `before` is known."""
    n = len(embeddings)
    key = np.minimum(listing, neighbor) * n + np.maximum(listing, neighbor)
    key, of_right = np.divmod(distinct(2 * key + (listing > neighbor)), 2)  # by pair, so a listing's by neighbor
    new = np.diff(key, prepend=-1) != 0
    pairs, pair = key[new], np.cumsum(new) - 1
    left, right = (pairs // n).astype(np.int32), (pairs % n).astype(np.int32)
    similarity = _similarities(embeddings, left, right, pairs, before)
    wanted = (similarity > 0) & (similarity >= np.float32(round(minimum, DECIMALS)))
    some = wanted[pair]
    pair, of_right = pair[some], of_right[some]
    listing = np.where(of_right, right[pair], left[pair])
    order = best_first(listing, similarity[pair])
    listing, pair, of_right = listing[order], pair[order], of_right[order]
    rank, place = _ranks(listing, similarity[pair])
    some = (rank <= k) & (place < limit)
    ranks = np.zeros((2, len(pairs)), dtype=np.int32)
    ranks[of_right[some], pair[some]] = rank[some]
    found = ranks.any(axis=0)
    return Candidates(n, left[found], right[found], similarity[found], ranks[0, found], ranks[1, found])


def _similarities(
    embeddings: Embeddings, left: Rows, right: Rows, pairs: Index, before: _Before | None
) -> Similarities:
    """The similarity of each pair, rounded."""
    similarity = np.zeros(len(pairs), dtype=np.float32)
    new = np.ones(len(pairs), dtype=bool)
    if before is not None and len(before.pairs):
        at = np.minimum(np.searchsorted(before.pairs, pairs), len(before.pairs) - 1)
        new = before.pairs[at] != pairs
        similarity[~new] = before.similarity[at[~new]]
    similarity[new] = _exact(embeddings, left[new], right[new])
    return similarity


def _exact(embeddings: Embeddings, left: Rows, right: Rows) -> Similarities:
    similarity: Similarities = embeddings.similarity(left, right).round(DECIMALS)
    return similarity


def _ranks(listing: Index, similarity: Similarities) -> tuple[Index, Index]:
    """Competition rank (from 1) and place (from 0) of each entry; entries come by listing, then falling similarity."""
    at = np.arange(len(listing))
    new_listing = np.diff(listing, prepend=-1) != 0
    new_value = new_listing | (np.diff(similarity, prepend=np.float32(np.nan)) != 0)
    start = np.maximum.accumulate(np.where(new_listing, at, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, at, 0))
    return first_equal - start + 1, at - start
