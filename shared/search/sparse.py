"""Nearest neighbors of sparse rows by an inverted index that is read from the rarest term on.

A product of all rows with all rows costs the square of how many rows hold a term, so common terms, which say least,
cost most. The index is therefore read like this for each listing:

1. Its terms are read from the rarest to the most common one, as long as they name at most `budget` listings together.
   The listings with the largest sums of products so far are picked (by the library sparse-dot-topn).
2. What is unread of the listing has norm r, what is unread of another one at most s. By Cauchy and Schwarz, the
   similarity of the two exceeds the sum so far by at most r·s (Bayardo, Ma and Srikant, "Scaling up all pairs
   similarity search", 2007; Anastasiu and Karypis, "L2AP", 2014, section 4).
3. The picked ones with the best prospects are compared exactly (`lists.py`), as long as they may reach the last of the
   neighbors. If nobody else can by the bound, the list is proven to be that of a search of all listings. Otherwise it
   is approximate.

The list of a listing depends on the pool and the budget alone, not on what else is asked, nor on blocks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import Embeddings, Flags, Floats
from shared.search.lists import (
    DECIMALS,
    Index,
    Limits,
    NeighborLists,
    exact_similarity,
    ranked,
)
from shared.search.sorting import best_first
from shared.search.threads import map_blocks

BUDGET = 75  # times the root of the number of listings: listings named in the index that are read per listing
PICKED = 36  # times k: listings that are picked by what is read of them
COMPARED = 24  # times k: those of them that are compared exactly at most
LEAST = 8  # k is taken to be at least this in the two numbers above
PROSPECT = 0.3  # share of the bound of what is unread that comes true for titles, on average
HOPE = 0.6  # and hardly ever more than this share
SAMPLE = 2048  # listings that tell how far the index is read
SHALLOW = 0.1  # share of the listings that are read less far than the bound of others assumes
BLOCK = 4096  # listings searched at a time
CHUNK = 1 << 16  # listings of which norms are computed at a time, and pairs that a thread compares at a time

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class SparseSearcher:
    """Searches a pool of sparse vectors, with bounded work per listing.

    Args:
        embeddings: Of the pool, CSR.
        limits: Which listings are neighbors.
        budget: Listings named in the index that are read per listing, those of its rarest term in any case.
        threads: Of the products.
        order: The listings by their heaviest term, int64 [n]; what is alike is near in memory then.
        index: Which of these hold a term, and its weight in them, CSR [terms, n].
        holding: Listings that hold each term, int64 [terms].
        rarity: Place of each term among all, from the rarest on, int64 [terms].
        depth: Terms from this place on are unread of most listings.
        unread: Norm of these of each listing, float64 [n].
        slack: What rounding does to a difference of two similarities, at most.

    Examples:
        >>> vectors = sparse.csr_array(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32))
        >>> searcher = SparseSearcher.of(Embeddings(vectors, np.ones(3, dtype=bool)), Limits(1), budget=10)
        >>> lists, proven = searcher.proven_lists(np.array([0, 2]))
        >>> lists.neighbor.tolist(), proven.tolist()
        ([1, 1], [True, True])
    """

    embeddings: Embeddings
    limits: Limits
    budget: int
    threads: int
    order: Index
    index: Any
    holding: Index
    rarity: Index
    depth: int
    unread: Norms
    slack: float

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, *, budget: int | None = None, threads: int = 1) -> Self:
        """Return a searcher of a pool; it makes the index.

        Args:
            embeddings: Of the pool, CSR.
            limits: Which listings are neighbors.
            budget: Listings named in the index that are read per listing, at least 1; None: `BUDGET` times the root of
                the number of listings with evidence.
            threads: Of the products and comparisons.
        """
        vectors: Any = embeddings.vectors
        budget = budget or round(BUDGET * np.count_nonzero(embeddings.present) ** 0.5)
        holding = np.bincount(vectors.indices, minlength=vectors.shape[1])
        rarity = np.empty(len(holding), dtype=np.int64)
        rarity[np.argsort(holding, kind="stable")] = np.arange(len(holding))
        order = np.argsort(_heaviest_term(vectors), kind="stable")
        index = sparse.csr_matrix(vectors[order].T.tocsr())
        terms = int(np.diff(vectors.indptr).max(initial=0))
        slack = 2 * terms * 2**-24 + 2 * 10**-DECIMALS
        no_norms = np.zeros(0, dtype=np.float64)
        bare = cls(embeddings, limits, budget, threads, order, index, holding, rarity, 0, no_norms, slack)
        depth = bare._depth()
        return replace(bare, depth=depth, unread=bare._norms_from(depth))

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        return self.proven_lists(rows)[0]

    def proven_lists(self, rows: Index) -> tuple[NeighborLists, Flags]:
        """Return the same lists, and which of them are proven to be those of a search of all listings, bool [r]."""
        proven = np.ones(len(rows), dtype=np.bool_)
        present = np.flatnonzero(self.embeddings.present[rows])
        parts = []
        for start in range(0, len(present), BLOCK):
            block = present[start : start + BLOCK]
            part, proven[block] = self._block(rows[block])
            parts.append(part)
        return NeighborLists.joined(len(self.embeddings), parts), proven

    def _block(self, rows: Index) -> tuple[NeighborLists, Flags]:
        """Return the lists of some listings that have evidence, and which are proven."""
        query = self._query(rows)
        picks = self._picks(query)
        similarity = np.full(len(picks.row), np.nan, dtype=np.float32)
        k, compared = self.limits.k, COMPARED * max(self.limits.k, LEAST)
        first = picks.place < k + LEAST
        similarity[first] = self._exact(rows, picks, first)
        kth = self._kth(picks, similarity, len(rows))
        more = ~first & (picks.place < compared) & (picks.hope >= kth[picks.row])
        similarity[more] = self._exact(rows, picks, more)
        kth = self._kth(picks, similarity, len(rows))
        missed = picks.others.copy()  # by the bound, no listing that is not compared is nearer
        apart = np.isnan(similarity)
        np.maximum.at(missed, picks.row[apart], picks.bound[apart])
        close = ~apart & (similarity >= kth[picks.row] - self.slack)
        crowd = np.bincount(picks.row[close], minlength=len(rows))
        proven = ((missed < kth) | (missed <= 0)) & (crowd <= self.limits.most)
        near = np.flatnonzero(~apart)
        near = near[np.argsort(picks.row[near] * len(self.embeddings) + picks.neighbor[near])]
        left, right = rows[picks.row[near]].astype(np.int32), picks.neighbor[near].astype(np.int32)
        return ranked(len(self.embeddings), left, right, similarity[near], self.limits), proven

    # --- what is read ---

    def _query(self, rows: Index) -> _Query:
        """Return what is read of the listings at `rows`, and what not."""
        vectors: Any = self.embeddings.vectors[rows]
        sizes = np.diff(vectors.indptr)
        row = np.repeat(np.arange(len(rows)), sizes)
        order = np.argsort(row * len(self.rarity) + self.rarity[vectors.indices])
        term, weight = vectors.indices[order], vectors.data[order]
        named = np.cumsum(self.holding[term])
        start = vectors.indptr[:-1].astype(np.int64)
        before = np.append(0, named)[start]
        read = named - before[row] <= self.budget
        read[start[sizes > 0]] = True
        unread = np.bincount(row, weights=np.where(read, 0.0, weight.astype(np.float64) ** 2), minlength=len(rows))
        ends = np.append(0, np.cumsum(read))[vectors.indptr].astype(self.index.indptr.dtype)
        terms = sparse.csr_matrix((weight[read], term[read], ends), shape=vectors.shape)
        next_place = np.full(len(rows), len(self.rarity))
        np.minimum.at(next_place, row[~read], self.rarity[term[~read]])
        return _Query(rows, terms, np.sqrt(unread), next_place)

    def _depth(self) -> int:
        """Return the place among all terms up to which the index is read for all but the shallow listings."""
        present = np.flatnonzero(self.embeddings.present)
        if len(present) == 0:
            return 0
        sample = present[np.unique(np.linspace(0, len(present) - 1, SAMPLE).astype(np.int64))]
        return int(np.quantile(self._query(sample).next_place, SHALLOW, method="lower"))

    def _norms_from(self, depth: int) -> Norms:
        """Return the norm of the terms from a place on of each listing, float64 [n]."""
        vectors: Any = self.embeddings.vectors
        norms = np.zeros(len(self.embeddings))
        for start in range(0, len(norms), CHUNK):
            part = vectors[start : start + CHUNK]
            row = np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))
            common = self.rarity[part.indices] >= depth
            squares = part.data[common].astype(np.float64) ** 2
            norms[start : start + CHUNK] = np.sqrt(np.bincount(row[common], squares, minlength=part.shape[0]))
        return norms

    # --- who may be near ---

    def _picks(self, query: _Query) -> _Picks:
        """Return the listings with the largest products with what is read, those with the best prospects first."""
        from sparse_dot_topn import sp_matmul_topn  # takes 0.2 s to import

        most = PICKED * max(self.limits.k, LEAST)
        products = sp_matmul_topn(query.terms, self.index, most, n_threads=self.threads)
        sizes, rows = np.diff(products.indptr), len(query.rows)
        row, neighbor = np.repeat(np.arange(rows), sizes), self.order[products.indices]
        last = np.where(sizes == most, np.minimum.reduceat(products.data, products.indptr[:-1]), 0)
        deep = query.next_place >= self.depth
        others = last + query.unread * np.where(deep, self.unread.max(initial=0), 1.0)
        rest = query.unread[row] * np.where(deep[row], self.unread[neighbor], 1.0)
        order = best_first(row, (products.data + PROSPECT * rest).astype(np.float32))
        order = order[query.rows[row[order]] != neighbor[order]]
        row, rest, product = row[order], rest[order], products.data[order]
        return _Picks(
            row,
            neighbor[order],
            product + HOPE * rest + 2 * self.slack,
            product + rest + 2 * self.slack,
            np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row],
            np.where(others > 0, others + 2 * self.slack, 0),
        )

    def _exact(self, rows: Index, picks: _Picks, mask: Flags) -> Floats:
        left, right = rows[picks.row[mask]].astype(np.int32), picks.neighbor[mask].astype(np.int32)
        parts = [slice(start, start + CHUNK) for start in range(0, len(left), CHUNK)]

        def compared(part: slice) -> Floats:
            return exact_similarity(self.embeddings, left[part], right[part])

        return np.concatenate([np.zeros(0, dtype=np.float32), *map_blocks(compared, parts, self.threads)])

    def _kth(self, picks: _Picks, similarity: Floats, rows: int) -> Floats:
        """Return the k-th largest similarity of each row so far, at least the minimum; 0 where there are fewer."""
        known = np.flatnonzero(~np.isnan(similarity))
        row = picks.row[known]
        values = similarity[known][best_first(row, similarity[known])]
        sizes = np.bincount(row, minlength=rows)
        ends = np.cumsum(sizes) - sizes + self.limits.k - 1
        full = sizes >= self.limits.k
        kth = np.full(rows, max(self.limits.minimum, 0.0), dtype=np.float32)
        kth[full] = np.maximum(kth[full], values[ends[full]])
        return kth


def _heaviest_term(vectors: Any) -> Index:
    """Return the heaviest term of each row, the first of equal ones, int64 [n]; -1 of an empty row."""
    sizes = np.diff(vectors.indptr)
    filled = np.flatnonzero(sizes)
    heaviest = np.full(vectors.shape[0], -1)
    starts = vectors.indptr[filled]
    most = np.repeat(np.maximum.reduceat(vectors.data, starts), sizes[filled]) if len(filled) else vectors.data
    places = np.flatnonzero(vectors.data == most)
    first = places[np.searchsorted(places, starts)]
    heaviest[filled] = vectors.indices[first]
    return heaviest


@dataclass(frozen=True)
class _Query:
    """What is read of some listings.

    Args:
        rows: The listings, int64 [r].
        terms: Their terms that are read, the rarest first, CSR [r, terms].
        unread: Norm of their other terms, float64 [r].
        next_place: Place of the rarest unread term among all terms, int64 [r]; their number where all are read.
    """

    rows: Index
    terms: Any
    unread: Norms
    next_place: Index


@dataclass(frozen=True)
class _Picks:
    """Listings that may be neighbors, of one row after the other, by falling prospects.

    Args:
        row: Place of the listing among those asked for, int64 [e].
        neighbor: Row of the other listing, int [e].
        hope: Similarity that it hardly exceeds, float64 [e].
        bound: Similarity that it has at most, rounding included, float64 [e].
        place: Place in the listing's picks, from 0, int64 [e].
        others: Similarity that a listing which is not picked has at most, float64 [r]; 0 where it shares no term.
    """

    row: Index
    neighbor: NDArray[np.integer]
    hope: Norms
    bound: Norms
    place: Index
    others: Norms
