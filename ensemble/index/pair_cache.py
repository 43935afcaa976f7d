"""What an index keeps of its pairs, and which of them are not scored again when it grows.

Two titles or two embeddings are alike whatever else there is, so features of that kind are kept. A score depends on the
whole pool, if little: how rare a word is, who else is near. A pair that the first model all but ruled out may rise a
little as listings are added, never so far that anyone would take it for a match. So it keeps its score until the pool
is larger or smaller by a tenth than when it was scored, or one of its listings loses a neighbor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from branches.stages import learns
from ensemble.features.attributes import has_conflict
from ensemble.features.branches import cosine_of
from ensemble.features.titles import PAIRWISE_FEATURES
from ensemble.pool_views import BranchView
from shared.schema import Flags, Floats, PairFeatures, ScoredPairs

RULED_OUT = 0.003  # a first score below it; of 1.7 million such pairs none passed .06 as 30,000 listings became 31,000
CHANGED = 1.1  # pools whose sizes have this ratio are told apart
FIRST = "first_score"  # what the first model says of a pair
SCORED_IN = "scored_in"  # listings of the pool that a pair was scored in

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CachedPairs(PairFeatures):
    """Pairs of an index with their features and scores.

    Args:
        score: float32 [p] in [0, 1].
    """

    score: Floats

    def scored(self) -> ScoredPairs:
        """Return the same pairs without their features."""
        return ScoredPairs.of(self, self.score, has_conflict(self))

    def only(self, keep: Flags) -> Self:
        """Return some of the pairs with their features and scores; `keep` is bool [p]."""
        features = self.features[keep].reset_index(drop=True)
        left, right, score = self.left[keep], self.right[keep], self.score[keep]
        return replace(self, left=left, right=right, features=features, score=score)

    def _columns(self) -> dict[str, Any]:
        return super()._columns() | {"score": self.score}

    @classmethod
    def _of_columns(cls, n: int, columns: dict[str, Any]) -> Self:
        described = PairFeatures._of_columns(n, columns)
        return cls(n, described.left, described.right, described.features, columns["score"])


def kept_features(branches: Iterable[str]) -> list[str]:
    """The features of a pair that are kept, where these branches take part: how alike titles and embeddings are."""
    return [*PAIRWISE_FEATURES, *map(cosine_of, branches)]


def renewed(known: CachedPairs, views: Mapping[str, BranchView]) -> CachedPairs:
    """Pairs of an index with the cosines as they are now that another pool changes: of branches that count, not learn.

    Args:
        known: CachedPairs of a pool.
        views: Branch → its view of this pool.
    """
    cosines = {
        cosine_of(name): view.embeddings.similarity(known.left, known.right)
        for name, view in views.items()
        if not learns(name)
    }
    return replace(known, features=known.features.assign(**cosines))


def among(pairs: CachedPairs, place: Rows, n: int) -> CachedPairs:
    """The pairs of an index whose listings are in another pool, too, with all that is known of them.

    Args:
        pairs: Of an index.
        place: The row that each listing of the index has in the pool, rising; -1 where it is not in it.
        n: Listings of the pool.
    """
    both = pairs.only((place[pairs.left] >= 0) & (place[pairs.right] >= 0))
    left, right = (place[rows].astype(np.int32) for rows in (both.left, both.right))
    return CachedPairs(n, left, right, both.features, both.score)


def ruled_out(known: CachedPairs, bereft: Flags) -> Flags:
    """Which pairs that were scored before keep their scores in a pool, bool [p].

    Args:
        known: CachedPairs of the pool with the features `FIRST` and `SCORED_IN`.
        bereft: Listings that lost a neighbor, bool [n].
    """
    if SCORED_IN not in known.features:  # the index held nothing
        return np.zeros(len(known), dtype=np.bool_)
    ratio = known.n / known.features[SCORED_IN].to_numpy()
    hopeless = known.features[FIRST].to_numpy() < RULED_OUT
    same_size = (ratio < CHANGED) & (ratio > 1 / CHANGED)
    kept: Flags = hopeless & same_size & ~bereft[known.left] & ~bereft[known.right]
    return kept


def bereft_of(pairs: CachedPairs, place: Rows, n: int) -> Flags:
    """The listings of a pool that an index paired with one that the pool has not; bool [n]. See `among`."""
    bereft = np.zeros(n, dtype=np.bool_)
    for one, other in ((pairs.left, pairs.right), (pairs.right, pairs.left)):
        bereft[place[one[(place[one] >= 0) & (place[other] < 0)]]] = True
    return bereft


def with_first(known: CachedPairs) -> CachedPairs:
    """Pairs of an index with their first scores in the place of the final ones."""
    return replace(known, score=known.features[FIRST].to_numpy()) if len(known) else known


def joined(known: CachedPairs, own: CachedPairs) -> CachedPairs:
    """Scored pairs of one pool that were known, and others, with the features that both have; sorted."""
    if len(known) == 0:
        return own
    left, right = (np.concatenate([getattr(part, end) for part in (known, own)]) for end in ("left", "right"))
    order = np.lexsort((right, left))
    both = [name for name in own.features if name in known.features]
    features = pd.concat([part.features[both] for part in (known, own)], ignore_index=True).iloc[order]
    score = np.concatenate([known.score, own.score])[order]
    return CachedPairs(own.n, left[order], right[order], features.reset_index(drop=True), score)
