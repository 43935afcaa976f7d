"""The threshold for a pool of another size than the ones it was tuned on.

A listing has the same true matches in a larger pool, but proportionally more listings that look as much like it. The
odds that a pair of given evidence is a match fall by the ratio of the sizes, and the threshold that stands for the same
odds rises (a prior shift: Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.4):

    logit(threshold at N) = logit(threshold at n) + drift · log(N / n)

With drift 1 this is the whole shift; less, where what the scorer knows adapts to the pool by itself. It goes no further
than for a pool `FURTHEST` times as large or small. In a much larger one a product's siblings have long been there, and
no score of a scorer that saw a few hundred listings stands for such odds: nothing would match any more. In tiny pools
everybody is somebody's nearest neighbor, and scores stand for less.
"""

from __future__ import annotations

FURTHEST = 8.0


def moved(threshold: float, drift: float, ratio: float) -> float:
    """The threshold for a pool `ratio` times as large, in (0, 1)."""
    threshold = min(max(threshold, 1e-6), 1 - 1e-6)
    odds = threshold / (1 - threshold) * min(max(ratio, 1 / FURTHEST), FURTHEST) ** drift
    return float(odds / (1 + odds))
