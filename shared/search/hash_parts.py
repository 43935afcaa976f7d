"""Hashes within a few bits of others, found by parts of their bits instead of comparing each with all.

If two hashes differ in at most r bits, then they differ in few bits of some part: of m parts that have limits with
Σ (limit + 1) = r + 1, at least one stays within its limit. So a hash is compared with those alone that come close to it
in a part. This is the multi-index hashing of Norouzi, Punjani & Fleet ("Fast exact search in Hamming space with
multi-index hashing", PAMI 2014, section 3), with limits that add up exactly. Here it is a join: the hashes that are
equal in a part are compared together with all that come close to them in it, by faiss.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from math import comb
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.search.lists import Index
from shared.search.threads import map_blocks

Bits = NDArray[np.uint8]
Near = tuple[Index, Index, Index]  # position of a hash among those that are searched, another hash, differing bits
Thinned = Callable[[Near], Near]

BUCKET = 9  # binary logarithm of the hashes that are equal in a part, on average
NARROWEST = 9  # bits of a part
LARGEST_SHARE = 0.25  # of all pairs of hashes that may be compared; beyond, comparing all of them is as fast
GROUP = 64  # buckets that a thread takes at a time
PAIRS = 1 << 22  # of hashes that are compared at a time


@dataclass(frozen=True)
class HashPart:
    """A part of all hashes.

    Args:
        key: The number that the bits of the part are, of each hash, int64 [h].
        order: The hashes by key, int64 [h].
        starts: Where those of each key begin, int64 [keys + 1].
        flips: What a key is combined with (exclusive or) to come to each key close to it, int64 [f].
        limit: The number of bits in which a close key may differ.
    """

    key: Index
    order: Index
    starts: Index
    flips: Index
    limit: int

    @classmethod
    def of(cls, bits: Bits, first: int, width: int, limit: int) -> Self:
        """Return the part of `width` bits from the bit `first` on of hashes, uint8 [h, d / 8]."""
        columns = np.unpackbits(bits[:, first // 8 : -(-(first + width) // 8)], axis=1)
        key = columns[:, first % 8 : first % 8 + width].astype(np.int64) @ (1 << np.arange(width))
        starts = np.append(0, np.cumsum(np.bincount(key, minlength=1 << width)))
        flips = [sum(1 << bit for bit in some) for few in range(limit + 1) for some in combinations(range(width), few)]
        return cls(key, np.argsort(key, kind="stable"), starts, np.array(flips, dtype=np.int64), limit)

    @property
    def compared(self) -> int:
        """Return the number of pairs of hashes, in both directions, that come close in this part."""
        counts, keys = np.diff(self.starts), np.arange(len(self.starts) - 1)
        return int(sum((counts * counts[keys ^ flip]).sum() for flip in self.flips))

    def close(self, key: int) -> Index:
        """Return the hashes that come close to a key."""
        keys = key ^ self.flips
        return self.order[whole_ranges(self.starts[keys], self.starts[keys + 1] - self.starts[keys])]


@dataclass(frozen=True)
class HashParts:
    """Parts of distinct hashes, by which those near each other are found.

    Args:
        bits: The hashes, uint8 [h, d / 8].
        radius: The largest number of differing bits.
        parts: Those that are looked at, one after the other.

    Examples:
        >>> bits = np.array([[0, 0], [0, 1], [255, 255]], np.uint8)
        >>> position, other, distance = HashParts.of(bits, radius=1, width=8).near(np.array([1]))
        >>> sorted(zip(other.tolist(), distance.tolist()))
        [(0, 1), (1, 0)]
    """

    bits: Bits
    radius: int
    parts: tuple[HashPart, ...]

    @classmethod
    def of(cls, bits: Bits, radius: int, width: int | None = None) -> Self:
        """Return the parts of distinct hashes.

        Args:
            bits: uint8 [h, d / 8].
            radius: At least 0.
            width: Bits of a part, about; None: as many as make buckets of some 2^`BUCKET` hashes, at least `NARROWEST`.
        """
        shapes = _shapes(bits, radius, width)
        first = np.cumsum([0, *(bits_of_part for bits_of_part, _ in shapes)])
        parts = [
            HashPart.of(bits, int(start), wide, limit)
            for start, (wide, limit) in zip(first, shapes, strict=False)
            if limit >= 0
        ]
        return cls(bits, radius, tuple(parts))

    @classmethod
    def worthwhile(cls, bits: Bits, radius: int) -> Self | None:
        """Return the parts of distinct hashes; None where comparing each with all is about as fast."""
        shapes = [(wide, limit) for wide, limit in _shapes(bits, radius) if limit >= 0]
        share = sum(sum(comb(wide, few) for few in range(limit + 1)) / 2**wide for wide, limit in shapes)
        if share > LARGEST_SHARE:
            return None
        parts = cls.of(bits, radius)
        return parts if sum(part.compared for part in parts.parts) <= LARGEST_SHARE * len(bits) ** 2 else None

    def near(self, codes: Index, thinned: Thinned = lambda near: near, threads: int = 1) -> Near:
        """Return the hashes within the radius of each of some, itself among them.

        Args:
            codes: Positions of distinct hashes, rising, int64 [c].
            thinned: Drops what is not needed of hashes that have too many others near them.
            threads: At least 1.
        """
        near = _joined([])
        for number, part in enumerate(self.parts):
            order = np.argsort(part.key[codes], kind="stable")
            keys, starts = np.unique(part.key[codes[order]], return_index=True)
            borders = np.append(starts, len(order))
            work = partial(self._of_keys, codes=codes, order=order, keys=keys, borders=borders, number=number)
            groups = [range(start, min(start + GROUP, len(keys))) for start in range(0, len(keys), GROUP)]
            near = thinned(_joined([near, *map_blocks(partial(work, thinned=thinned), groups, threads)]))
        return near

    def _of_keys(
        self, group: range, *, codes: Index, order: Index, keys: Index, borders: Index, number: int, thinned: Thinned
    ) -> Near:
        """Return what is found by one part near the hashes that have some of its keys, and by no part before it."""
        pieces = []
        for place in group:
            others = self.parts[number].close(int(keys[place]))
            step = max(1, PAIRS // max(1, len(others)))
            for start in range(borders[place], borders[place + 1], step):
                positions = order[start : min(start + step, borders[place + 1])]
                line, column, distance = within(self.bits[codes[positions]], self.bits[others], self.radius)
                own, other = codes[positions[line]], others[column]
                new = np.ones(len(line), dtype=np.bool_)
                for part in self.parts[:number]:
                    new &= np.bitwise_count(part.key[own] ^ part.key[other]) > part.limit
                pieces.append(thinned((positions[line[new]], other[new], distance[new])))
        return _joined(pieces)


def _shapes(bits: Bits, radius: int, width: int | None = None) -> list[tuple[int, int]]:
    """Return the width and the limit of each part; one with the limit -1 is not looked at."""
    d = 8 * bits.shape[1]
    m = max(1, min(d, round(d / max(1, width or max(NARROWEST, np.log2(max(1, len(bits))) - BUCKET)))))
    return [(d // m + (number < d % m), (radius + 1) // m + (number < (radius + 1) % m) - 1) for number in range(m)]


def _joined(parts: list[Near]) -> Near:
    """Return what is near hashes, from several parts, as one."""
    position, other, distance = zip(*parts, strict=True) if parts else ([], [], [])
    none = np.zeros(0, dtype=np.int64)
    return np.concatenate([none, *position]), np.concatenate([none, *other]), np.concatenate([none, *distance])


def within(hashes: Bits, others: Bits, radius: int) -> Near:
    """Return which hashes differ in at most `radius` bits from which others, by faiss: both positions, differing bits.

    Args:
        hashes: uint8 [a, d / 8].
        others: uint8 [b, d / 8].
        radius: In bits.

    Examples:
        >>> hash_, other, distance = within(np.array([[7]], np.uint8), np.array([[255], [6]], np.uint8), radius=2)
        >>> hash_.tolist(), other.tolist(), distance.tolist()
        ([0], [1], [1])
    """
    from faiss import IndexBinaryFlat  # takes 0.2 s to import

    index = IndexBinaryFlat(8 * others.shape[1])
    index.add(others)
    borders, distance, other = index.range_search(hashes, radius + 1)
    borders = np.asarray(borders, dtype=np.int64)
    counts = borders[1:] - borders[:-1]
    return np.repeat(np.arange(len(hashes)), counts), other, distance.astype(np.int64)


def whole_ranges(starts: Index, counts: Index) -> Index:
    """Return the whole numbers of ranges, one range after the other, int64 [sum of counts].

    Examples:
        >>> whole_ranges(np.array([5, 0]), np.array([2, 1])).tolist()
        [5, 6, 0]
    """
    ends = np.cumsum(counts)
    numbers: Index = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + counts, counts)
    return numbers
