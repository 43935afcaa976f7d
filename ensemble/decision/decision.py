"""The decision: a tuned rule that turns a pool's scored pairs into matches; the rules are in `rules.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.config import MAX_GROUP, Kind, Rule
from ensemble.decision.copies import with_copies, without_forced
from ensemble.decision.guard import agreement, careful_threshold, expected_share, is_unlike
from ensemble.decision.pins import Pins, pinned, separated
from ensemble.decision.prior_shift import shift_for_singles, shift_threshold
from ensemble.decision.rules import RULES, AverageLink, DecisionRule, keep_best, sort_matches, subset
from ensemble.features.conflicts import KINDS, in_conflict
from shared.artifacts import checked_type, read_json, write_json
from shared.catalog.config import Duplicates
from shared.errors import ArtifactError
from shared.schema import Flags, Matches, Rows, ScoredPairs, pair_key

__all__ = ["RULES", "Decision", "decider", "groups_of"]


ATTACHED = 0.02  # least score of the best pair of a listing that has no match but must have one


@dataclass(frozen=True)
class Outcome:
    """The matches of a pool, and how they were decided.

        Decision("threshold", 0.5).decide(pairs).matches

    Args:
        matches: The matches.
        split_groups: Number of groups that were too large and were split.
        threshold: The threshold that was used.
        agreement: Agreement of two rules at the threshold for the size of the pool, in [0, 1]; None where it was not
            looked at. The threshold that was used is a higher one where the agreement is low (`guard.is_unlike`).
    """

    matches: Matches
    split_groups: int = 0
    threshold: float = 0.0
    agreement: float | None = None


@dataclass(frozen=True)
class Decision:
    """A tuned decision.

    Args:
        rule: Name of the rule.
        threshold: In [0, 1].
        max_matches: Maximum number of matches per listing; the best are kept.
        forbid: Kinds of attributes; listings whose titles contradict each other in one of them never match.
        pool_size: Number of listings of the pool that the threshold is for; None if that is unknown.
        prior_shift: Strength of the correction for the size of the pool, in [0, 1] (`prior_shift.py`); with 0 the
            threshold is the same for every pool.
        share: Share of the listings that are expected to have a match in the pools that the threshold is for.
        singles_shift: How much the logit of the threshold rises as that share falls from 1 to 0 (`prior_shift.py`); 0:
            not at all.
        max_group: The most listings in a group, those of equal content counted once; larger groups are split. None: any
            number.
        guard: Whether the threshold of `average_link` is raised in pools that are unlike those of the training
            (`guard.py`).
        least: The threshold is never lower than this, whatever the size of the pool.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> pairs = ScoredPairs(3, *rows, np.array([0.9, 0.2], np.float32))
        >>> [matches.tolist() for matches in Decision("threshold", 0.5).apply(pairs).lists()]
        [[1], [0], []]
    """

    rule: Rule
    threshold: float
    max_matches: int = 50
    forbid: tuple[Kind, ...] = ()
    pool_size: int | None = None
    prior_shift: float = 0.0
    share: float = 1.0
    singles_shift: float = 0.0
    max_group: int | None = MAX_GROUP
    guard: bool = False
    least: float = 0.0

    def __post_init__(self) -> None:
        if self.rule not in list(RULES):
            raise ValueError(f"there is no rule {self.rule!r}; there are: {', '.join(RULES)}")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"a threshold must lie in [0, 1], but is {self.threshold!r}")
        if not 0 <= self.prior_shift <= 1:
            raise ValueError(f"prior_shift must lie in [0, 1], but is {self.prior_shift!r}")
        if not 0 <= self.share <= 1 or self.singles_shift < 0:
            raise ValueError(
                f"share {self.share!r} must lie in [0, 1], singles_shift {self.singles_shift!r} be 0 or more"
            )
        if self.max_matches < 1 or (self.max_group is not None and self.max_group < 1):
            raise ValueError("max_matches and max_group must be 1 or more")
        if unknown := sorted(set(self.forbid) - set(KINDS)):
            raise ValueError(f"there is no kind of attribute {unknown[0]!r}; there are: {', '.join(KINDS)}")

    def threshold_for(self, n: int, share: float) -> float:
        """Return the threshold for a pool.

        Args:
            n: Number of its listings.
            share: Share of them that are expected to have a match, in [0, 1].
        """
        threshold = self.threshold
        if self.prior_shift and self.pool_size:
            threshold = shift_threshold(threshold, self.prior_shift, n / self.pool_size)
        if self.singles_shift:
            threshold = shift_for_singles(threshold, self.singles_shift, self.share - share)
        return max(threshold, self.least)

    def limits(self, duplicates: Duplicates) -> tuple[int, tuple[Kind, ...], int | None]:
        """Return for `decider` the most matches of a listing, what forbids one, and the most listings of a group."""
        return self.max_matches, self.forbid, 2 if duplicates == "pairs" else self.max_group

    def applied(self, threshold: float) -> float:
        """Return the threshold that the rule applies in place of one: `average_link` has a lowest one."""
        return max(threshold, AverageLink.MIN_THRESHOLD) if self.rule == "average_link" else threshold

    def fix_size(self, n: int) -> Decision:
        """Return the decision with the threshold for a pool of n listings, however many it then has."""
        return replace(self, threshold=self.threshold_for(n, self.share), pool_size=n, prior_shift=0.0)

    def fix_kind(self, n: int, share: float) -> Decision:
        """Return the decision with the threshold for a pool of n listings and a share, whatever pool it then gets."""
        return replace(self.fix_size(n), threshold=self.threshold_for(n, share), share=share, singles_shift=0.0)

    def apply(self, pairs: ScoredPairs, ids: NDArray[Any] | None = None) -> Matches:
        """Return the matches of a pool, at the threshold for a pool of that kind or a raised one (`guard.py`).

        Args:
            pairs: Scored pairs of n listings; with `conflict` if attributes forbid matches.
            ids: Posting ids [n]. Equal scores are then ordered by id, whatever the order of the rows; by row if None.

        Raises:
            ArtifactError: Attributes forbid matches, and the pairs have no `conflict`.
        """
        return self.decide(pairs, ids).matches

    def decide(
        self,
        pairs: ScoredPairs,
        ids: NDArray[Any] | None = None,
        duplicates: Duplicates = "unknown",
        pins: Pins | None = None,
    ) -> Outcome:
        """Return the matches of a pool, and how they were decided.

        Args:
            pairs: As for `apply`.
            ids: As for `apply`.
            duplicates: What the user knows of the pool. `all`: every listing has a match, so that a listing without one
                gets its best pair, if that scores `ATTACHED` or more. `pairs`: no product has more than two listings.
            pins: Pairs whose match people decided (`pins.py`); None: there are none. `duplicates=pairs` wins over them.

        Raises:
            ArtifactError: Attributes forbid matches, and the pairs have no `conflict`.
        """
        if ids is not None:
            order = np.argsort(ids, kind="stable")
            new_row = np.argsort(order)
            outcome = self.decide(
                _move_pairs(pairs, new_row), duplicates=duplicates, pins=pins and pins.placed(new_row)
            )
            return replace(outcome, matches=_move_matches(outcome.matches, order))
        limits = self.limits(duplicates)
        share = 1.0 if duplicates == "all" else expected_share(pairs)
        ready, agreed = decider(self.rule, pairs, *limits), None
        threshold = self.applied(self.threshold_for(pairs.n, share))
        if self.guard and self.rule == "average_link":
            plain = decider("threshold", pairs, *limits)
            agreed = agreement(ready(threshold), plain(threshold))
            if is_unlike(agreed):
                threshold = careful_threshold(threshold, lambda step: agreement(ready(step), plain(step)))
        if pins:  # after the look at the scores, which answers must not blur
            pairs, pins = pinned(pairs, pins)
            ready = decider(self.rule, pairs, *limits, pins)
        known = known_duplicates(self, pairs, duplicates, pins)
        matches = known(ready(threshold))
        return Outcome(matches, 0 if duplicates == "pairs" else ready.split_groups, threshold, agreed)

    def save(self, path: Path) -> None:
        """Write JSON; the threshold is read back exactly."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            ArtifactError: The file is not a decision, or was written by another version.
        """
        values = read_json(path, "tune the decision again")
        names = [field.name for field in fields(cls)]
        try:
            if sorted(values) != sorted(names):
                raise ValueError(f"it must have the fields {', '.join(names)}; an older one has to be tuned again")
            return checked_type(cls, values)
        except ValueError as error:
            raise ArtifactError(f"{path} is not a decision of this version: {error}") from error


class Decider:
    """A rule, ready for one pool: a function from threshold to matches.

    Args:
        ready: The rule.
        pairs: Scored pairs of the pool.
        forbidden: Keys of pairs that never match.
        rule: Name of the rule.
        max_matches: Maximum number of matches per listing.
    """

    def __init__(
        self, ready: DecisionRule, pairs: ScoredPairs, forbidden: NDArray[np.int64], rule: Rule, max_matches: int
    ) -> None:
        self._ready, self._pairs, self._forbidden = ready, pairs, forbidden
        self._rule, self._max_matches = rule, max_matches

    @property
    def split_groups(self) -> int:
        """Return how many groups were too large at the last threshold, and were split."""
        return self._ready.split_groups

    def __call__(self, threshold: float) -> Matches:
        """Return the matches at a threshold."""
        pairs, matches = self._pairs, self._ready.matches(threshold)
        if len(self._forbidden):
            low, high = np.minimum(matches.listing, matches.match), np.maximum(matches.listing, matches.match)
            matches = subset(matches, ~np.isin(pair_key(low, high, pairs.n), self._forbidden))
        if pairs.copy_of is None:
            return keep_best(matches, self._max_matches)
        if self._rule == "min2":
            matches = without_forced(matches, threshold, pairs.copy_of)
        return with_copies(keep_best(matches, self._max_matches), pairs.copy_of, self._max_matches)


def decider(
    rule: Rule,
    pairs: ScoredPairs,
    max_matches: int,
    forbid: Sequence[Kind] = (),
    max_group: int | None = MAX_GROUP,
    pins: Pins | None = None,
) -> Decider:
    """Return a function from threshold to matches, for one pool.

    A forbidden pair scores 0 for the rule, and is no match even if its group would make it one. Both listings may still
    match a third one, and so be in one group. Copies match whatever the rule.

    Args:
        rule: Name of the rule.
        pairs: Scored pairs of the pool.
        max_matches: Maximum number of matches per listing.
        forbid: Kinds of attributes; pairs in conflict in one of them never match.
        max_group: The most listings in a group, those of equal content counted once; larger groups are split.
        pins: Pairs whose match people decided, as `pinned` returned them with the pairs; None: there are none.

    Raises:
        ArtifactError: Attributes forbid matches, and the pairs have no `conflict`.
    """
    conflict = _forbidden(pairs, forbid)
    score = np.where(conflict, np.float32(0), pairs.score)
    ready = RULES[rule](ScoredPairs.of(pairs, score), max_group, pins)
    return Decider(ready, pairs, pairs.key[conflict], rule, max_matches)


def _forbidden(pairs: ScoredPairs, forbid: Sequence[Kind]) -> Flags:
    if pairs.conflict is not None:
        return in_conflict(pairs.conflict, forbid)
    if forbid and len(pairs):
        raise ArtifactError(
            f"matches are forbidden by {', '.join(forbid)}, but the pairs were not compared by the attributes in their "
            "titles; describe and score them again with attributes among ensemble.features"
        )
    return np.zeros(len(pairs), dtype=bool)


def known_duplicates(
    decision: Decision, pairs: ScoredPairs, duplicates: Duplicates, pins: Pins | None = None
) -> Callable[[Matches], Matches]:
    """Return what makes of matches at a threshold those of a pool of which a user knows something.

    Args:
        decision: The decision.
        pairs: Scored pairs of the pool.
        duplicates: As for `Decision.decide`.
        pins: Pairs whose match people decided; those of the pairs.
    """
    if duplicates == "all":
        best = decider("min2", pairs, *decision.limits(duplicates), pins)(1.0)
        return lambda matches: _attached(matches, best, pairs.copy_of, pins)
    return _mutual_best if duplicates == "pairs" else lambda matches: matches


def _mutual_best(matches: Matches) -> Matches:
    """Return of the matches those of two listings that are each other's best; no listing then has more than one."""
    best = keep_best(matches, 1)
    of_listing = np.full(matches.n, -1, dtype=np.int64)
    of_listing[best.listing] = best.match
    return subset(best, of_listing[best.match] == best.listing)


def _attached(matches: Matches, best: Matches, copies: Rows | None, pins: Pins | None = None) -> Matches:
    """Return matches in which each listing without any has its best one, if that scores `ATTACHED` or more.

    Args:
        matches: Of n listings.
        best: Of the same, sorted: among them each listing's best.
        copies: For each listing the row of the one of equal content that stands for it; all copies of the best match.
        pins: Pairs that are never in one group: what would join them is not added.
    """
    alone = np.ones(matches.n, dtype=bool)
    alone[matches.listing] = False
    stands = best.match if copies is None else copies[best.match]
    is_first = np.diff(best.listing, prepend=-1) != 0
    of_listing = np.full(matches.n, -1, dtype=np.int64)
    of_listing[best.listing[is_first]] = stands[is_first]
    added = subset(best, (stands == of_listing[best.listing]) & alone[best.listing] & (best.score >= ATTACHED))
    if pins:
        added = subset(added, _separate(matches, added, pins))
    columns = ((getattr(matches, name), getattr(added, name)) for name in ("listing", "match", "score"))
    return sort_matches(matches.n, *map(np.concatenate, columns))


def _separate(matches: Matches, added: Matches, pins: Pins) -> Flags:
    """Return which added matches hold beside others so that no pair that never matches is in one group, bool [a]."""
    ends = np.append(matches.listing, added.listing), np.append(matches.match, added.match)
    strength = np.append(np.full(len(matches), np.inf), added.score)
    return separated(matches.n, *ends, strength, pins.never)[len(matches) :]


def groups_of(matches: Matches) -> NDArray[np.int64]:
    """Return the group number of each listing, [n]: the connected components of the matches, numbered by first row.

    Examples:
        >>> pair = np.array([1, 2], np.int32), np.array([2, 1], np.int32), np.array([0.9, 0.9], np.float32)
        >>> groups_of(Matches(4, *pair)).tolist()
        [0, 1, 1, 2]
    """
    ones = np.ones(len(matches), dtype=np.int8)
    graph = coo_array((ones, (matches.listing, matches.match)), shape=(matches.n, matches.n))
    component = connected_components(graph, directed=False)[1]
    _, first_row, group = np.unique(component, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first_row))[group]


def _move_pairs(pairs: ScoredPairs, new_row: NDArray[np.int64]) -> ScoredPairs:
    """Return the same pairs after listing i has moved to row new_row[i]."""
    rows = new_row.astype(np.int32)
    left, right = rows[pairs.left], rows[pairs.right]
    low, high = np.minimum(left, right), np.maximum(left, right)
    order = np.argsort(pair_key(low, high, pairs.n))
    conflict = None if pairs.conflict is None else pairs.conflict[order]
    copies = None
    if pairs.copy_of is not None:
        copies = np.empty_like(pairs.copy_of)
        copies[new_row] = new_row[pairs.copy_of]
    return ScoredPairs(pairs.n, low[order], high[order], pairs.score[order], conflict, copies)


def _move_matches(matches: Matches, new_row: NDArray[np.int64]) -> Matches:
    """Return the same matches after listing i has moved to row new_row[i]."""
    return sort_matches(matches.n, new_row[matches.listing], new_row[matches.match], matches.score)
