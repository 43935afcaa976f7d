"""Exact nearest neighbors of a whole dense pool by half of the products, since those of a with b are those of b with a.

A listing's products are then spread over many blocks, and of a block must be kept what may be among the k nearest of
each of its listings and of each of those that it is multiplied with. A lower bound of the k-th best similarity tells
what: at first that among the members of a listing's own cell (`cells.py`), later that among all products so far.
Listings with more hits than a list may hold are searched again by `ProductSearcher`, which knows how to thin them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any, Self

import numpy as np

from shared.schema import Embeddings, Floats
from shared.search.cells import Cells, CellSearcher
from shared.search.exact import CELLS, RANKED_AT_ONCE, ProductSearcher
from shared.search.hits import Gathered, Part
from shared.search.lists import Index, Limits, NeighborLists, exact_lists
from shared.search.threads import map_blocks

FEWEST = 1 << 12  # listings from which on half of the products take less time than all of them, with all that is added
AT_ONCE = 16  # blocks whose hits are gathered at a time
PATIENCE = 4  # times the neighbors that a list may hold: hits of a listing that wait for a better bound
MOST_HITS = 1 << 22  # that wait to be gathered, unless there are as many already


@dataclass(frozen=True)
class SymmetricSearcher:
    """Searches a dense pool exactly: asked for all of its listings, by half of the products.

    Args:
        whole: Searches some of the listings.
        threads: At least 1.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), np.ones(3, dtype=bool))
        >>> SymmetricSearcher.of(pool, Limits(1)).lists(np.arange(3)).neighbor.tolist()
        [1, 2, 1]
    """

    whole: ProductSearcher
    threads: int

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, *, threads: int = 1) -> Self:
        """Return a searcher of a pool.

        Args:
            embeddings: Dense.
            limits: Which listings are neighbors.
            threads: At least 1.
        """
        return cls(ProductSearcher.of(embeddings, limits, np), threads)

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        embeddings, pool = self.whole.embeddings, self.whole.pool
        if len(pool) < FEWEST or np.count_nonzero(embeddings.present[rows]) < len(pool):
            return self.whole.lists(rows)
        hits, crowded = self._hits()
        again = self.whole.lists(pool[crowded])
        listing, neighbor, limits = pool[hits.position], pool[hits.neighbor], self.whole.search.limits
        borders = np.searchsorted(hits.position, np.arange(0, len(pool) + RANKED_AT_ONCE, RANKED_AT_ONCE))
        parts = [slice(start, end) for start, end in pairwise(borders)]

        def ranked(part: slice) -> NeighborLists:
            return exact_lists(embeddings, (listing[part], neighbor[part]), limits)

        lists = map_blocks(ranked, parts, self.threads)
        return _merged(NeighborLists.joined(len(embeddings), lists), again)

    def _hits(self) -> tuple[Gathered, Index]:
        """Return hits of the pool's listings, rows being positions in the pool; and who is crowded and has none."""
        m, search = len(self.whole.pool), self.whole.search
        gathered, waiting, crowded = self._with_reach(), [], np.zeros(m, dtype=np.bool_)
        blocks = _blocks(m)
        for first in range(0, len(blocks), AT_ONCE):
            some = blocks[first : first + AT_ONCE]
            bound = np.where(crowded, np.float32(2), np.maximum(gathered.reach - search.slack, search.least))
            for parts, crowd in map_blocks(partial(self._of_block, bound=bound), some, self.threads):
                waiting += parts
                crowded[crowd] = True
            if sum(len(part[0]) for part in waiting) > max(MOST_HITS, len(gathered.position)) or some[-1] == blocks[-1]:
                gathered, waiting = gathered.joined(waiting), []
                crowded |= gathered.crowded(1 if some[-1] == blocks[-1] else PATIENCE)
                gathered = gathered.only(~crowded[gathered.position])
        return gathered, np.flatnonzero(crowded)

    def _with_reach(self) -> Gathered:
        """Return no hits, but how near a listing must be to one of the pool, by the members of its cell."""
        embeddings, pool, search = self.whole.embeddings, self.whole.pool, self.whole.search
        cells = Cells.of(embeddings, self.threads, centers=round(len(pool) ** 0.5), probes=4)
        near = CellSearcher.of(embeddings, search.limits, cells, threads=self.threads).hits(pool)
        return replace(Gathered.none(len(pool), search), reach=near.reach)

    def _of_block(self, block: tuple[int, int], bound: Floats) -> tuple[list[Part], Index]:
        """Return the hits among the products of some listings with themselves and all later ones; and who is crowded.

        Args:
            block: Where the listings begin and end in the pool.
            bound: The least product that counts of each listing of the pool, float32 [m].
        """
        start, end = block
        vectors: Any = self.whole.embeddings.vectors
        pool, most = self.whole.pool, self.whole.search.limits.most
        similarity = vectors[pool[start:end]] @ vectors[pool[start:]].T
        np.fill_diagonal(similarity, -1)
        later = similarity[:, end - start :]
        parts, crowds = [], []
        for values, hit, of_later in (
            (similarity, similarity >= bound[start:end, None], False),
            (later, later >= bound[end:], True),
        ):
            positions = np.flatnonzero(hit)
            line, column = np.divmod(positions, max(1, values.shape[1]))
            own, other = (column + end, line + start) if of_later else (line + start, column + start)
            mask = np.bincount(own, minlength=len(pool)) <= PATIENCE * most
            crowds.append(np.flatnonzero(~mask))
            keep = mask[own]
            own, other = own[keep].astype(np.int32), other[keep].astype(np.int32)
            parts.append((own, other, values[line[keep], column[keep]]))
        return parts, np.concatenate(crowds)


def _blocks(m: int) -> list[tuple[int, int]]:
    """Return ranges of a pool of m listings, each as large as makes `CELLS` products with itself and all later ones."""
    blocks, start = [], 0
    while start < m:
        end = min(m, start + max(1, CELLS // (m - start)))
        blocks.append((start, end))
        start = end
    return blocks


def _merged(lists: NeighborLists, others: NeighborLists) -> NeighborLists:
    """Return lists of disjoint listings as one."""
    if len(others) == 0:
        return lists
    both = NeighborLists.joined(lists.n, [lists, others])
    order = np.argsort(both.listing, kind="stable")
    listing, neighbor, similarity, rank = both.listing, both.neighbor, both.similarity, both.rank
    return NeighborLists(both.n, listing[order], neighbor[order], similarity[order], rank[order])
