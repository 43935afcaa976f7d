"""What each branch contributes: the true pairs that it proposes, and those that no other branch proposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.candidate_pairs import recall, union
from shared.schema import CandidatePairs, Candidates, Flags, Rows, locate

SHOWN_OVERLAPS = 8  # sets of branches


@dataclass(frozen=True)
class BranchShare:
    """What one branch contributes.

    Args:
        name: The branch.
        recall: Share of the true pairs that it proposes, in [0, 1].
        only: Share of the true pairs that no other branch proposes, in [0, 1].
        alone: Metrics of the branch alone, at its best threshold in the pools of the training.
    """

    name: str
    recall: float
    only: float
    alone: Mapping[str, Any]


@dataclass(frozen=True)
class Overlap:
    """True pairs that just these branches propose.

    Args:
        branches: Their names; none: pairs that nobody proposes.
        share: Of all true pairs, in [0, 1].
    """

    branches: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Contribution:
    """What all branches contribute in a pool.

    Args:
        branches: One by one.
        union: Share of the true pairs that at least one branch proposes.
        overlaps: Sets of branches by falling share, at most `SHOWN_OVERLAPS`.
    """

    branches: list[BranchShare]
    union: float
    overlaps: list[Overlap]


def contribution(
    proposals: Mapping[str, Candidates],
    alone: Mapping[str, Mapping[str, Any]],
    codes: NDArray[np.integer],
    copies: Rows | None = None,
) -> Contribution:
    """Return what each branch contributes to the candidates of a pool.

    Listings of equal content are joined whatever a branch proposes; their pairs count for every branch.

    Args:
        proposals: Branch → its candidates.
        alone: Branch → metrics of it alone.
        codes: Label codes of the pool's listings, int [n].
        copies: For each listing the row of the one of equal content that stands for it, int32 [n]; None: itself.

    Examples:
        >>> row, rank, codes = np.array([0], np.int32), np.array([1], np.int32), np.array([4, 4])
        >>> proposals = {"tfidf": Candidates(2, row, row + 1, np.array([0.5], np.float32), rank, rank)}
        >>> contribution(proposals, {"tfidf": {}}, codes).branches
        [BranchShare(name='tfidf', recall=1.0, only=1.0, alone={})]
    """
    pairs = union(proposals.values(), len(codes))
    names = list(proposals)
    member = np.stack([locate(pairs.key, proposals[name].key)[1] for name in names])
    whole, base = _recall(pairs, np.ones(len(pairs), dtype=bool), codes, copies), _recall(pairs, None, codes, copies)
    shares = []
    for place, name in enumerate(names):
        others = np.any(np.delete(member, place, axis=0), axis=0)
        only = max(whole - _recall(pairs, others, codes, copies), 0.0)
        shares.append(BranchShare(name, _recall(pairs, member[place], codes, copies), only, alone.get(name, {})))
    return Contribution(shares, whole, _overlaps(names, member, pairs, codes, copies, 1 - whole, base))


def _recall(pairs: CandidatePairs, keep: Flags | None, codes: NDArray[np.integer], copies: Rows | None) -> float:
    """Return the recall of some of the pairs; of none, which is that by equal content alone, where `keep` is None."""
    rows = slice(0, 0) if keep is None else keep
    return recall(pairs.left[rows], pairs.right[rows], codes, copies)


def _overlaps(
    names: list[str],
    member: Flags,
    pairs: CandidatePairs,
    codes: NDArray[np.integer],
    copies: Rows | None,
    nobody: float,
    base: float,
) -> list[Overlap]:
    """Return the share of the true pairs that just these branches propose, for all sets of branches."""
    overlaps = [Overlap((), nobody)] if nobody > 0 else []
    for size in range(1, len(names) + 1):
        for chosen in combinations(range(len(names)), size):
            inside = np.isin(np.arange(len(names)), chosen)
            share = _recall(pairs, (member == inside[:, None]).all(axis=0), codes, copies) - base
            share += base if size == len(names) else 0.0
            if share > 0:
                overlaps.append(Overlap(tuple(names[place] for place in chosen), share))
    return sorted(overlaps, key=lambda overlap: -overlap.share)[:SHOWN_OVERLAPS]
