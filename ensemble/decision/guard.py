"""Careful decisions where a catalog is unlike those that the scorer was trained on.

Scores of unlike catalogs are far too high or too low, and nobody has labels there that would tell. But two rules tell:
where scores are right, `threshold` and `average_link` match nearly the same pairs; where they are not, single wrong
pairs chain listings that have little in common, and the two differ. The agreement of the two rules is the mean row F1
between their matches. In catalogs like those of the training it was .92 and more, in pools of a tenth to three times
the size; in unlike ones .5 to .7 (ensemble/RESULTS.md, "Catalogs of another kind"). There the threshold is raised until
the rules agree.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shared.schema import Matches, ScoredPairs

SIMILAR = 0.88  # least agreement of a catalog that is like those of the training
CAREFUL = 0.93  # least agreement at the threshold that is used elsewhere
STEPS = 20  # thresholds that are tried, evenly spread in logits


def agreement(one: Matches, other: Matches) -> float:
    """Return the mean row F1 between two sets of matches of the same listings, in [0, 1]; 1 for no listings.

    Examples:
        >>> pair = np.array([0, 1], np.int32), np.array([1, 0], np.int32), np.array([0.9, 0.9], np.float32)
        >>> matches, nothing = Matches(2, *pair), Matches(2, *(column[:0] for column in pair))
        >>> agreement(matches, matches), round(agreement(matches, nothing), 2)
        (1.0, 0.67)
    """
    if one.n == 0:
        return 1.0
    keys = [matches.listing.astype(np.int64) * one.n + matches.match for matches in (one, other)]
    both = one.listing[np.isin(keys[0], keys[1], assume_unique=True)]
    common, size, other_size = (1 + np.bincount(rows, minlength=one.n) for rows in (both, one.listing, other.listing))
    return float(np.mean(2 * common / (size + other_size)))


def is_unlike(agreed: float | None) -> bool:
    """Return whether a pool with this agreement is unlike those of the training; False where nobody looked.

    Examples:
        >>> is_unlike(0.7), is_unlike(0.95), is_unlike(None)
        (True, False, False)
    """
    return agreed is not None and agreed < SIMILAR


def careful_threshold(threshold: float, agreement_at: Callable[[float], float]) -> float:
    """Return the lowest of some thresholds above one at which the rules agree; the highest if they never do.

    Args:
        threshold: In [0, 1].
        agreement_at: Returns the agreement of the rules at a threshold.

    Examples:
        >>> round(careful_threshold(0.5, lambda threshold: threshold), 2)
        0.93
    """
    start = np.log(max(threshold, 1e-6) / max(1 - threshold, 1e-6))
    steps = 1 / (1 + np.exp(-np.linspace(start, max(start, 0) + 5, STEPS)))
    return next((float(step) for step in steps if agreement_at(float(step)) >= CAREFUL), float(steps[-1]))


def expected_share(pairs: ScoredPairs) -> float:
    """Return the share of the listings that are expected to have a match, by the scores as probabilities, in [0, 1].

    A listing has none if none of its pairs is a match: with the probability Π(1 - score), as if pairs were independent.
    Listings with equal content have each other.

    Examples:
        >>> rows = np.array([[0, 0], [1, 2]], np.int32)
        >>> expected_share(ScoredPairs(4, *rows, np.array([0.5, 0.5], np.float32)))
        0.4375
    """
    if pairs.n == 0:
        return 0.0
    alone = np.zeros(pairs.n)
    logarithm = np.log1p(-np.minimum(pairs.score.astype(np.float64), 1 - 1e-9))
    for rows in (pairs.left, pairs.right):
        alone += np.bincount(rows, weights=logarithm, minlength=pairs.n)
    if pairs.copy_of is not None:
        has_copy = np.bincount(pairs.copy_of, minlength=pairs.n)[pairs.copy_of] > 1
        alone = np.where(has_copy, -np.inf, alone)
    return float(np.mean(1 - np.exp(alone)))
