"""The threshold for a pool of another size than the ones it was tuned on.

A listing has the same true matches in a larger pool, but proportionally more listings that look as much like it. The
odds that a pair of given evidence is a match fall by the ratio of the sizes, and the threshold that stands for the same
odds rises (a prior shift: Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.4):

    logit(threshold at N) = logit(threshold at n) + drift · log(N / n)

With drift 1 this is the whole shift. How much of it a rule needs is measured: products are left out of the tuned pools
until a half and a quarter of them are there, and the drift is taken that finds the best thresholds for these. Their
pairs keep the scores of the whole pool. So features that adapt to the pool by themselves, such as ranks, are not given
credit for it, and the drift is rather too large than too small: towards larger pools the error is on the side of
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ensemble.certainty import by_product
from ensemble.objective import Figures, Objective, pair_precision
from shared.schema import Pairs

SHARES = (0.5, 0.25)  # of the products of every pool
REPEATS = 4  # draws of each share
DRIFTS = np.linspace(0, 1, 21)

ScoredPool = tuple[Pairs, NDArray[np.integer]]  # scored pairs, label codes [n]
Judge = Callable[[float], Figures]  # threshold → sums of `listing_figures`, [5]


def moved(threshold: float, drift: float, ratio: float) -> float:
    """The threshold for a pool `ratio` times as large, in (0, 1)."""
    threshold = min(max(threshold, 1e-6), 1 - 1e-6)
    odds = threshold / (1 - threshold) * ratio**drift
    return float(odds / (1 + odds))


def measured_drift(
    pools: Sequence[ScoredPool],
    judge: Callable[[Sequence[ScoredPool]], Judge],
    threshold: float,
    objective: Objective,
    seed: int,
) -> float:
    """The drift that does best in thinned pools; the smallest of equals, in [0, 1].

    Args:
        pools: What the threshold was tuned on.
        judge: Makes a rule ready for pools.
        threshold: The one tuned on them.
        objective: What it was tuned for. A demanded precision is to come out as demanded, no higher and no lower.
        seed: Of what is left out.
    """
    rng = np.random.default_rng(seed)
    size = sum(pairs.n for pairs, _ in pools)
    loss = np.zeros(len(DRIFTS))
    for share in SHARES:
        drawn = [thinned(pools, share, rng) for _ in range(REPEATS)]
        ready = [(judge(some), sum(pairs.n for pairs, _ in some) / size) for some in drawn]
        for at, drift in enumerate(DRIFTS.tolist()):
            sums = sum(judged(moved(threshold, drift, max(ratio, 1e-9))) for judged, ratio in ready)
            loss[at] += _loss(np.asarray(sums), objective)
    return float(DRIFTS[np.argmin(np.round(loss, 9))])


def _loss(sums: Figures, objective: Objective) -> float:
    if objective.least_precision is not None:
        return float(abs(pair_precision(sums) - objective.least_precision))
    return -float(objective.values(sums))


def thinned(pools: Sequence[ScoredPool], share: float, rng: np.random.Generator) -> list[ScoredPool]:
    """Pools without some of their products: about `share` of them stay, with all their listings and scored pairs."""
    left = []
    for pairs, codes in pools:
        product = by_product([codes])
        count = int(product.max(initial=-1)) + 1
        stays = np.isin(product, rng.permutation(count)[: max(round(share * count), 1)])
        row = np.cumsum(stays, dtype=np.int32) - np.int32(1)
        keep = stays[pairs.left] & stays[pairs.right]
        features = pairs.features[keep] if pairs.features.shape[1] else pairs.features
        score = None if pairs.score is None else pairs.score[keep]
        ends = row[pairs.left[keep]], row[pairs.right[keep]]
        left.append((Pairs(int(stays.sum()), *ends, features, score), codes[stays]))
    return left
