"""Lists of neighbors made better by the neighbors of neighbors, who are likely to be neighbors, too.

These are `STEPS` steps of NN-descent (Dong, Charikar & Li, "Efficient k-nearest neighbor graph construction for generic
similarity measures", WWW 2011, section 2), for lists of a whole pool that an approximate search found. In each step, if
A is in the list of B, then B is put into the list of A, too, where it is near enough; then the nearest neighbors of the
nearest neighbors of each listing are compared with it, at most `NEAREST`² however large the pool is. No listing leaves
a list but for a nearer one, or for one as near in a lower row where ties fill the list.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.schema import Embeddings, Floats, Rows, pair_key
from shared.search.exact import Search
from shared.search.lists import Index, Limits, NeighborLists, exact_similarity, rank_and_place, ranked
from shared.search.sorting import distinct
from shared.search.threads import map_blocks

STEPS = 2  # of which the first finds most of what is missing
NEAREST = 20  # neighbors of a listing, and of each of these, that are looked at
BLOCK = 1024  # listings at a time
PAIRS = 1 << 11  # pairs whose vectors are multiplied at a time: 6 MB of them


def refined(embeddings: Embeddings, lists: NeighborLists, limits: Limits, threads: int = 1) -> NeighborLists:
    """Return the lists of a pool with the neighbors of neighbors that belong into them, for any number of threads.

    Args:
        embeddings: Dense, of n listings.
        lists: Of all listings that have evidence, as the exact step of a search leaves them.
        limits: Which listings are neighbors.
        threads: At least 1.

    Examples:
        >>> vectors = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], np.float32)
        >>> pool = Embeddings(vectors, np.ones(3, dtype=bool))
        >>> listing, neighbor, one = np.arange(3, dtype=np.int32), np.array([1, 2, 0], np.int32), np.ones(3, np.int32)
        >>> lists = NeighborLists(3, listing, neighbor, np.array([0.8, 0.96, 0.6], np.float32), one)
        >>> refined(pool, lists, Limits(1)).neighbor.tolist()
        [1, 2, 1]
    """
    for _ in range(STEPS):
        lists = _both_ways(lists, limits, threads)
        lists = _with_further(embeddings, lists, limits, threads)
    return lists


def _both_ways(lists: NeighborLists, limits: Limits, threads: int) -> NeighborLists:
    """Return the lists, each with those in whose lists the listing is, as far as they belong into it."""
    n = lists.n
    borders = np.searchsorted(lists.listing, np.arange(n + 1))
    back = np.argsort(lists.neighbor, kind="stable")  # entries, by who is in a list instead of whose list it is
    back_borders = np.append(0, np.cumsum(np.bincount(lists.neighbor, minlength=n)))

    def of_block(start: int) -> NeighborLists:
        end = min(start + BLOCK, n)
        own, turned = slice(borders[start], borders[end]), back[back_borders[start] : back_borders[end]]
        listing = np.concatenate([lists.listing[own], lists.neighbor[turned]])
        neighbor = np.concatenate([lists.neighbor[own], lists.listing[turned]])
        similarity = np.concatenate([lists.similarity[own], lists.similarity[turned]])
        return _ranked(n, listing, neighbor, similarity, limits)

    return NeighborLists.joined(n, map_blocks(of_block, range(0, n, BLOCK), threads))


def _with_further(embeddings: Embeddings, lists: NeighborLists, limits: Limits, threads: int) -> NeighborLists:
    """Return the lists, each with the nearest neighbors of its nearest neighbors, as far as they belong into it."""
    n = len(embeddings)
    search = Search.of(embeddings.vectors, limits, np)
    borders = np.searchsorted(lists.listing, np.arange(n + 1))
    near = _nearest(lists, borders)

    def of_block(start: int) -> NeighborLists:
        end = min(start + BLOCK, n)
        part = slice(borders[start], borders[end])
        listing, neighbor, similarity = lists.listing[part], lists.neighbor[part], lists.similarity[part]
        left, right = _others(near, start, end, pair_key(listing, neighbor, n))
        kth = _kth(listing - start, similarity, end - start, limits.k)
        close = _products(embeddings.vectors, left, right) >= np.maximum(kth - search.slack, search.least)[left - start]
        left, right = left[close].astype(np.int32), right[close].astype(np.int32)
        further = exact_similarity(embeddings, left, right)
        listing, neighbor = np.concatenate([listing, left]), np.concatenate([neighbor, right])
        return _ranked(n, listing, neighbor, np.concatenate([similarity, further]), limits)

    return NeighborLists.joined(n, map_blocks(of_block, range(0, n, BLOCK), threads))


def _ranked(n: int, listing: Rows, neighbor: Rows, similarity: Floats, limits: Limits) -> NeighborLists:
    """Return lists of entries in any order; one that is there twice counts once."""
    keys = pair_key(listing, neighbor, n)
    order = np.argsort(keys)
    order = order[np.diff(keys[order], prepend=-1) != 0]
    return ranked(n, listing[order], neighbor[order], similarity[order], limits)


def _nearest(lists: NeighborLists, borders: Index) -> Rows:
    """Return the first neighbors of each listing, int32 [n, NEAREST]; itself where there are fewer.

    Args:
        lists: Of n listings.
        borders: Where the list of each listing begins, and the last one ends, int64 [n + 1].
    """
    near = np.repeat(np.arange(lists.n, dtype=np.int32)[:, None], NEAREST, axis=1)
    sizes = np.diff(borders)
    for place in range(NEAREST):
        rows = np.flatnonzero(sizes > place)
        near[rows, place] = lists.neighbor[borders[rows] + place]
    return near


def _others(near: Rows, start: int, end: int, known: Index) -> tuple[Index, Index]:
    """Return who is near those near to each listing from `start` to `end`, without itself and its list.

    Args:
        near: As of `_nearest`.
        start: First listing.
        end: Behind the last listing.
        known: Pair keys of the lists of these listings.
    """
    n = len(near)
    own = np.arange(start, end)
    further = near[near[start:end]].reshape(end - start, -1)
    keys = distinct(pair_key(np.repeat(own, further.shape[1]), further.ravel(), n))
    known = np.sort(np.concatenate([known, pair_key(own, own, n)]))
    new = keys[known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] != keys]
    left, right = np.divmod(new, n)
    return left, right


def _kth(listing: Rows, similarity: Floats, count: int, k: int) -> Floats:
    """Return the k-th largest similarity of each of some listings, float32 [count]; -1 where there are fewer."""
    kth = np.full(count, -1, dtype=np.float32)
    _, place = rank_and_place(listing, similarity)
    last = place == k - 1
    kth[listing[last]] = similarity[last]
    return kth


def _products(vectors: Any, left: Index, right: Index) -> Floats:
    """Return the products of pairs of vectors, float32 [p]."""
    parts = [
        np.einsum("pd,pd->p", vectors[left[at : at + PAIRS]], vectors[right[at : at + PAIRS]])
        for at in range(0, len(left), PAIRS)
    ]
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])
