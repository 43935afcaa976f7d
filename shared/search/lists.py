"""Lists of neighbors: the exact step that every search ends with, and the pairs that lists of a whole pool make.

A search has two steps. The first one, which each searcher does in its own way, picks a superset of each listing's
neighbors. The second one stands here: each picked pair is computed again by `Embeddings.similarity`, in float64 and
independent of all else in the pool, and rounded to `DECIMALS`. What is kept and how it ranks follows from these values
alone. The list of a listing depends on its own picks alone, so lists of some rows can be made apart and joined later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.schema import Candidates, Embeddings, Flags, Floats, Rows, pair_key
from shared.search.sorting import best_first, distinct

UNITED_AT_ONCE = 1 << 17  # listings whose pairs are united at a time
DECIMALS = 6  # similarities that agree to this many decimals are tied

Index = NDArray[np.int64]
Hits = tuple[Index, Index]  # (listing, neighbor), rows


@dataclass(frozen=True)
class Limits:
    """Which listings are neighbors of a listing.

    Args:
        k: Neighbors per listing, at least 1. Those tied with the k-th are kept as well.
        minimum: Least similarity of a neighbor. Whatever it is, only a similarity above zero makes a neighbor.
        max_ties: At most this many neighbors per listing, ties included; None: 4·k. Of more listings that are tied with
            the k-th, or nearer to it than float32 tells apart, those in the lowest rows are kept. This is the one
            choice that depends on the order of the rows.

    Examples:
        >>> Limits(5).most, Limits(5, max_ties=3).most
        (20, 5)
    """

    k: int
    minimum: float = 0.0
    max_ties: int | None = None

    @property
    def most(self) -> int:
        """Return the largest number of neighbors that a listing has, ties included."""
        return max(self.k, 4 * self.k if self.max_ties is None else self.max_ties)


@dataclass(frozen=True)
class NeighborLists:
    """The whole lists of neighbors of some listings of a pool.

    Args:
        n: Number of listings in the pool.
        listing: Whose list, rows, int32 [e], rising.
        neighbor: Who is in it, rows, int32 [e]; of one list by falling similarity, of equal ones by row.
        similarity: Exact cosine, rounded to `DECIMALS`, float32 [e].
        rank: Competition rank: 1 + the number of listings in the list that are more similar, int32 [e].

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8]], np.float32), np.ones(2, dtype=bool))
        >>> lists = exact_lists(pool, (np.array([0]), np.array([1])), Limits(1))
        >>> len(lists), lists.neighbor.tolist(), lists.rank.tolist()
        (1, [1], [1])
    """

    n: int
    listing: Rows
    neighbor: Rows
    similarity: Floats
    rank: Rows

    def __len__(self) -> int:
        return len(self.listing)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        columns = {"listing": self.listing, "neighbor": self.neighbor, "similarity": self.similarity, "rank": self.rank}
        pq.write_table(pa.table(columns).replace_schema_metadata({"n": str(self.n)}), path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pq.read_table(path)
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        return cls(int(table.schema.metadata[b"n"]), **columns)

    @classmethod
    def joined(cls, n: int, parts: Sequence[NeighborLists]) -> Self:
        """Return lists of rising ranges of rows as one; without parts, no list of a pool of n listings."""

        def column(name: str, dtype: type) -> Any:
            return np.concatenate([np.zeros(0, dtype=dtype), *(getattr(part, name) for part in parts)])

        return cls(
            n,
            column("listing", np.int32),
            column("neighbor", np.int32),
            column("similarity", np.float32),
            column("rank", np.int32),
        )


class Searcher(Protocol):
    """Searches one pool: made once, asked for the lists of any of its listings."""

    def lists(self, rows: Index) -> NeighborLists:
        """Return the lists of the listings at `rows`, rising, int64 [r]; who has no evidence has no neighbors."""
        ...


def in_blocks(lists_of: Callable[[Index], NeighborLists], rows: Index, size: int, n: int) -> NeighborLists:
    """Return the lists of some listings, made for `size` of them at a time.

    Args:
        lists_of: Makes the lists of some rows.
        rows: Rising, int64 [r].
        size: Listings at a time, at least 1.
        n: Listings of the pool.

    Examples:
        >>> pool = Embeddings(np.ones((3, 1), np.float32), np.ones(3, dtype=bool))
        >>> lists_of = lambda rows: exact_lists(pool, (rows, (rows + 1) % 3), Limits(1))
        >>> in_blocks(lists_of, np.arange(3), 2, 3).neighbor.tolist()
        [1, 2, 0]
    """
    return NeighborLists.joined(n, [lists_of(rows[start : start + size]) for start in range(0, len(rows), size)])


def candidates_of(lists: Iterable[NeighborLists], n: int) -> Candidates:
    """Return the pairs in which one listing is in the list of the other, each once, with both ranks.

    Args:
        lists: Lists of disjoint listings of one pool, in any order.
        n: Listings of the pool.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8]], np.float32), np.ones(2, dtype=bool))
        >>> first = exact_lists(pool, (np.array([0]), np.array([1])), Limits(1))
        >>> second = exact_lists(pool, (np.array([1]), np.array([0])), Limits(1))
        >>> candidates = candidates_of([first, second], 2)
        >>> candidates.left.tolist(), candidates.rank_left.tolist(), candidates.rank_right.tolist()
        ([0], [1], [1])
    """
    parts = list(lists)
    whole = parts[0] if len(parts) == 1 else NeighborLists.joined(n, parts)
    left = np.minimum(whole.listing, whole.neighbor)
    blocks = [
        _pairs(whole, np.flatnonzero((left >= at) & (left < at + UNITED_AT_ONCE)), n)
        for at in range(0, max(n, 1), UNITED_AT_ONCE)
    ]
    return Candidates(n, *map(np.concatenate, zip(*blocks, strict=True)))


def _pairs(lists: NeighborLists, entries: Index, n: int) -> tuple[Rows, Rows, Floats, Rows, Rows]:
    """Return the columns of the candidates that some entries of lists make."""
    listing, neighbor = lists.listing[entries], lists.neighbor[entries]
    of_right = listing > neighbor
    key = 2 * pair_key(np.minimum(listing, neighbor), np.maximum(listing, neighbor), n) + of_right
    order = np.argsort(key)
    entries, key = entries[order], key[order] >> 1
    new = np.diff(key, prepend=-1) != 0
    ranks = np.zeros((2, int(new.sum())), dtype=np.int32)
    ranks[of_right[order].astype(np.int8), np.cumsum(new) - 1] = lists.rank[entries]
    left, right = np.divmod(key[new], max(n, 1))
    return left.astype(np.int32), right.astype(np.int32), lists.similarity[entries[new]], ranks[0], ranks[1]


# --- exact similarities, ties and ranks ------------------------------------------------------------------------------


def exact_lists(embeddings: Embeddings, hits: Hits, limits: Limits) -> NeighborLists:
    """Return the lists of some listings from a superset of each listing's neighbors.

    Args:
        embeddings: Of a pool of n listings.
        hits: Listings and who may be their neighbors, in any order; a pair that is there twice counts once. Both have
            evidence.
        limits: Which of them are neighbors.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0.6, 0.8], [0.8, 0.6]], np.float32), np.ones(3, dtype=bool))
        >>> lists = exact_lists(pool, (np.array([0, 0]), np.array([1, 2])), Limits(1))
        >>> lists.neighbor.tolist(), lists.similarity.round(2).tolist()
        ([2], [0.800000011920929])
    """
    n = len(embeddings)
    listing, neighbor = np.divmod(distinct(pair_key(*hits, n)), max(n, 1))
    left, right = listing.astype(np.int32), neighbor.astype(np.int32)
    return ranked(n, left, right, exact_similarity(embeddings, left, right), limits)


def ranked(n: int, listing: Rows, neighbor: Rows, similarity: Floats, limits: Limits) -> NeighborLists:
    """Return the lists of some listings from a superset of each listing's neighbors and their exact similarities.

    Args:
        n: Number of listings in the pool.
        listing: Rows, int32 [e].
        neighbor: Rows, int32 [e], rising among those of one listing that are equally similar.
        similarity: As of `exact_similarity`, float32 [e].
        limits: Which of them are neighbors.

    Examples:
        >>> listing, neighbor = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> ranked(3, listing, neighbor, np.array([0.6, 0.8], np.float32), Limits(1)).neighbor.tolist()
        [2]
    """
    mask = near_enough(similarity, limits.minimum)
    listing, neighbor, similarity = listing[mask], neighbor[mask], similarity[mask]
    order = best_first(listing, similarity)
    listing, neighbor, similarity = listing[order], neighbor[order], similarity[order]
    rank, place = rank_and_place(listing, similarity)
    mask = (rank <= limits.k) & (place < limits.most)
    return NeighborLists(n, listing[mask], neighbor[mask], similarity[mask], rank[mask].astype(np.int32))


def exact_similarity(embeddings: Embeddings, left: Rows, right: Rows) -> Floats:
    """Return the cosine of each pair, rounded to `DECIMALS`, float32 [p]; NaN where a listing has no evidence.

    Examples:
        >>> pool = Embeddings(np.array([[1, 0], [0, 1]], np.float32), np.array([True, True]))
        >>> exact_similarity(pool, np.array([0], np.int32), np.array([1], np.int32)).tolist()
        [0.0]
    """
    similarity: Floats = embeddings.similarity(left, right).round(DECIMALS)
    return similarity


def near_enough(similarity: Floats, minimum: float) -> Flags:
    """Return where exact similarities make neighbors, bool [p]: above zero and not below the minimum.

    Examples:
        >>> near_enough(np.array([0, 0.4, 0.5], np.float32), 0.5).tolist()
        [False, False, True]
    """
    mask: Flags = (similarity > 0) & (similarity >= np.float32(round(minimum, DECIMALS)))
    return mask


def rank_and_place(listing: NDArray[np.integer], similarity: Floats) -> tuple[Index, Index]:
    """Return the competition rank (from 1) and the place (from 0) of each entry in its list.

    Args:
        listing: The listing that each entry belongs to, rising, int [e].
        similarity: float32 [e], falling within a listing.

    Examples:
        >>> rank, place = rank_and_place(np.array([0, 0, 0, 1]), np.array([0.9, 0.9, 0.5, 0.7], np.float32))
        >>> rank.tolist(), place.tolist()
        ([1, 1, 3, 1], [0, 1, 2, 0])
    """
    positions = np.arange(len(listing))
    new_listing = np.diff(listing, prepend=-1) != 0
    new_value = new_listing | (np.diff(similarity, prepend=np.float32(np.nan)) != 0)
    start = np.maximum.accumulate(np.where(new_listing, positions, 0))
    first_equal = np.maximum.accumulate(np.where(new_value, positions, 0))
    return first_equal - start + 1, positions - start
