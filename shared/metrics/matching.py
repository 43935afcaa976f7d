"""How good matches are. Every figure depends on the pool that was searched; its size stands beside it.

The competition's metric is the mean over listings of F1 between the predicted and the true set of matches, both of
which hold the listing itself. Listings without a label are not judged.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.schema import Flags, Matches, Rows
from shared.search.sorting import distinct


@dataclass(frozen=True)
class Figures:
    """What was measured on one pool.

    Attributes:
        pool_size: Listings that were searched.
        row_f1, row_precision, row_recall: Means over listings, in [0, 1].
        pair_precision, pair_recall, pair_f1: Over unordered pairs; 1 where there is nothing to find or nothing found.
        b3_f1: Harmonic mean of B³ precision and recall of the groups (Bagga & Baldwin 1998).
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
        """The figures by name."""
        return asdict(self)


def label_codes(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Number the label groups; -1 for a listing that has no label. Shape [n]."""
    numbers: dict[Any, int] = {}
    return np.array([-1 if x is None else numbers.setdefault(x, len(numbers)) for x in labels], dtype=np.int64)


def group_sizes(codes: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many listings share each listing's code, itself included, int64 [n]; 0 for an unlabeled one (-1)."""
    counts = np.bincount(codes[codes >= 0], minlength=1)
    return np.where(codes >= 0, counts[codes], 0)


def same_group(codes: NDArray[np.integer], left: Rows, right: Rows) -> Flags:
    """Whether the listings of each pair share a code, bool [p]; an unlabeled one (-1) shares none."""
    same: Flags = (codes[left] == codes[right]) & (codes[left] >= 0)
    return same


def midways(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Midway between every two neighboring distinct values, rising, float64 [distinct values - 1].

    A threshold that is itself no value selects the same however it is rounded when saved.
    """
    distinct = np.unique(np.asarray(values, dtype=np.float64))
    return (distinct[1:] + distinct[:-1]) / 2


def row_scores(matches: Matches, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Precision, recall and F1 of every listing's set of matches, float64 [n, 3]; NaN for an unlabeled listing."""
    return set_scores(matches.listing, matches.match, codes)


def set_scores(listing: Rows, match: Rows, codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """The same of matches that are given as two columns of rows, int32 [m], in any order, each pair at most once."""
    hits = 1 + np.bincount(listing, weights=same_group(codes, listing, match), minlength=len(codes))
    predicted = 1 + np.bincount(listing, minlength=len(codes))
    true = group_sizes(codes)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.stack([hits / predicted, hits / true, 2 * hits / (predicted + true)], axis=1)
    return np.where((codes >= 0)[:, None], scores, np.nan)


def row_f1(matches: Matches, codes: NDArray[np.integer]) -> float:
    """Mean F1 over the labeled listings."""
    return float(np.nanmean(row_scores(matches, codes)[:, 2]))


def measure(matches: Matches, groups: NDArray[np.integer], codes: NDArray[np.integer]) -> Figures:
    """Judge matches and groups against labels.

    Args:
        matches: What was decided.
        groups: Group number of each listing, int [n].
        codes: Label group of each listing as by `label_codes`, int [n].
    """
    precision, recall, f1 = np.nanmean(row_scores(matches, codes), axis=0)
    pair_precision, pair_recall = _pair_scores(matches, codes)
    return Figures(
        matches.n,
        float(f1),
        float(precision),
        float(recall),
        pair_precision,
        pair_recall,
        _harmonic(pair_precision, pair_recall),
        b3_f1(groups, codes),
    )


def b3_f1(groups: NDArray[np.integer], codes: NDArray[np.integer]) -> float:
    """B³ F1 of a grouping of the labeled listings."""
    known = codes >= 0
    groups, codes = groups[known], codes[known]
    cell = groups.astype(np.int64) * (int(codes.max()) + 1) + codes
    _, at, both = np.unique(cell, return_inverse=True, return_counts=True)
    _, group_at, in_group = np.unique(groups, return_inverse=True, return_counts=True)
    precision = np.mean(both[at] / in_group[group_at])
    recall = np.mean(both[at] / group_sizes(codes))
    return _harmonic(float(precision), float(recall))


def _pair_scores(matches: Matches, codes: NDArray[np.integer]) -> tuple[float, float]:
    low = np.minimum(matches.listing, matches.match).astype(np.int64)
    high = np.maximum(matches.listing, matches.match).astype(np.int64)
    pairs = distinct(low * matches.n + high)
    left, right = codes[pairs // matches.n], codes[pairs % matches.n]
    judged = (left >= 0) & (right >= 0)
    hits, found = int((left == right)[judged].sum()), int(judged.sum())
    sizes = np.bincount(codes[codes >= 0], minlength=1)
    true = int((sizes * (sizes - 1) // 2).sum())
    return hits / found if found else 1.0, hits / true if true else 1.0


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
