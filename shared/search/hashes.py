"""Exact nearest neighbors of hashes: vectors whose every number is positive or negative and of one size.

Their cosine is 1 − 2·(differing bits)/d, so bits are compared instead of vectors: those of each distinct hash with
those of all others, by faiss. Of a hash that many listings share, no more listings are looked at than a list may hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import Embeddings
from shared.search.lists import DECIMALS, Index, Limits, NeighborLists, in_blocks, near_enough, ranked
from shared.search.threads import map_blocks

BLOCK = 2048  # hashes that are compared with all others at a time
RANKED_AT_ONCE = 1 << 16  # listings whose lists are ranked at a time

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class HashSearcher:
    """Searches a pool by the bits in which hashes differ.

    Args:
        present: Which listings have evidence, bool [n].
        code: The distinct hash of each listing, int64 [n]; 0 for one without evidence.
        members: The listings that have evidence, by hash, then by row, int64 [m].
        starts: Where the listings of each distinct hash begin, int64 [h + 1].
        bits: The distinct hashes, uint8 [h, d / 8].
        similarity: The similarity of two hashes by the number of bits in which they differ, float32 [d + 1].
        limits: Which listings are neighbors.
        threads: At least 1.

    Examples:
        >>> vectors = np.array([[1] * 8, [1] * 8, [1] * 7 + [-1]], np.float32) / np.float32(8**0.5)
        >>> searcher = HashSearcher.of(Embeddings(vectors, np.ones(3, dtype=bool)), Limits(1, 0.5))
        >>> lists = searcher.lists(np.array([0, 2]))
        >>> lists.listing.tolist(), lists.neighbor.tolist(), lists.rank.tolist()
        ([0, 2, 2], [1, 0, 1], [1, 1, 1])
    """

    present: NDArray[np.bool_]
    code: Index
    members: Index
    starts: Index
    bits: Bits
    similarity: NDArray[np.float32]
    limits: Limits
    threads: int

    @classmethod
    def of(cls, embeddings: Embeddings, limits: Limits, *, threads: int = 1) -> Self:
        """Return a searcher of a pool.

        Args:
            embeddings: Dense, with a multiple of 8 columns, all numbers of a row with evidence of one size.
            limits: Which listings are neighbors.
            threads: At least 1.
        """
        vectors: Any = embeddings.vectors
        pool, d = np.flatnonzero(embeddings.present), vectors.shape[1]
        bits, own = np.unique(np.packbits(vectors[pool] > 0, axis=1), axis=0, return_inverse=True)
        code = np.zeros(len(embeddings), dtype=np.int64)
        code[pool] = own.ravel()
        starts = np.append(0, np.cumsum(np.bincount(code[pool], minlength=len(bits))))
        similarity = (1 - 2 * np.arange(d + 1) / d).astype(np.float32).round(DECIMALS)
        members = pool[np.argsort(code[pool], kind="stable")]
        return cls(embeddings.present, code, members, starts, bits, similarity, limits, threads)

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        return in_blocks(self._ranked, rows[self.present[rows]], RANKED_AT_ONCE, len(self.present))

    def _ranked(self, rows: Index) -> NeighborLists:
        codes, own = np.unique(self.code[rows], return_inverse=True)
        blocks = [codes[start : start + BLOCK] for start in range(0, len(codes), BLOCK)]
        near = map_blocks(self._near, blocks, self.threads)
        counts = np.concatenate([np.zeros(0, dtype=np.int64), *(count for count, _, _ in near)])
        neighbors = np.concatenate([np.zeros(0, dtype=np.int64), *(neighbor for _, neighbor, _ in near)])
        distances = np.concatenate([np.zeros(0, dtype=np.int64), *(distance for _, _, distance in near)])
        first = np.cumsum(counts) - counts
        position = _ranges(first[own], counts[own])
        listing, neighbor = np.repeat(rows, counts[own]), neighbors[position]
        others = listing != neighbor
        similarity = self.similarity[distances[position[others]]]
        left, right = listing[others].astype(np.int32), neighbor[others].astype(np.int32)
        return ranked(len(self.present), left, right, similarity, self.limits)

    def _near(self, codes: Index) -> tuple[Index, Index, Index]:
        """Return how many listings may be neighbors of those of each hash; all these, and in how many bits they differ.

        They stand by hash, then by differing bits, then by row, and are one more than a list holds, since a listing is
        not in its own.
        """
        hash_, other, distance = self._within(codes)
        counts = np.minimum(self.starts[other + 1] - self.starts[other], self.limits.most + 1)
        listing = self.members[_ranges(self.starts[other], counts)]
        order = np.lexsort((listing, np.repeat(distance, counts), np.repeat(hash_, counts)))
        hash_, distance = np.repeat(hash_, counts)[order], np.repeat(distance, counts)[order]
        each = np.bincount(hash_, minlength=len(codes))
        first = np.cumsum(each) - each
        keep = np.arange(len(order)) - first[hash_] <= self.limits.most
        return np.bincount(hash_[keep], minlength=len(codes)), listing[order][keep], distance[keep]

    def _within(self, codes: Index) -> tuple[Index, Index, Index]:
        """Return the hashes that are near enough to each of some, as position of that one, hash and differing bits."""
        from faiss import IndexBinaryFlat  # takes 0.2 s to import

        radius = np.count_nonzero(near_enough(self.similarity, self.limits.minimum))
        index = IndexBinaryFlat(8 * self.bits.shape[1])
        index.add(self.bits)
        borders, distance, other = index.range_search(self.bits[codes], int(radius))
        borders = np.asarray(borders, dtype=np.int64)
        counts = borders[1:] - borders[:-1]
        return np.repeat(np.arange(len(codes)), counts), other, distance.astype(np.int64)


def _ranges(starts: Index, counts: Index) -> Index:
    """Return the whole numbers of ranges, one range after the other, int64 [sum of counts]."""
    ends = np.cumsum(counts)
    numbers: Index = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
    return numbers
