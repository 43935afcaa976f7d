"""Nearest neighbors of a pool in which a few listings changed since it was searched.

New listings are searched among all, in one product with the pool: it says who is near them, and whom they are nearer to
than the last of the neighbors it has. All other lists of neighbors stay as they are, or are ranked again where vectors
changed a little. Where no listing was removed, the result is that of `nearest`. A list that lost a neighbor is not
filled up: the next one is unknown without another search. How near a new listing must be to enter the list stays as it
was, so the list holds all listings that are that near and no others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import Candidates, Embeddings, Flags, Floats, pair_key
from shared.search.exact import Search, block_hits, host, without_itself
from shared.search.lists import Index, Limits, exact_similarity, near_enough, rank_and_place
from shared.search.sorting import best_first, distinct

ANYBODY = -1.0  # the reach of a list with room: every similarity that makes a neighbor enters it
NOBODY = 2.0  # above every similarity


@dataclass(frozen=True)
class PreviousSearch:
    """The neighbors of a pool's listings, and how near another listing must be to become one.

    Args:
        candidates: The neighbors, of n listings.
        reach: The least similarity that enters a listing's list, float32 [n].

    Examples:
        >>> from shared.search.exact import nearest
        >>> vectors = np.array([[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]], np.float32)
        >>> pool = Embeddings(vectors, np.ones(2, dtype=bool))
        >>> PreviousSearch.of(nearest(pool, 1, np), k=1).reach.tolist()
        [0.5, 0.5]
    """

    candidates: Candidates
    reach: Floats

    @classmethod
    def of(cls, candidates: Candidates, k: int) -> Self:
        """Return a search by `nearest` with this k, ready to be brought up to date."""
        ends, ranks = (candidates.left, candidates.right), (candidates.rank_left, candidates.rank_right)
        listing = np.concatenate([end[rank > 0] for end, rank in zip(ends, ranks, strict=True)])
        similarity = np.concatenate([candidates.similarity[rank > 0] for rank in ranks])
        no_reach = np.full(candidates.n, ANYBODY, dtype=np.float32)
        return cls(candidates, _reach(listing, similarity, no_reach, k))


def nearest_since(
    previous: PreviousSearch,
    origin: Index,
    embeddings: Embeddings,
    k: int,
    xp: ModuleType,
    *,
    minimum: float = 0.0,
    max_ties: int | None = None,
    block: int | None = None,
    vectors_changed: bool = False,
) -> PreviousSearch:
    """Return a search of a pool brought up to date with the listings that changed.

    Args:
        previous: A search with the same arguments.
        origin: The row that each listing had in it, int64 [n]; -1 for one that is new or has become another.
        embeddings: Vectors of the n listings. Those of listings that are not new are taken to be what they were.
        k: Neighbors per listing, as of `nearest`.
        xp: numpy or CuPy.
        minimum: Least similarity, as of `nearest`.
        max_ties: As of `nearest`.
        block: New listings searched at a time, as of `nearest`.
        vectors_changed: Whether all vectors may differ a little from what they were. Each list keeps its members; their
            similarities and ranks are those of the vectors as they are now.

    Examples:
        >>> from shared.search.exact import nearest
        >>> vectors, present = np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), np.ones(3, dtype=bool)
        >>> previous = PreviousSearch.of(nearest(Embeddings(vectors[:2], present[:2]), 1, np), k=1)
        >>> search = nearest_since(previous, np.array([0, 1, -1]), Embeddings(vectors, present), 1, np)
        >>> search.candidates.left.tolist(), search.candidates.right.tolist()
        ([0, 1], [1, 2])
    """
    lists = _Lists.of(previous, origin)
    if vectors_changed:
        lists = lists.with_similarities(embeddings, k, minimum)
    search = Search.of(embeddings.vectors, Limits(k, minimum, max_ties), xp, block=block)
    listing, neighbor = _hits(np.flatnonzero(embeddings.present), lists, search)
    return _merged(lists, listing, neighbor, embeddings, search)


@dataclass(frozen=True)
class _Lists:
    """The lists of neighbors of the previous search without lost listings, in the rows of the pool as it is now.

    Args:
        pairs: Pairs of which both listings are still in the pool.
        reach: float32 [n].
        new: Listings that were not in the pool, bool [n].
        lost: Listings that lost a neighbor or must be ranked again for another reason, bool [n].
    """

    pairs: Candidates
    reach: Floats
    new: Flags
    lost: Flags

    @classmethod
    def of(cls, previous: PreviousSearch, origin: Index) -> Self:
        candidates, n = previous.candidates, len(origin)
        still = np.flatnonzero(origin >= 0)
        place = np.full(candidates.n, -1, dtype=np.int32)
        place[origin[still]] = still
        left, right = place[candidates.left], place[candidates.right]
        lost = np.zeros(n, dtype=np.bool_)
        for end, other, rank in ((left, right, candidates.rank_left), (right, left, candidates.rank_right)):
            lost[end[(rank > 0) & (end >= 0) & (other < 0)]] = True
        reach = np.full(n, ANYBODY, dtype=np.float32)
        reach[still] = previous.reach[origin[still]]
        return cls(candidates.placed(place, n), reach, origin < 0, lost)

    def with_similarities(self, embeddings: Embeddings, k: int, minimum: float) -> Self:
        """Return the same lists with similarities as they are now, all of them to be ranked again."""
        previous = self.pairs
        similarity = exact_similarity(embeddings, previous.left, previous.right)
        mask = near_enough(similarity, minimum)
        pairs = replace(previous, similarity=np.where(mask, similarity, np.float32(0))).only(mask)
        search = PreviousSearch.of(pairs, k)
        reach = np.where(search.reach > ANYBODY, search.reach, self.reach)
        return replace(self, pairs=pairs, reach=reach, lost=np.ones_like(self.lost))


def _hits(pool: Index, lists: _Lists, search: Search) -> tuple[Index, Index]:
    """Return listings with those that may enter their lists; each new listing with a superset of its neighbors."""
    xp, m = search.xp, len(pool)
    new, old = pool[lists.new[pool]], pool[~lists.new[pool]]
    product, reach = search.products(pool), xp.asarray(lists.reach[old])
    old_columns = xp.asarray(np.flatnonzero(~lists.new[pool]))
    listings, neighbors = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    block = search.block_size(m)
    for start in range(0, len(new), block):
        rows = new[start : start + block]
        similarity = without_itself(product(rows), rows, pool, xp)
        positions = host(block_hits(similarity, search))
        listings.append(rows[positions // m])
        neighbors.append(pool[positions % m])
        if len(old):
            positions = host(block_hits(similarity[:, old_columns].T, search, reach))
            listings.append(old[positions // len(rows)])
            neighbors.append(rows[positions % len(rows)])
    return np.concatenate(listings), np.concatenate(neighbors)


def _merged(lists: _Lists, listing: Index, neighbor: Index, embeddings: Embeddings, search: Search) -> PreviousSearch:
    """Return the lists with the listings that enter them; every list that changes is ranked again."""
    previous, n = lists.pairs, len(embeddings)
    keys = pair_key(np.minimum(listing, neighbor), np.maximum(listing, neighbor), n)
    added = distinct(keys)
    similarity = exact_similarity(embeddings, *_ends(added, n))
    mask = near_enough(similarity, search.limits.minimum)
    key = np.concatenate([pair_key(previous.left, previous.right, n), added])
    similarity = np.concatenate([previous.similarity, similarity])
    ranks = np.zeros((2, len(key)), dtype=np.int32)
    ranks[:, : len(previous)] = previous.rank_left, previous.rank_right
    pair = len(previous) + np.searchsorted(added, keys)
    enters = mask[pair - len(previous)] & (similarity[pair] >= lists.reach[listing])
    side, pair, listing = (listing > neighbor)[enters], pair[enters], listing[enters]
    changed = lists.new | lists.lost
    changed[listing] = True
    for of_right, ends in enumerate((previous.left, previous.right)):
        stale = np.flatnonzero(changed[ends] & (ranks[of_right, : len(previous)] > 0))
        ranks[of_right, stale] = 0
        side, pair = np.append(side, np.full(len(stale), bool(of_right))), np.append(pair, stale)
        listing = np.append(listing, ends[stale])
    order = np.argsort(key[pair], kind="stable")  # ties stand by pair, so a listing's by neighbor
    entries = _Entries(listing[order], pair[order], side[order], similarity[pair[order]])
    reach = entries.ranked(ranks, lists.reach, search)
    stays = ranks.any(axis=0)
    order = np.argsort(key[stays], kind="stable")
    left, right = _ends(key[stays][order], n)
    rank_left, rank_right = ranks[:, stays][:, order]
    return PreviousSearch(Candidates(n, left, right, similarity[stays][order], rank_left, rank_right), reach)


@dataclass(frozen=True)
class _Entries:
    """Entries of lists of neighbors.

    Args:
        listing: Whose list, int64 [e].
        pair: Position of the pair, int64 [e].
        side: Whether the listing is the pair's right one, bool [e].
        similarity: float32 [e].
    """

    listing: Index
    pair: Index
    side: Flags
    similarity: Floats

    def ranked(self, ranks: NDArray[np.int32], reach: Floats, search: Search) -> Floats:
        """Write the ranks of these whole lists into `ranks`, int32 [2, pairs]; return the new reach of every list."""
        order = best_first(self.listing, self.similarity)
        listing, similarity = self.listing[order], self.similarity[order]
        rank, place = rank_and_place(listing, similarity)
        mask = (rank <= search.limits.k) & (place < search.limits.most)
        ranks[self.side[order][mask].astype(np.int64), self.pair[order][mask]] = rank[mask]
        return _reach(listing[mask], similarity[mask], reach, search.limits.k)


def _reach(listing: Index, similarity: Floats, previous: Floats, k: int) -> Floats:
    """Return the reach of each list: of a full one among these its least similarity, else the previous reach."""
    reach = np.full(len(previous), NOBODY, dtype=np.float32)
    np.minimum.at(reach, listing, similarity)
    full = np.bincount(listing, minlength=len(previous)) >= k
    return np.where(full, reach, previous)


def _ends(key: Index, n: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    left, right = np.divmod(key, max(n, 1))
    return left.astype(np.int32), right.astype(np.int32)
