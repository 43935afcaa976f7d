"""Nearest neighbors of large pools: each listing is compared with those in the cells around it alone.

The listings are dealt into cells, those that are nearest to the same center, and each is compared with the members of
the `PROBES` cells whose centers are nearest to it. This is the inverted file of Jégou, Douze & Schmid ("Product
quantization for nearest neighbor search", PAMI 2011, section 4) with whole vectors. Here it is a join: all listings
that look into a cell are multiplied with its members at once, which is many times as fast as one listing after another.

What is found is approximate, since a neighbor in a cell further away is missed. All else is exact: of the listings
that were compared, the neighbors, their similarities and ranks are those of `lists.py`. The centers are the means of
Lloyd's algorithm on the sphere (Dhillon & Modha, "Concept decompositions", Machine Learning 2001, section 3) over a
random sample. They and the cells that each listing looks into can be saved, so that other processes find
the same. `refinement.py` then finds most of what was missed by the lists of a whole pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse

from shared.schema import Embeddings, Floats, Rows
from shared.search.exact import CELLS, Search, hits_above, kth_bound
from shared.search.hits import Gathered, Part
from shared.search.lists import Index, Limits, NeighborLists, exact_lists, in_blocks
from shared.search.threads import map_blocks

PROBES = 64  # cells that a listing is compared with
CENTERS = 8  # times the root of the number of listings: then finding the cells costs as much as comparing
SAMPLE = 16  # listings per center that the centers are learned from
SEED = 0  # draws the sample
STEPS = 4  # of Lloyd's algorithm
ROUNDS = (1, 8, PROBES)  # after so many cells, what cannot be among the k nearest any more is dropped
BLOCK = 1024  # listings whose cells are found at a time
GROUP = 64  # cells that a thread takes at a time
BYTES_PER_LISTING = 20_000  # of hits and of what sorting them takes
FEWEST_ROWS, MOST_ROWS = 1 << 12, 1 << 17  # listings that are searched at a time


@dataclass(frozen=True)
class Cells:
    """Centers, and the cells that each listing of a pool looks into.

    Args:
        centers: Unit vectors, float32 [c, d].
        nearest: The nearest centers of each listing, the nearest one first, which is that of its own cell, int32
            [n, p]; -1 for a listing without evidence.

    Examples:
        >>> vectors = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]
        >>> cells = Cells.of(Embeddings(vectors, np.ones(4, dtype=bool)), centers=2)
        >>> bool(cells.nearest[0, 0] == cells.nearest[1, 0])
        True
    """

    centers: Floats
    nearest: Rows

    @classmethod
    def of(
        cls, embeddings: Embeddings, threads: int = 1, *, centers: int | None = None, probes: int | None = None
    ) -> Self:
        """Return the cells of a pool, the same for any number of threads.

        Args:
            embeddings: Dense, of n listings.
            threads: At least 1.
            centers: How many; None: `CENTERS` times the root of the number of listings with evidence.
            probes: Cells that a listing looks into; None: `PROBES`.
        """
        vectors: Any = embeddings.vectors
        pool = np.flatnonzero(embeddings.present)
        count = min(len(pool), centers or round(CENTERS * len(pool) ** 0.5))
        nearest = np.full((len(embeddings), max(1, min(probes or PROBES, count))), -1, dtype=np.int32)
        sample = np.random.default_rng(SEED).permutation(pool)[: SAMPLE * count]
        means = vectors[sample[:count]]
        for _ in range(STEPS if count else 0):
            means = _moved(means, vectors[sample], _nearest_centers(vectors, sample, means, 1, threads)[:, 0])
        if count:
            nearest[pool] = _nearest_centers(vectors, pool, means, nearest.shape[1], threads)
        return cls(means, nearest)

    def save(self, path: Path) -> None:
        """Write one safetensors file."""
        save_file({"centers": self.centers, "nearest": self.nearest}, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**load_file(path))


def _nearest_centers(vectors: Floats, rows: Index, centers: Floats, p: int, threads: int) -> Rows:
    """Return the p nearest centers of each listing at `rows`, the nearest first, int32 [r, p]."""
    transposed = np.ascontiguousarray(centers.T)

    def of_block(block: Index) -> Rows:
        similarity = vectors[block] @ transposed
        if p == 1:
            own: Rows = similarity.argmax(axis=1)[:, None].astype(np.int32)
            return own
        best = np.sort(np.argpartition(similarity, -p, axis=1)[:, -p:], axis=1)
        order = np.argsort(-np.take_along_axis(similarity, best, axis=1), axis=1, kind="stable")
        nearest: Rows = np.take_along_axis(best, order, axis=1).astype(np.int32)
        return nearest

    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    return np.concatenate(map_blocks(of_block, blocks, threads))


def _moved(centers: Floats, vectors: Floats, own: Rows) -> Floats:
    """Return centers moved to the means of those nearest to them, as unit vectors; one without members stays."""
    s = len(vectors)
    members = sparse.csr_array((np.ones(s, dtype=np.float32), (own, np.arange(s))), shape=(len(centers), s))
    sums = members @ vectors
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    moved: Floats = np.where(norms > 0, sums / np.maximum(norms, np.finfo(np.float32).tiny), centers)
    return moved


# --- the search ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellSearcher:
    """Searches a pool cell by cell.

    Args:
        embeddings: Of the pool, dense.
        cells: Of the pool.
        members: The listings that have evidence, by cell, then by row, int64 [m].
        starts: Where the members of each cell begin, int64 [c + 1].
        search: What counts as a hit.
        rows_at_once: Listings that are searched at a time.
        threads: At least 1.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8], [0, 1]], np.float32), np.ones(3, dtype=bool))
        >>> searcher = CellSearcher.of(pool, Limits(1), Cells.of(pool))
        >>> searcher.lists(np.array([2])).neighbor.tolist()
        [1]
    """

    embeddings: Embeddings
    cells: Cells
    members: Index
    starts: Index
    search: Search
    rows_at_once: int
    threads: int

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, cells: Cells, *, memory: float = 1e9, threads: int = 1) -> Self:
        """Return a searcher of a pool.

        Args:
            embeddings: Dense, of n listings.
            limits: Which listings are neighbors, of those that are compared.
            cells: Of this pool.
            memory: Bytes that a search may take at a time.
            threads: At least 1.
        """
        pool = np.flatnonzero(embeddings.present)
        own = cells.nearest[pool, 0]
        starts = np.append(0, np.cumsum(np.bincount(own, minlength=len(cells.centers))))
        at_once = int(np.clip(memory / BYTES_PER_LISTING, FEWEST_ROWS, MOST_ROWS))
        search = Search.of(embeddings.vectors, limits, np)
        return cls(embeddings, cells, pool[np.argsort(own, kind="stable")], starts, search, at_once, threads)

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        present = rows[self.embeddings.present[rows]]
        return in_blocks(self._ranked, present, self.rows_at_once, len(self.embeddings))

    def _ranked(self, rows: Index) -> NeighborLists:
        hits = self.hits(rows)
        listing, neighbor = rows[hits.position], hits.neighbor.astype(np.int64)
        borders = np.searchsorted(listing, rows[:: max(1, len(rows) // (8 * self.threads))])
        parts = [slice(start, end) for start, end in pairwise([*borders, len(listing)])]
        limits = self.search.limits

        def ranked(part: slice) -> NeighborLists:
            return exact_lists(self.embeddings, (listing[part], neighbor[part]), limits)

        return NeighborLists.joined(len(self.embeddings), map_blocks(ranked, parts, self.threads))

    def hits(self, rows: Index) -> Gathered:
        """Return a superset of the neighbors of the listings at `rows`, which have evidence, among those compared."""
        hits = Gathered.none(len(rows), self.search)
        for start, end in pairwise((0, *ROUNDS)):
            probes = self.cells.nearest[rows, start:end]
            if probes.shape[1] == 0:
                break
            looking, borders = self._looking(probes)
            work = partial(self._of_group, rows=rows, looking=looking, borders=borders, reach=hits.reach)
            groups = range(0, len(self.starts) - 1, GROUP)
            hits = hits.joined(list(chain(*map_blocks(work, groups, self.threads)))).thinned()
        return hits

    def _looking(self, probes: Rows) -> tuple[Index, Index]:
        """Return the positions of who looks into each cell, by cell, and where those of each cell begin."""
        cells = probes.ravel()
        order = np.argsort(cells, kind="stable")
        return order // probes.shape[1], np.searchsorted(cells[order], np.arange(len(self.starts)))

    def _of_group(self, first: int, *, rows: Index, looking: Index, borders: Index, reach: Floats) -> list[Part]:
        cells = range(first, min(first + GROUP, len(self.starts) - 1))
        who = (looking[borders[cell] : borders[cell + 1]] for cell in cells)
        return [part for cell, some in zip(cells, who, strict=True) for part in self._of_cell(cell, rows, some, reach)]

    def _of_cell(self, cell: int, rows: Index, looking: Index, reach: Floats) -> list[Part]:
        """Return hits among the members of a cell for those who look into it."""
        members = self.members[self.starts[cell] : self.starts[cell + 1]]
        vectors: Any = self.embeddings.vectors
        others, parts = vectors[members].T, []
        block = max(1, CELLS // max(1, len(members)))
        for start in range(0, len(looking) if len(members) else 0, block):
            some = looking[start : start + block]
            with np.errstate(invalid="ignore"):  # BLAS may compute with what lies beside a small matrix, and drop it
                similarity = vectors[rows[some]] @ others
            place = np.minimum(np.searchsorted(members, rows[some]), len(members) - 1)
            itself = np.flatnonzero(members[place] == rows[some])
            similarity[itself, place[itself]] = -1
            bound = reach[some]
            if len(itself):  # the own cell, before which there is no reach
                bound = np.maximum(bound, kth_bound(similarity, self.search.limits.k, np))
            positions = hits_above(similarity, bound, self.search)
            line, column = np.divmod(positions, len(members))
            parts.append((some[line].astype(np.int32), members[column].astype(np.int32), similarity.ravel()[positions]))
        return parts
