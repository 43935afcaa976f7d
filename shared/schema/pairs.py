"""Pairs of listings: proposed by a branch, to be compared, described, scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shared.schema.types import NORM_TOLERANCE, Flags, Floats, Mask, Rows, require


def pair_key(left: NDArray[np.integer], right: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Return one number per pair of listings of a pool: left · n + right, which sorts as (left, right) does.

    Args:
        left: Row of the first listing of each pair, int [p].
        right: Row of the second one, int [p].
        n: Number of listings in the pool.

    Examples:
        >>> pair_key(np.array([0, 2]), np.array([3, 3]), 4).tolist()
        [3, 11]
    """
    key: NDArray[np.int64] = left.astype(np.int64) * n + right
    return key


def locate(keys: Any, sorted_keys: Any, xp: ModuleType = np) -> tuple[Any, Any]:
    """Return where each key stands among sorted keys: position, int64 [k], and whether it is there, bool [k].

    The position of a key that is not there means nothing.

    Args:
        keys: The keys to look up, int64 [k], of numpy or of `xp`.
        sorted_keys: The keys to look among, int64 [s], rising, each once, of numpy or of `xp`.
        xp: Array module to work with, numpy or CuPy.

    Examples:
        >>> position, is_there = locate(np.array([7, 4]), np.array([1, 4, 9]))
        >>> is_there.tolist(), int(position[1])
        ([False, True], 1)
    """
    if len(sorted_keys) == 0:
        return xp.zeros(len(keys), dtype=np.int64), xp.zeros(len(keys), dtype=bool)
    keys, sorted_keys = xp.asarray(keys), xp.asarray(sorted_keys)
    position = xp.minimum(xp.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    return position, sorted_keys[position] == keys


@dataclass(frozen=True)
class CandidatePairs:
    """Pairs of listings of one pool that are to be compared.

    Args:
        n: Number of listings in the pool.
        left: Rows, int32 [p].
        right: Rows, int32 [p]; left < right, sorted by (left, right), unique.

    Examples:
        >>> pairs = CandidatePairs(4, np.array([0, 0], np.int32), np.array([1, 3], np.int32))
        >>> len(pairs), pairs.key.tolist(), pairs.only(np.array([False, True])).right.tolist()
        (2, [1, 3], [3])
    """

    n: int
    left: Rows
    right: Rows

    def __post_init__(self) -> None:
        _check_pairs(self.n, self.left, self.right)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def key(self) -> NDArray[np.int64]:
        """One number per pair, rising, int64 [p]; see `pair_key`."""
        return pair_key(self.left, self.right, self.n)

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with all that belongs to them; `keep` is bool [p]."""
        columns = {name: column[keep] for name, column in self._columns().items()}
        return self._of_columns(self.n, columns)

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the pairs of one or more parts of a pool, one after the other, with all that belongs to them."""
        columns = [part._columns() for part in parts]
        joined = {name: np.concatenate([of_part[name] for of_part in columns]) for name in columns[0]}
        return cls._of_columns(parts[0].n, joined)

    def save(self, path: Path) -> None:
        """Write one Parquet file."""
        pq.write_table(self.table(), path)

    def table(self) -> pa.Table:
        """Return all columns as a table, whose metadata holds the number of listings."""
        return pa.table(self._columns()).replace_schema_metadata({"n": str(self.n)})

    def _columns(self) -> dict[str, Any]:
        return {"left": self.left, "right": self.right}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls.of_table(pq.read_table(path))

    @classmethod
    def of_table(cls, table: pa.Table) -> Self:
        """Return what `table` was called on."""
        columns = {name: table.column(name).to_numpy() for name in table.column_names}
        return cls._of_columns(int(table.schema.metadata[b"n"]), columns)

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, columns["left"], columns["right"])


def place_pairs(pairs: CandidatePairs, place: Rows) -> tuple[NDArray[np.int64], Rows, Rows, Flags]:
    """Return the pairs whose listings are both in another pool, in its rows and sorted.

    Args:
        pairs: Pairs of listings of a pool.
        place: The row of each of these listings in the other pool, int32 [n]; -1 where it is not in it.

    Returns:
        Where each of the pairs stood, its left and right row, and whether these changed sides.

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 1], np.int32), np.array([2, 2], np.int32))
        >>> [column.tolist() for column in place_pairs(pairs, np.array([1, -1, 0], np.int32))]
        [[0], [0], [1], [True]]
    """
    left, right = place[pairs.left], place[pairs.right]
    order = np.flatnonzero((left >= 0) & (right >= 0))
    left, right = left[order], right[order]
    swapped = left > right
    left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    if swapped.any() or (np.diff(left) < 0).any():
        by_row = np.lexsort((right, left))
        order, left, right, swapped = order[by_row], left[by_row], right[by_row], swapped[by_row]
    return order, left, right, swapped


@dataclass(frozen=True)
class Candidates(CandidatePairs):
    """Pairs that one branch proposes in a pool.

    Args:
        similarity: The branch's cosine, float32 [p] in [-1, 1].
        rank_left: Rank of `right` among the neighbors of `left`, int32 [p], from 1; equal similarities share the
            smallest rank; 0 where `right` is not among them.
        rank_right: Rank of `left` among the neighbors of `right`, likewise.
    """

    similarity: Floats
    rank_left: Rows
    rank_right: Rows

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = {len(self.left), len(self.similarity), len(self.rank_left), len(self.rank_right)}
        require(len(sizes) == 1, "columns differ in length")
        dtypes = [column.dtype for column in (self.similarity, self.rank_left, self.rank_right)]
        require(dtypes == [np.float32, np.int32, np.int32], f"similarity and ranks have dtypes {dtypes}")
        require((np.abs(self.similarity) <= 1 + NORM_TOLERANCE).all(), "similarities must lie in [-1, 1]")
        require(((self.rank_left >= 0) & (self.rank_right >= 0)).all(), "ranks must not be negative")
        require(((self.rank_left > 0) | (self.rank_right > 0)).all(), "a candidate needs a rank on one side")

    def placed(self, place: Rows, n: int) -> Candidates:
        """Return the pairs whose listings are both in another pool, in its rows.

        Args:
            place: The row of each listing in the other pool, int32 [n]; -1 where it is not in it.
            n: Listings of the other pool.
        """
        order, left, right, swapped = place_pairs(self, place)
        rank_left, rank_right = self.rank_left[order], self.rank_right[order]
        ranks = np.where(swapped, rank_right, rank_left), np.where(swapped, rank_left, rank_right)
        return Candidates(n, left, right, self.similarity[order], *ranks)

    def _columns(self) -> dict[str, Any]:
        ranks = {"rank_left": self.rank_left, "rank_right": self.rank_right}
        return super()._columns() | {"similarity": self.similarity} | ranks

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, **columns)


@dataclass(frozen=True)
class PairFeatures(CandidatePairs):
    """Candidate pairs, described.

    Args:
        features: One float32 column per feature, p rows; the same for (a, b) and (b, a). NaN means unknown.
    """

    features: pd.DataFrame

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.features) == len(self.left), "features differ in length")
        require(all(t == np.float32 for t in self.features.dtypes), "features must be float32")

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with their features; `keep` is bool [p]."""
        features = self.features[keep].reset_index(drop=True)
        return replace(self, left=self.left[keep], right=self.right[keep], features=features)

    def _columns(self) -> dict[str, Any]:
        return super()._columns() | {f"f:{name}": self.features[name].to_numpy() for name in self.features}

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        features = {name[2:]: values for name, values in columns.items() if name.startswith("f:")}
        return cls(n, columns["left"], columns["right"], pd.DataFrame(features, index=range(len(columns["left"]))))


@dataclass(frozen=True)
class ScoredPairs(CandidatePairs):
    """Candidate pairs with the probability that each is a match.

    Args:
        score: float32 [p] in [0, 1].
        conflict: One bit per kind of attribute in which the two titles contradict each other, uint8 [p], for a decision
            that forbids such matches; None where the pairs were not compared in this.
        copy_of: For each listing the row of the one of equal content that stands for it in the pairs, int32 [n]; None:
            each stands for itself. It is not saved, since it follows from the listings.

    Examples:
        >>> pairs = CandidatePairs(3, np.array([0, 1], np.int32), np.array([1, 2], np.int32))
        >>> scored = ScoredPairs.of(pairs, np.array([0.9, 0.2], np.float32))
        >>> scored.only(scored.score > 0.5).right.tolist()
        [1]
    """

    score: Floats
    conflict: Mask | None = None
    copy_of: Rows | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.score) == len(self.left), "scores differ in length")
        require(self.score.dtype == np.float32, f"scores must be float32, not {self.score.dtype}")
        require(bool(((self.score >= 0) & (self.score <= 1)).all()), "scores must lie in [0, 1]")
        if self.conflict is not None:
            require(len(self.conflict) == len(self.left), "conflicts differ in length")
            require(self.conflict.dtype == np.uint8, f"conflicts must be uint8, not {self.conflict.dtype}")
        if self.copy_of is not None:
            require(len(self.copy_of) == self.n, f"copies of {len(self.copy_of)} listings, not {self.n}")
            for rows in (self.left, self.right):
                require(np.array_equal(self.copy_of[rows], rows), "a copy of a listing has pairs")

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with all that belongs to them; `keep` is bool [p]."""
        return super().only(keep).with_copies(self.copy_of)

    def with_copies(self, copy_of: Rows | None) -> Self:
        """Return the same pairs, each of listings that stand for all listings of equal content."""
        return replace(self, copy_of=copy_of)

    @classmethod
    def of(cls, pairs: CandidatePairs, score: Floats, conflict: Mask | None = None) -> Self:
        """Return the same pairs with these scores, float32 [p]."""
        return cls(pairs.n, pairs.left, pairs.right, score, conflict)

    def _columns(self) -> dict[str, Any]:
        conflict = {} if self.conflict is None else {"conflict": self.conflict}
        return super()._columns() | {"score": self.score} | conflict

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        return cls(n, columns["left"], columns["right"], columns["score"], columns.get("conflict"))


def _check_pairs(n: int, left: Rows, right: Rows) -> None:
    require(left.dtype == np.int32 and right.dtype == np.int32 and left.shape == right.shape, "pairs must be int32")
    require((left < right).all(), "a pair must have left < right")
    if len(left):
        require(left.min() >= 0 and right.max() < n, f"a pair points outside of {n} listings")
        rises = (left[1:] > left[:-1]) | ((left[1:] == left[:-1]) & (right[1:] > right[:-1]))
        require(bool(rises.all()), "pairs must be unique and sorted by (left, right)")
