"""Exact nearest neighbors of hashes: vectors whose every number is positive or negative and of one size.

Their cosine is 1 − 2·(differing bits)/d, so bits are compared instead of vectors: those of each distinct hash with
those of all others, or in a large pool of those that come close to it in some part (`hash_parts.py`); the result is the
same. Of a hash that many listings share, no more listings are looked at than a list may hold, and of many hashes that
are near the same one no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shared.schema import Embeddings
from shared.search.hash_parts import Bits, HashParts, Near, whole_ranges, within
from shared.search.lists import DECIMALS, Index, Limits, NeighborLists, in_blocks, near_enough, ranked
from shared.search.threads import map_blocks

BLOCK = 2048  # hashes that are compared with all others at a time
RANKED_AT_ONCE = 1 << 16  # listings whose lists are ranked at a time
FEWEST = 30_000  # distinct hashes from which on looking at parts of them takes less time


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
        radius: The largest number of bits in which neighbors differ; -1 where none can be neighbors.
        parts: Of the hashes; None where each is compared with all others.
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
    radius: int
    parts: HashParts | None
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
        radius = int(np.count_nonzero(near_enough(similarity, limits.minimum))) - 1
        parts = HashParts.worthwhile(bits, radius) if len(bits) >= FEWEST else None
        return cls(embeddings.present, code, members, starts, bits, similarity, radius, parts, limits, threads)

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        return in_blocks(self._ranked, rows[self.present[rows]], RANKED_AT_ONCE, len(self.present))

    def _ranked(self, rows: Index) -> NeighborLists:
        codes, own = np.unique(self.code[rows], return_inverse=True)
        starts = range(0, len(codes), BLOCK)
        if self.parts is None:
            compared = partial(within, others=self.bits, radius=self.radius)
            blocks = [self.bits[codes[start : start + BLOCK]] for start in starts]
            near = map_blocks(lambda block: self._listings(compared(block), len(block)), blocks, self.threads)
        else:
            all_near = self.parts.near(codes, self._thinned, self.threads)
            pieces = [self._piece(all_near, start, min(start + BLOCK, len(codes))) for start in starts]
            near = map_blocks(lambda piece: self._listings(*piece), pieces, self.threads)
        counts = np.concatenate([np.zeros(0, dtype=np.int64), *(count for count, _, _ in near)])
        neighbors = np.concatenate([np.zeros(0, dtype=np.int64), *(neighbor for _, neighbor, _ in near)])
        distances = np.concatenate([np.zeros(0, dtype=np.int64), *(distance for _, _, distance in near)])
        first = np.cumsum(counts) - counts
        position = whole_ranges(first[own], counts[own])
        listing, neighbor = np.repeat(rows, counts[own]), neighbors[position]
        others = listing != neighbor
        similarity = self.similarity[distances[position[others]]]
        left, right = listing[others].astype(np.int32), neighbor[others].astype(np.int32)
        return ranked(len(self.present), left, right, similarity, self.limits)

    def _piece(self, near: Near, start: int, end: int) -> tuple[Near, int]:
        """Return what is near the hashes at the positions from `start` to `end`, counted from there, and their number.

        Positions rise, as `_thinned` leaves them.
        """
        position, other, distance = near
        piece = slice(*np.searchsorted(position, [start, end]))
        return (position[piece] - start, other[piece], distance[piece]), end - start

    def _thinned(self, near: Near) -> Near:
        """Return the hashes near each one, its nearest first, and no more than hold the listings that are looked at.

        Of equally near ones those stay whose first listings stand in the lowest rows.
        """
        position, other, distance = near
        order = np.lexsort((self.members[self.starts[other]], distance, position))
        position, other, distance = position[order], other[order], distance[order]
        keep = _places(position) <= self.limits.most
        return position[keep], other[keep], distance[keep]

    def _listings(self, near: Near, count: int) -> tuple[Index, Index, Index]:
        """Return how many listings may be neighbors of those of each hash; all these, and in how many bits they differ.

        They stand by hash, then by differing bits, then by row, and are one more than a list holds, since a listing is
        not in its own.

        Args:
            near: Hashes near each of some.
            count: The number of these.
        """
        hash_, other, distance = self._thinned(near)
        counts = np.minimum(self.starts[other + 1] - self.starts[other], self.limits.most + 1)
        listing = self.members[whole_ranges(self.starts[other], counts)]
        hash_, distance = np.repeat(hash_, counts), np.repeat(distance, counts)
        order = np.lexsort((listing, distance, hash_))
        hash_, listing, distance = hash_[order], listing[order], distance[order]
        keep = _places(hash_) <= self.limits.most
        return np.bincount(hash_[keep], minlength=count), listing[keep], distance[keep]


def _places(numbers: Index) -> Index:
    """Return the place of each entry among those of its number, from 0; numbers rise."""
    new = np.diff(numbers, prepend=-1) != 0
    positions = np.arange(len(numbers))
    places: Index = positions - np.maximum.accumulate(np.where(new, positions, 0))
    return places
