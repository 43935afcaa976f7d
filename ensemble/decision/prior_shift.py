"""The threshold for a pool of another kind than those it was tuned on: of another size, or with fewer duplicates.

A listing has the same true matches in a larger pool, but proportionally more listings that look like it. The odds that
a pair with given evidence is a match fall by the ratio of the pool sizes, and the threshold that stands for the same
odds rises (Saerens, Latinne and Decaestecker 2002, Neural Computation 14(1), equation 2.4):

    logit(threshold at N) = logit(threshold at n) + prior_shift · log(N / n)

A `prior_shift` of 1 is the full correction. A scorer that looks at ranks and densities adapts to the size in part by
itself, so a smaller strength lost least from a tenth to thirty times the size (ensemble/RESULTS.md, "The size of the
pool"). The odds change by `MAX_ODDS_RATIO` at most: in a much larger pool nothing would match any more, because a
scorer gives no score for such odds; and in a tiny pool everyone is someone's nearest neighbor, so that scores mean
less.

Where few listings have a match, a wrong match costs a listing more than where it also has right ones, so the threshold
of the highest row F1 rises. The share of the listings that are expected to have a match follows from the scores
(`guard.expected_share`), and the threshold moves with it:

    logit(threshold at share s) = logit(threshold at share r) + singles_shift · (r - s)

The strength `singles_shift` is tuned on pools thinned from those of the training.
"""

from __future__ import annotations

import math

MAX_ODDS_RATIO = 8.0


def shift_threshold(threshold: float, prior_shift: float, size_ratio: float) -> float:
    """Return the threshold for a pool `size_ratio` times as large, in (0, 1).

    Args:
        threshold: In [0, 1].
        prior_shift: Strength of the correction, in [0, 1].
        size_ratio: Size of the new pool divided by that of the pool the threshold is for.

    Examples:
        >>> round(shift_threshold(0.5, 1.0, 3.0), 6)
        0.75
    """
    threshold = min(max(threshold, 1e-6), 1 - 1e-6)
    factor = min(max(size_ratio**prior_shift, 1 / MAX_ODDS_RATIO), MAX_ODDS_RATIO)
    odds = threshold / (1 - threshold) * factor
    return float(odds / (1 + odds))


def shift_for_singles(threshold: float, singles_shift: float, fall: float) -> float:
    """Return the threshold for a pool with another share of listings that are expected to have a match, in (0, 1).

    Args:
        threshold: In [0, 1].
        singles_shift: Strength of the correction, 0 or more.
        fall: The share that the threshold is for, less that of the new pool, in [-1, 1].

    Examples:
        >>> round(shift_for_singles(0.5, 2.0, 0.5), 6)  # odds of 1 become odds of e
        0.731059
    """
    threshold = min(max(threshold, 1e-6), 1 - 1e-6)
    odds = threshold / (1 - threshold) * math.exp(singles_shift * fall)
    return float(odds / (1 + odds))
