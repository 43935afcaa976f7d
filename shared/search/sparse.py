"""Nearest neighbors of sparse rows by an inverted index that is read from the rarest term on.

A product of all rows with all rows costs the square of how many rows hold a term, so common terms, which say least,
cost most. The index is therefore read like this for each listing:

1. Its terms are read from the rarest to the most common one, as long as they name at most `budget` listings together.
   The listings with the largest sums of products so far are picked.
2. What is unread of the listing has norm r, what is unread of another one at most s. By Cauchy and Schwarz, the
   similarity of the two exceeds the sum so far by at most r·s (Bayardo, Ma and Srikant, "Scaling up all pairs
   similarity search", 2007; Anastasiu and Karypis, "L2AP", 2014, section 4).
3. The picked ones with the best prospects are compared exactly (`lists.py`). If no other listing can reach the last of
   the neighbors by the bound, the list is proven to be that of a search of all listings. Otherwise it is approximate.

The list of a listing depends on the pool and the budget alone, not on what else is asked, nor on blocks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sparse_dot_topn import sp_matmul_topn

from shared.schema import Embeddings, Flags
from shared.search.lists import (
    DECIMALS,
    Index,
    Limits,
    NeighborLists,
    exact_similarity,
    ranked_lists,
)
from shared.search.sorting import best_first

PICKED = 10  # times k: listings that are picked by what is read of them
COMPARED = 3  # times k: those of them that are compared exactly
LEAST = 8  # k is taken to be at least this in the two numbers above
PROSPECT = 0.3  # share of the bound of what is unread that is expected to come true; measured on titles
SAMPLE = 2048  # listings that tell how far the index is read
SHALLOW = 0.1  # share of the listings that are read less far than the bound of others assumes
BLOCK = 4096  # listings searched at a time
CHUNK = 1 << 16  # listings of which norms are computed at a time

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class SparseSearcher:
    """Searches a pool of sparse vectors, with bounded work per listing.

    Args:
        embeddings: Of the pool, CSR.
        limits: Which listings are neighbors.
        budget: Listings named in the index that are read per listing, those of its rarest term in any case.
        threads: Of the products.
        index: Which listings hold a term, and its weight in them, CSR [terms, n].
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
    index: Any
    holding: Index
    rarity: Index
    depth: int
    unread: Norms
    slack: float

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, *, budget: int, threads: int = 1) -> Self:
        """Return a searcher of a pool; it makes the index.

        Args:
            embeddings: Of the pool, CSR.
            limits: Which listings are neighbors.
            budget: Listings named in the index that are read per listing, at least 1.
            threads: Of the products.
        """
        vectors: Any = embeddings.vectors
        holding = np.bincount(vectors.indices, minlength=vectors.shape[1])
        rarity = np.empty(len(holding), dtype=np.int64)
        rarity[np.argsort(holding, kind="stable")] = np.arange(len(holding))
        index = sparse.csr_matrix(vectors.T.tocsr())
        terms = int(np.diff(vectors.indptr).max(initial=0))
        slack = 2 * terms * 2**-24 + 2 * 10**-DECIMALS
        nothing = np.zeros(0, dtype=np.float64)
        bare = cls(embeddings, limits, budget, threads, index, holding, rarity, 0, nothing, slack)
        depth = bare._depth()
        return cls(
            embeddings, limits, budget, threads, index, holding, rarity, depth, bare._norms_from(depth), slack
        )

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
        more = ~first & (picks.place < compared) & (picks.bound >= self._kth(picks, similarity, len(rows))[picks.row])
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
        return ranked_lists(len(self.embeddings), left, right, similarity[near], self.limits), proven

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
        most = PICKED * max(self.limits.k, LEAST)
        products = sp_matmul_topn(query.terms, self.index, most, sort=True, n_threads=self.threads)
        sizes, rows = np.diff(products.indptr), len(query.rows)
        row, neighbor = np.repeat(np.arange(rows), sizes), products.indices
        last = np.where(sizes == most, np.maximum(products.data[products.indptr[1:] - 1], 0), 0)
        deep = query.next_place >= self.depth
        others = last + query.unread * np.where(deep, self.unread.max(initial=0), 1.0)
        rest = query.unread[row] * np.where(deep[row], self.unread[neighbor], 1.0)
        prospect = (products.data + PROSPECT * rest).astype(np.float32)
        bound = products.data + rest + 2 * self.slack
        order = best_first(row, prospect)
        order = order[query.rows[row[order]] != neighbor[order]]
        row = row[order]
        place = np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row]
        return _Picks(row, neighbor[order], bound[order], place, np.where(others > 0, others + 2 * self.slack, 0))

    def _exact(self, rows: Index, picks: _Picks, mask: Flags) -> NDArray[np.float32]:
        left, right = rows[picks.row[mask]].astype(np.int32), picks.neighbor[mask].astype(np.int32)
        return exact_similarity(self.embeddings, left, right)

    def _kth(self, picks: _Picks, similarity: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
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
        bound: Similarity that it has at most, rounding included, float64 [e].
        place: Place in the listing's picks, from 0, int64 [e].
        others: Similarity that a listing which is not picked has at most, float64 [r]; 0 where it shares no term.
    """

    row: Index
    neighbor: NDArray[np.integer]
    bound: Norms
    place: Index
    others: Norms
