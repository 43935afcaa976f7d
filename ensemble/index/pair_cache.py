"""The pairs of an index with their scores, so that few of them are described again when the index changes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from ensemble.features.conflicts import conflict_mask
from shared.schema import CandidatePairs, Flags, Floats, Mask, PairFeatures, Rows, ScoredPairs, place_pairs

COLUMNS = ("score", "first", "cosines", "conflict")


@dataclass(frozen=True)
class CachedPairs(CandidatePairs):
    """Scored pairs of an index.

    Args:
        score: Probability that a pair is a match, float32 [p] in [0, 1].
        first: The same by the first model alone, which looks at the two listings and the density around them.
        cosines: By each of b branches, float32 [p, b]; NaN where it has no evidence about both listings.
        conflict: One bit per kind of attribute in which the two titles contradict each other, uint8 [p].

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = CachedPairs.unknown(CandidatePairs(3, *rows), branches=1)
        >>> pairs.placed(np.array([0, -1, 1], np.int32), n=2).right.tolist()
        [1]
    """

    score: Floats = field(kw_only=True)
    first: Floats = field(kw_only=True)
    cosines: Floats = field(kw_only=True)
    conflict: Mask = field(kw_only=True)

    @classmethod
    def unknown(cls, pairs: CandidatePairs, branches: int) -> Self:
        """Return pairs without scores: each is 0, each cosine NaN, and no pair has a conflict."""
        score, no = np.zeros(len(pairs), dtype=np.float32), np.zeros(len(pairs), dtype=np.uint8)
        cosines = np.full((len(pairs), branches), np.nan, dtype=np.float32)
        return cls(pairs.n, pairs.left, pairs.right, score=score, first=score, cosines=cosines, conflict=no)

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with their values; `keep` is bool [p]."""
        columns = {name: getattr(self, name)[keep] for name in COLUMNS}
        return replace(self, left=self.left[keep], right=self.right[keep], **columns)

    def placed(self, place: Rows, n: int) -> Self:
        """Return the pairs whose listings are both in another pool, in its rows.

        Args:
            place: The row of each listing in the other pool, int32 [n]; -1 where it is not in it.
            n: Listings of the other pool.
        """
        order, left, right, _ = place_pairs(self, place)
        columns = {name: getattr(self, name)[order] for name in COLUMNS}
        return replace(self, n=n, left=left, right=right, **columns)

    def joined(self, others: CachedPairs) -> Self:
        """Return these pairs and others of the same pool, none of which is among these, sorted."""
        key = np.concatenate([self.key, others.key])
        order = np.argsort(key, kind="stable")
        names = ("left", "right", *COLUMNS)
        both = {name: np.concatenate([getattr(self, name), getattr(others, name)]) for name in names}
        columns: dict[str, Any] = {name: column[order] for name, column in both.items()}
        return replace(self, **columns)

    def scored(self) -> ScoredPairs:
        """Return the pairs as the decision takes them."""
        return ScoredPairs(self.n, self.left, self.right, self.score, self.conflict)

    def first_scored(self) -> ScoredPairs:
        """Return the pairs with their first scores, as the second model takes them."""
        return ScoredPairs(self.n, self.left, self.right, self.first)

    def _columns(self) -> dict[str, Any]:
        cosines = {f"cosine{index}": column for index, column in enumerate(self.cosines.T)}
        return super()._columns() | {name: getattr(self, name) for name in COLUMNS if name != "cosines"} | cosines

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        cosines = [name for name in columns if name.startswith("cosine")]
        stacked = np.stack([columns.pop(name) for name in cosines], axis=1)
        return cls(n, cosines=stacked, **columns)


def conflicts(pairs: PairFeatures) -> Mask:
    """Return the `conflict_mask` of pairs, uint8 [p]; 0 where the titles were not compared.

    Examples:
        >>> import pandas as pd
        >>> row, table = np.array([0], np.int32), pd.DataFrame({"cosine": np.ones(1, np.float32)})
        >>> conflicts(PairFeatures(2, row, row + 1, table)).tolist()
        [0]
    """
    conflict = conflict_mask(pairs)
    return np.zeros(len(pairs), dtype=np.uint8) if conflict is None else conflict
