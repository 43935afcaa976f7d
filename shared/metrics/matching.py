"""Metrics of matches and of groups. All of them fall as the pool grows, so the size of the pool stands beside them.

The competition's metric is the mean over listings of F1 between the predicted and the true set of matches, both of
which hold the listing itself. Listings without a label are not judged, nor are matches with them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.schema import Flags, Matches, Rows, pair_key
from shared.search.sorting import distinct


@dataclass(frozen=True)
class MatchMetrics:
    """The quality of the matches and groups of one pool; all but the first lie in [0, 1].

    Attributes:
        pool_size: Number of listings that were searched.
        row_f1: Mean F1 over listings.
        row_precision: Mean precision over listings.
        row_recall: Mean recall over listings.
        pair_precision: Share of the matched unordered pairs that are true; 1 where none is matched.
        pair_recall: Share of the true unordered pairs that are matched; 1 where there is none.
        pair_f1: Harmonic mean of the two.
        b3_f1: Harmonic mean of B³ precision and recall of the groups (Bagga and Baldwin 1998).
    """

    pool_size: int
    row_f1: float
    row_precision: float
    row_recall: float
    pair_precision: float
    pair_recall: float
    pair_f1: float
    b3_f1: float

    def to_json(self) -> dict[str, Any]:
        """Return the metrics by name."""
        return asdict(self)


def label_codes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Return a number per label group, from 0 in the order of appearance, and -1 where there is no label; int64 [n].

    Args:
        labels: Label groups, str or None [n].

    Examples:
        >>> label_codes(np.array(["b", None, "a", "b"], dtype=object)).tolist()
        [0, -1, 1, 0]
    """
    codes: dict[Any, int] = {}
    return np.array([-1 if x is None else codes.setdefault(x, len(codes)) for x in labels], dtype=np.int64)


def group_sizes(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return how many listings share each listing's code, itself included, int64 [n]; 0 for an unlabeled one (-1).

    Examples:
        >>> group_sizes(np.array([0, -1, 1, 0])).tolist()
        [2, 0, 1, 2]
    """
    counts = np.bincount(codes[codes >= 0], minlength=1)
    return np.where(codes >= 0, counts[codes], 0)


def same_product(left: NDArray[np.integer], right: NDArray[np.integer], codes: NDArray[np.integer]) -> Flags:
    """Return whether the two listings of each pair have the same label, bool [p]; an unlabeled one matches nothing.

    Args:
        left: Row of the first listing of each pair, int [p].
        right: Row of the second one, int [p].
        codes: Label code of each listing, int [n]; -1 where there is no label.

    Examples:
        >>> same_product(np.array([0, 0, 2]), np.array([1, 2, 3]), np.array([0, 0, -1, -1])).tolist()
        [True, False, False]
    """
    same: Flags = (codes[left] == codes[right]) & (codes[left] >= 0)
    return same


def count_true_pairs(codes: NDArray[np.integer]) -> int:
    """Return the number of unordered pairs of listings that have the same label.

    Examples:
        >>> count_true_pairs(np.array([0, 0, 0, 1, -1, -1]))
        3
    """
    sizes = np.bincount(codes[codes >= 0], minlength=1)
    return int((sizes * (sizes - 1) // 2).sum())


def midways(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the midpoint between every two neighboring distinct values, rising, float64 [distinct values - 1].

    A threshold that is itself no value selects the same pairs however it is rounded when it is saved.
    """
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    return (distinct[1:] + distinct[:-1]) / 2


def row_scores(matches: Matches, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return precision, recall and F1 of every listing's set of matches, float64 [n, 3]; NaN without a label."""
    return set_scores(matches.listing, matches.match, codes)


def set_scores(listing: Rows, match: Rows, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the same as `row_scores` for matches that are given as two columns.

    A match with an unlabeled listing is neither right nor wrong, and does not count.

    Args:
        listing: Rows, int32 [m].
        match: A match of each, int32 [m]; in any order, each pair at most once.
        codes: Label code of each listing, int [n]; -1 where there is no label.
    """
    hits = 1 + np.bincount(listing, weights=same_product(listing, match, codes), minlength=len(codes))
    predicted = 1 + np.bincount(listing[codes[match] >= 0], minlength=len(codes))
    true = group_sizes(codes)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.stack([hits / predicted, hits / true, 2 * hits / (predicted + true)], axis=1)
    return np.where((codes >= 0)[:, None], scores, np.nan)


def row_f1(matches: Matches, codes: NDArray[np.integer]) -> float:
    """Return the mean F1 over the labeled listings."""
    return float(np.nanmean(row_scores(matches, codes)[:, 2]))


def measure(matches: Matches, groups: NDArray[np.integer], codes: NDArray[np.integer]) -> MatchMetrics:
    """Return the metrics of matches and groups.

    Args:
        matches: The matches of n listings.
        groups: Group number of each listing, int [n].
        codes: Label code of each listing, int [n]; -1 where there is no label.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.9, 0.9], np.float32)
        >>> metrics = measure(Matches(3, *pair), groups=np.array([0, 0, 1]), codes=np.array([0, 0, 0]))
        >>> round(metrics.row_f1, 3), metrics.pair_precision, round(metrics.pair_recall, 3)
        (0.7, 1.0, 0.333)
    """
    precision, recall, f1 = np.nanmean(row_scores(matches, codes), axis=0)
    pair_precision, pair_recall = _pair_scores(matches, codes)
    return MatchMetrics(
        matches.n,
        float(f1),
        float(precision),
        float(recall),
        pair_precision,
        pair_recall,
        _harmonic_mean(pair_precision, pair_recall),
        b3_f1(groups, codes),
    )


def b3_f1(groups: NDArray[np.integer], codes: NDArray[np.integer]) -> float:
    """Return the B³ F1 of a grouping, over the labeled listings.

    Args:
        groups: Group number of each listing, int [n].
        codes: Label code of each listing, int [n]; -1 where there is no label.
    """
    labeled = codes >= 0
    groups, codes = groups[labeled], codes[labeled]
    cell = groups.astype(np.int64) * (int(codes.max()) + 1) + codes
    _, cell_index, cell_sizes = np.unique(cell, return_inverse=True, return_counts=True)
    _, group_index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    precision = np.mean(cell_sizes[cell_index] / sizes[group_index])
    recall = np.mean(cell_sizes[cell_index] / group_sizes(codes))
    return _harmonic_mean(float(precision), float(recall))


def unordered_pairs(matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lower and the higher row of every unordered pair that matches, each pair once and sorted; [p] each."""
    low, high = np.minimum(matches.listing, matches.match), np.maximum(matches.listing, matches.match)
    return np.divmod(distinct(pair_key(low, high, matches.n)), max(matches.n, 1))


def _pair_scores(matches: Matches, codes: NDArray[np.integer]) -> tuple[float, float]:
    left, right = unordered_pairs(matches)
    matched = int(((codes[left] >= 0) & (codes[right] >= 0)).sum())
    hits, true = int(same_product(left, right, codes).sum()), count_true_pairs(codes)
    return hits / matched if matched else 1.0, hits / true if true else 1.0


def _harmonic_mean(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
