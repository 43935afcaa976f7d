"""How sure a choice between decisions is: a bootstrap over products, on figures that were computed once.

The products (label groups) of the pools are drawn with replacement. A listing keeps its figures whatever is drawn with
it, so a resample only weighs products anew, and all decisions are judged on the same resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.objective import Figures, Objective

LEVEL = 0.9  # of all intervals
Interval = tuple[float, float]


@dataclass(frozen=True)
class Choice:
    """Which of several decisions is chosen, and how sure that is.

    Args:
        best: Index of the one with the highest value; of equals the first.
        chosen: Index of the simplest that is as good within one standard error.
        interval: Of the chosen one's value, at `LEVEL`.
        behind: Of how far the chosen one stays behind the best one on the same products, at `LEVEL`.
    """

    best: int
    chosen: int
    interval: Interval
    behind: Interval


def by_product(pools: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    """Number of the product of every listing of every pool, [n]; an unlabeled listing is a product of its own."""
    products, start = [], 0
    for codes in pools:
        alone = np.where(codes >= 0, codes, codes.max(initial=-1) + 1 + np.arange(len(codes)))
        products.append(np.unique(alone, return_inverse=True)[1] + start)
        start += len(np.unique(alone))
    return np.concatenate(products).astype(np.int64)


def resampled(
    figures: Sequence[Figures], product: NDArray[np.int64], objective: Objective, count: int, seed: int
) -> Figures:
    """The objective of each decision on resampled products, float64 [count, decisions].

    Args:
        figures: Of each decision, of every listing: `listing_figures`, [n, 5] each.
        product: Number of each listing's product, [n].
        objective: What is judged.
        count: Resamples.
        seed: Of what is drawn.
    """
    products = int(product.max(initial=-1)) + 1
    sums = np.zeros((products, len(figures), figures[0].shape[1]))
    np.add.at(sums, product, np.stack(figures, axis=1))
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(products, size=products), minlength=products) for _ in range(count))
    return np.stack([objective.values(np.tensordot(weight.astype(np.float64), sums, axes=1)) for weight in drawn])


def choose(values: Sequence[float], resamples: Figures) -> Choice:
    """The simplest decision that stays behind the best one by no more than the standard error of their difference.

    It is the one-standard-error rule of Breiman, Friedman, Olshen and Stone (Classification and Regression Trees, 1984,
    section 3.4.3), on paired differences: decisions that agree on most listings are told apart by few products.

    Args:
        values: The objective of each decision, the simplest first; NaN for one that is out of the question.
        resamples: The same on resampled products, [count, decisions].
    """
    best = int(np.nanargmax(values))
    behind = resamples[:, [best]] - resamples
    error = behind.std(axis=0, ddof=1)
    chosen = next(at for at, value in enumerate(values) if values[best] - value <= error[at])
    return Choice(best, chosen, _interval(resamples[:, chosen]), _interval(behind[:, chosen]))


def _interval(values: Figures) -> Interval:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
