"""How certain a choice between decisions is: a bootstrap over products.

The products (label groups) of the pools are drawn with replacement. A listing contributes the same to the metrics
whatever else is drawn, so a resample only weighs products anew. All decisions are judged on the same resamples.

Where no product has a mistake, no resample has one either, which says nothing of the products to come. The interval is
then that of a share of as many cases as there are products (Wilson 1927).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.objective import LABELED, TRUE, Doubles, Objective

CONFIDENCE = 0.9  # level of all intervals
Z = 1.6448536269514722  # quantile of the normal distribution for that level
Interval = tuple[float, float]


@dataclass(frozen=True)
class Choice:
    """The choice between several decisions, and how certain it is.

    Args:
        best: Index of the decision with the highest value; of equals the first.
        chosen: Index of the first decision that is not clearly worse than the best.
        interval: Confidence interval of the chosen decision's value.
        shortfall: Confidence interval of the best decision's lead over the chosen one, on the same products.
    """

    best: int
    chosen: int
    interval: Interval
    shortfall: Interval


def product_codes(pools: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Return the number of every listing's product over all pools, [n]; an unlabeled listing is its own product.

    Args:
        pools: Label codes of the listings of each pool; -1 where there is no label.

    Examples:
        >>> product_codes([np.array([0, 1, 0]), np.array([1, -1])]).tolist()
        [0, 1, 0, 2, 3]
    """
    products, start = [], 0
    for codes in pools:
        unique_codes = np.where(codes >= 0, codes, codes.max(initial=-1) + 1 + np.arange(len(codes)))
        products.append(np.unique(unique_codes, return_inverse=True)[1] + start)
        start += len(np.unique(unique_codes))
    return np.concatenate(products).astype(np.int64)


def resample(
    metrics: Sequence[Doubles], product: NDArray[np.int64], objective: Objective, count: int, seed: int
) -> Doubles:
    """Return the objective of each decision on resampled products, float64 [count, decisions].

    Args:
        metrics: `listing_metrics` of all listings, one array [n, 5] per decision.
        product: Number of each listing's product, [n].
        objective: The objective to compute.
        count: Number of resamples.
        seed: Seed of the random draws.
    """
    products = int(product.max(initial=-1)) + 1
    sums = np.zeros((products, len(metrics), metrics[0].shape[1]))
    np.add.at(sums, product, np.stack(metrics, axis=1))
    rng = np.random.default_rng(seed)
    weights = (np.bincount(rng.integers(products, size=products), minlength=products) for _ in range(count))
    return np.stack([objective.values(np.tensordot(weight.astype(np.float64), sums, axes=1)) for weight in weights])


def choose(values: Sequence[float], resamples: Doubles) -> Choice:
    """Return the first decision that is not clearly worse than the best: by at most two standard errors.

    The idea is the one-standard-error rule of Breiman, Friedman, Olshen and Stone (Classification and Regression Trees,
    1984, section 3.4.3). It is applied to paired differences, because decisions that agree on most listings differ in
    few products; and with two standard errors, because the first decision is preferred for what the pools at hand do
    not show, such as how it fares in larger ones.

    Args:
        values: The objective of each decision, the preferred one first; NaN for one that cannot be chosen.
        resamples: The same on resampled products, [count, decisions].

    Examples:
        >>> choose([0.5, 0.9], np.array([[0.4, 0.9], [0.6, 0.9]])).chosen
        1
        >>> choose([0.89, 0.9], np.array([[0.8, 0.9], [1.0, 0.9]])).chosen
        0
    """
    best = int(np.nanargmax(values))
    shortfall = resamples[:, [best]] - resamples
    error = shortfall.std(axis=0, ddof=1)
    chosen = next(index for index, value in enumerate(values) if values[best] - value <= 2 * error[index])
    return Choice(best, chosen, interval(resamples[:, chosen]), interval(shortfall[:, chosen]))


def interval(values: Doubles) -> Interval:
    """Return the confidence interval of a value from its resamples, [count].

    Examples:
        >>> [round(bound) for bound in interval(np.arange(101.0))]
        [5, 95]
    """
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def objective_interval(
    metrics: Doubles, product: NDArray[np.int64], objective: Objective, count: int, seed: int
) -> Interval:
    """Return the confidence interval of the objective of one decision; Wilson's where no product has a mistake.

    Args:
        metrics: `listing_metrics` of all listings, [n, 5].
        product: Number of each listing's product, [n].
        objective: The objective.
        count: Number of resamples.
        seed: Seed of the random draws.

    Examples:
        >>> metrics = np.tile([1.0, 1.0, 0.5, 0.5, 0.5], (4, 1))
        >>> low, high = objective_interval(metrics, np.array([0, 0, 1, 1]), Objective(), 10, seed=0)
        >>> round(low, 2), high  # of two products
        (0.43, 1.0)
    """
    ends = interval(resample([metrics], product, objective, count, seed)[:, 0])
    judged = metrics[:, TRUE if objective.min_precision else LABELED] > 0
    value = float(objective.values(metrics.sum(axis=0)))
    return unless_certain(ends, value, len(np.unique(product[judged])))


def unless_certain(ends: Interval, value: float, count: int) -> Interval:
    """Return an interval by resamples, or Wilson's where all of them have the one value 0 or 1.

    Args:
        ends: The interval by resamples.
        value: The share that it is of.
        count: Number of products that the share is of.

    Examples:
        >>> unless_certain((0.8, 0.9), 0.85, 3)
        (0.8, 0.9)
        >>> unless_certain((1.0, 1.0), 1.0, 3)[0] < 0.6
        True
    """
    return wilson(value, count) if ends[0] == ends[1] and value in (0, 1) else ends


def wilson(share: float, count: int) -> Interval:
    """Return the score interval of a share of `count` independent cases; all of [0, 1] if there is none.

    Examples:
        >>> [round(end, 3) for end in wilson(0.5, 100)]
        [0.419, 0.581]
    """
    if count == 0:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    return round(max(middle - half, 0.0), 12), round(min(middle + half, 1.0), 12)
