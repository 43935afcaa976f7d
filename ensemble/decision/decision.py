"""The decision: a tuned rule that turns a pool's scored pairs into matches; the rules are in `rules.py`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.config import VETO, Rule
from ensemble.decision.prior_shift import moved
from ensemble.decision.rules import RULES, capped, ordered, scores, subset
from shared.errors import ArtifactError
from shared.schema import Flags, Matches, Pairs

__all__ = ["RULES", "Decision", "capped", "decider", "groups_of"]


@dataclass(frozen=True)
class Decision:
    """A tuned decision.

    Args:
        rule: Name of the rule.
        threshold: In [0, 1].
        max_matches: Most matches of a listing; the best are kept.
        veto: Whether listings whose titles state different quantities never match.
        pool_size: Listings of the pool that the threshold is for; None where nobody said.
        drift: How far the threshold moves with the pool's size, in [0, 1] (`drift.py`); 0: it stays as it is.
    """

    rule: Rule
    threshold: float
    max_matches: int = 50
    veto: bool = False
    pool_size: int | None = None
    drift: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in list(RULES):
            raise ValueError(f"there is no rule {self.rule!r}; there are: {', '.join(RULES)}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"a threshold lies in [0, 1], not at {self.threshold!r}")
        if not 0 <= self.drift <= 1:
            raise ValueError(f"a drift lies in [0, 1], not at {self.drift!r}")

    def threshold_in(self, n: int) -> float:
        """The threshold for a pool of n listings."""
        if not self.drift or not self.pool_size:
            return self.threshold
        return moved(self.threshold, self.drift, n / self.pool_size)

    def fixed(self, n: int) -> Decision:
        """The decision for a pool of n listings, whatever pool it is applied to."""
        return replace(self, threshold=self.threshold_in(n), pool_size=n, drift=0.0)

    def apply(self, pairs: Pairs, ids: NDArray[Any] | None = None) -> Matches:
        """Decide on a pool's scored pairs, at the threshold for a pool of that size.

        Args:
            pairs: Scored pairs of n listings; for a veto with their feature `VETO`.
            ids: Posting ids [n], by which equal scores stand whatever the order of the rows; by row if None.
        """
        if ids is not None:
            order = np.argsort(ids, kind="stable")
            return _renumbered(self.apply(_reordered(pairs, np.argsort(order))), order)
        return decider(self.rule, pairs, self.max_matches, self.veto)(self.threshold_in(pairs.n))

    def save(self, path: Path) -> None:
        """Write JSON; the threshold comes back exactly."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, also before there were a veto, a pool size and a drift.

        Raises:
            ArtifactError: The file is of another making.
        """
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ArtifactError(f"{path} is not a decision: {error}") from error


def decider(rule: Rule, pairs: Pairs, max_matches: int, veto: bool = False) -> Callable[[float], Matches]:
    """A rule with its cap and veto, made ready for one pool: threshold → matches.

    A vetoed pair scores 0 for the rule, and is no match where its group would have made it one. (Both its listings may
    still match a third, and so stand in one group.)
    """
    vetoed = _vetoed(pairs) if veto else np.zeros(len(pairs), dtype=bool)
    allowed = np.where(vetoed, np.float32(0), scores(pairs))
    ready = RULES[rule](Pairs(pairs.n, pairs.left, pairs.right, score=allowed))
    key = pairs.left[vetoed].astype(np.int64) * pairs.n + pairs.right[vetoed]

    def decide(threshold: float) -> Matches:
        found = ready.matches(threshold)
        if len(key):
            low, high = np.minimum(found.listing, found.match), np.maximum(found.listing, found.match)
            found = subset(found, ~np.isin(low.astype(np.int64) * pairs.n + high, key))
        return capped(found, max_matches)

    return decide


def _vetoed(pairs: Pairs) -> Flags:
    if VETO not in pairs.features:
        if len(pairs) == 0:
            return np.zeros(0, dtype=bool)
        raise ArtifactError(f"the veto needs pairs scored with their feature {VETO}; score them again")
    vetoed: Flags = pairs.features[VETO].to_numpy() == 1
    return vetoed


def groups_of(matches: Matches) -> NDArray[np.int64]:
    """Connected components of the matches: every listing is in exactly one group, numbered by first row; [n]."""
    ones = np.ones(len(matches), dtype=np.int8)
    graph = coo_array((ones, (matches.listing, matches.match)), shape=(matches.n, matches.n))
    found = connected_components(graph, directed=False)[1]
    _, first, group = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[group]


def _reordered(pairs: Pairs, place: NDArray[np.int64]) -> Pairs:
    """The same scored pairs once listing i stands at row place[i]."""
    low, high = np.sort(np.stack([place[pairs.left], place[pairs.right]]), axis=0).astype(np.int32)
    order = np.lexsort((high, low))
    features = pairs.features.iloc[order] if pairs.features.shape[1] else pairs.features
    return Pairs(pairs.n, low[order], high[order], features, scores(pairs)[order])


def _renumbered(matches: Matches, row: NDArray[np.int64]) -> Matches:
    """The same matches once listing i stands at row row[i]."""
    return ordered(matches.n, row[matches.listing], row[matches.match], matches.score)
