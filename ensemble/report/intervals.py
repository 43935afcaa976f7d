"""The metrics of a pool with their confidence intervals, by a bootstrap over products.

The metrics are those of `shared.metrics.matching`. Listings of one product are not independent, so whole products are
drawn with replacement (Efron and Tibshirani 1993, chapter 13, percentile interval). A listing contributes the same
whatever else is drawn, as in `ensemble.decision.bootstrap`, so a resample only weighs the products anew. What holds
there where no product has a mistake holds here, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.bootstrap import interval, product_codes, unless_certain
from ensemble.decision.objective import HITS, LABELED, MATCHED, ROW_F1, TRUE, Doubles, listing_metrics
from shared.metrics.matching import group_sizes, row_scores
from shared.schema import Matches

RESAMPLES = 1000
METRICS = ("row_f1", "row_precision", "row_recall", "pair_precision", "pair_recall", "pair_f1", "b3_f1")
_ROW_PRECISION, _ROW_RECALL, _B3_PRECISION, _B3_RECALL = range(5, 9)  # columns behind those of `listing_metrics`


@dataclass(frozen=True)
class Estimate:
    """A metric and its 90 % interval.

    Args:
        value: In [0, 1].
        low: Lower end of the interval.
        high: Upper end of it.

    Examples:
        >>> Estimate(0.94, 0.93, 0.95).width
        0.02
    """

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Return the width of the interval, rounded to 12 digits."""
        return round(self.high - self.low, 12)


def estimates(
    metrics: Mapping[str, Any], matches: Matches, groups: NDArray[np.integer], codes: NDArray[np.integer], seed: int
) -> dict[str, Estimate]:
    """Return each of `METRICS` with its interval.

    Args:
        metrics: The metrics of the pool by name, as `measure` returns them; the values are taken from here.
        matches: The matches of n listings.
        groups: Group number of each listing, int [n].
        codes: Label code of each listing, int [n]; -1 where there is no label.
        seed: Of the resampling.

    Examples:
        >>> from shared.metrics.matching import measure
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.9, 0.9], np.float32)
        >>> matches, groups, codes = Matches(2, *pair), np.array([0, 0]), np.array([7, 7])
        >>> row_f1 = estimates(measure(matches, groups, codes).to_json(), matches, groups, codes, seed=0)["row_f1"]
        >>> row_f1.value, round(row_f1.low, 2)  # of a single product
        (1.0, 0.27)
    """
    parts, product = contributions(matches, groups, codes), product_codes([codes])
    sums = np.zeros((int(product.max(initial=-1)) + 1, parts.shape[1]))
    np.add.at(sums, product, parts)
    rng, count = np.random.default_rng(seed), len(sums)
    draws = (np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(RESAMPLES))
    resampled = metric_values(np.stack([draw.astype(np.float64) @ sums for draw in draws]))
    ends = {name: interval(resampled[:, column]) for column, name in enumerate(METRICS)}
    judged = {"pair_precision": MATCHED, "pair_recall": TRUE}
    products = {name: int((sums[:, judged.get(name, LABELED)] > 0).sum()) for name in METRICS}
    return {
        name: Estimate(metrics[name], *unless_certain(ends[name], metrics[name], products[name])) for name in METRICS
    }


def contributions(matches: Matches, groups: NDArray[np.integer], codes: NDArray[np.integer]) -> Doubles:
    """Return what each listing contributes to the metrics, float64 [n, 9]: `listing_metrics`, and four more columns.

    These are row precision, row recall, B³ precision and B³ recall; 0 for a listing without a label.
    """
    rows = np.nan_to_num(row_scores(matches, codes))
    labeled = codes >= 0
    precision, recall = np.zeros(len(codes)), np.zeros(len(codes))
    cell = groups[labeled].astype(np.int64) * (int(codes.max(initial=0)) + 1) + codes[labeled]
    _, cells, cell_sizes = np.unique(cell, return_inverse=True, return_counts=True)
    _, members, sizes = np.unique(groups[labeled], return_inverse=True, return_counts=True)
    precision[labeled] = cell_sizes[cells] / sizes[members]
    recall[labeled] = cell_sizes[cells] / group_sizes(codes)[labeled]
    return np.column_stack([listing_metrics(matches, codes), rows[:, 0], rows[:, 1], precision, recall])


def metric_values(sums: Doubles) -> Doubles:
    """Return `METRICS` from sums of `contributions`; [..., 9] → [..., 7].

    Examples:
        >>> metric_values(np.array([2.0, 1.5, 1.0, 2.0, 1.0, 1.5, 2.0, 2.0, 1.0])).round(3).tolist()
        [0.75, 0.75, 1.0, 0.5, 1.0, 0.667, 0.667]
    """
    labeled = np.maximum(sums[..., LABELED], 1)
    pair = _share(sums[..., HITS], sums[..., MATCHED]), _share(sums[..., HITS], sums[..., TRUE])
    b3 = sums[..., _B3_PRECISION] / labeled, sums[..., _B3_RECALL] / labeled
    rows = (sums[..., column] / labeled for column in (ROW_F1, _ROW_PRECISION, _ROW_RECALL))
    return np.stack([*rows, *pair, _harmonic(*pair), _harmonic(*b3)], axis=-1)


def _share(part: Doubles, whole: Doubles) -> Doubles:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 1.0)


def _harmonic(one: Doubles, other: Doubles) -> Doubles:
    return np.where(one + other > 0, 2 * one * other / np.where(one + other > 0, one + other, 1), 0.0)
