"""Nearest neighbors of sparse rows by an inverted index that is read in part.

A product of all rows with all rows costs the square of how many rows hold a term. The index is therefore read like this
for each listing:

1. Of its terms those are read that tell most for what they cost, as long as they name at most `budget` listings
   together. A term of weight w that h listings hold comes the earlier the larger w⁴/h is. A product of equal terms adds
   w² and costs h steps; the square of it prefers a word to as many n-grams of it, which all name the same listings.
2. The listings with the largest sums of products are picked (by the library sparse-dot-topn).
3. The picked ones are compared exactly (`lists.py`).

Lists are approximate: a neighbor that shares other terms alone is missed. The list of a listing depends on the pool and
the budget alone, not on what else is asked, nor on blocks or threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from shared.schema import Embeddings
from shared.search.lists import Index, Limits, NeighborLists, exact_lists
from shared.search.sorting import best_first
from shared.search.threads import map_blocks

BUDGET = 256  # times the cube root of the number of listings: listings named in the index that are read per listing
PICKED = 4  # times k: listings that are picked by what is read, and compared exactly
LEAST = 64  # listings that are picked at least
BLOCK = 4096  # listings searched at a time
CHUNK = 256  # listings whose picks a thread compares at a time


@dataclass(frozen=True)
class SparseSearcher:
    """Searches a pool of sparse vectors, with bounded work per listing.

    Args:
        embeddings: Of the pool, CSR.
        limits: Which listings are neighbors.
        budget: Listings named in the index that are read per listing, those of one term in any case.
        threads: Of the products and comparisons.
        order: The listings by their heaviest term, int64 [n]; what is alike is near in memory then.
        index: Which of these hold a term, and its weight in them, CSR [terms, n].
        holding: Listings that hold each term, int64 [terms].

    Examples:
        >>> vectors = sparse.csr_array(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32))
        >>> searcher = SparseSearcher.of(Embeddings(vectors, np.ones(3, dtype=bool)), Limits(1), budget=10)
        >>> searcher.lists(np.array([0, 2])).neighbor.tolist()
        [1, 1]
    """

    embeddings: Embeddings
    limits: Limits
    budget: int
    threads: int
    order: Index
    index: Any
    holding: Index

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, *, budget: int | None = None, threads: int = 1) -> Self:
        """Return a searcher of a pool; it makes the index.

        Args:
            embeddings: Of the pool, CSR.
            limits: Which listings are neighbors.
            budget: Listings named in the index that are read per listing, at least 1; None: `BUDGET` times the cube
                root of the number of listings with evidence.
            threads: Of the products and comparisons.
        """
        vectors: Any = embeddings.vectors
        budget = budget or round(BUDGET * np.count_nonzero(embeddings.present) ** (1 / 3))
        order = np.argsort(_heaviest_term(vectors), kind="stable")
        index = sparse.csr_matrix(vectors[order].T.tocsr())
        return cls(embeddings, limits, budget, threads, order, index, np.diff(index.indptr).astype(np.int64))

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        present = rows[self.embeddings.present[rows]]
        blocks = [present[start : start + BLOCK] for start in range(0, len(present), BLOCK)]
        return NeighborLists.joined(len(self.embeddings), [self._block(block) for block in blocks])

    def _block(self, rows: Index) -> NeighborLists:
        """Return the lists of some listings that have evidence."""
        from sparse_dot_topn import sp_matmul_topn  # takes 0.2 s to import

        most = max(PICKED * self.limits.k, LEAST) + 1  # a listing picks itself
        picks = sp_matmul_topn(self._query(rows), self.index, most, n_threads=self.threads)

        def compared(start: int) -> NeighborLists:
            bounds = picks.indptr[start : start + CHUNK + 1]
            listing = np.repeat(rows[start : start + CHUNK], np.diff(bounds))
            neighbor = self.order[picks.indices[bounds[0] : bounds[-1]]]
            other = listing != neighbor
            return exact_lists(self.embeddings, (listing[other], neighbor[other]), self.limits)

        parts = map_blocks(compared, range(0, len(rows), CHUNK), self.threads)
        return NeighborLists.joined(len(self.embeddings), parts)

    def _query(self, rows: Index) -> Any:
        """Return what is read of the listings at `rows`: their terms by falling value, CSR [r, terms]."""
        vectors: Any = self.embeddings.vectors[rows]
        row = np.repeat(np.arange(len(rows)), np.diff(vectors.indptr))
        holding = self.holding[vectors.indices]
        value = np.where(holding <= self.budget, vectors.data**4 / holding, -holding)  # the rarest, where all cost more
        order = best_first(row, value.astype(np.float32))
        term, weight = vectors.indices[order], vectors.data[order]
        start = vectors.indptr[:-1].astype(np.int64)
        named = np.cumsum(self.holding[term])
        read = named - np.append(0, named)[start][row] <= self.budget
        read[start] = True
        ends = np.append(0, np.cumsum(read))[vectors.indptr].astype(self.index.indptr.dtype)
        return sparse.csr_matrix((weight[read], term[read], ends), shape=vectors.shape)


def _heaviest_term(vectors: Any) -> NDArray[np.integer]:
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
