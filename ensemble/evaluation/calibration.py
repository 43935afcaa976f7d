"""Calibration of the scores: of the pairs that score .7, are seven in ten matches?

Reliability curve and expected calibration error as in Guo et al. 2017 (arXiv 1706.04599, section 2), for the
probability of a match, with 15 bins of equal width. Bins of equal mass would say little here: nearly all candidate
pairs score close to 0, so every score of interest would fall into one bin. For the same reason the error over all pairs
is small for any scorer. So it is given also for the open pairs, which score neither near 0 nor near 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.schema import Flags, Floats

BINS = 15
OPEN = (0.05, 0.95)  # a pair with a score in this range is open


def calibration(score: Floats, match: Flags) -> dict[str, Any]:
    """Return the calibration of scores as probabilities; every pair counts once, whatever its weight in training.

    Args:
        score: Out-of-fold scores of candidate pairs, float32 [p] in [0, 1].
        match: Whether the two listings sell the same product, bool [p].

    Returns:
        `pairs`, the number of pairs; `ece`, their expected calibration error in [0, 1]; `open_pairs` and `open_ece`,
        the same for the open pairs; `reliability`, the curve over all pairs. An error is None where there is no pair.

    Examples:
        >>> metrics = calibration(np.array([0.5, 0.5, 0.5, 0.5], np.float32), np.array([True, True, True, False]))
        >>> metrics["pairs"], metrics["ece"]
        (4, 0.25)
    """
    is_open = (score >= OPEN[0]) & (score <= OPEN[1])
    curve = reliability(score, match)
    return {
        "pairs": len(score),
        "ece": expected_error(curve),
        "open_pairs": int(is_open.sum()),
        "open_ece": expected_error(reliability(score[is_open], match[is_open])),
        "reliability": curve,
    }


def reliability(score: Floats, match: Flags, bins: int = BINS) -> list[dict[str, float]]:
    """Return mean score and share of matches of every bin (m/bins, (m + 1)/bins] with a pair; 0 is in the first bin.

    scikit-learn's `calibration_curve` has the same bins, but does not return the number of pairs that the error needs.

    Args:
        score: float32 [p] in [0, 1].
        match: bool [p].
        bins: Number of bins.

    Returns:
        For each bin, by rising score: the number of `pairs`, their mean `score`, their share of `matches`.

    Examples:
        >>> reliability(np.array([0.25, 0.75], np.float32), np.array([False, True]), bins=2)
        [{'pairs': 1, 'score': 0.25, 'matches': 0.0}, {'pairs': 1, 'score': 0.75, 'matches': 1.0}]
    """
    edges = np.arange(1, bins) / bins
    index = np.searchsorted(edges, score.astype(np.float64), side="left")
    pairs = np.bincount(index, minlength=bins)
    scores = np.bincount(index, weights=score, minlength=bins)
    matches = np.bincount(index, weights=match, minlength=bins)
    return [
        {"pairs": int(pairs[b]), "score": float(scores[b] / pairs[b]), "matches": float(matches[b] / pairs[b])}
        for b in np.flatnonzero(pairs)
    ]


def expected_error(curve: list[dict[str, float]]) -> float | None:
    """Return the mean over pairs of |mean score - share of matches| of their bin; None if there is no pair.

    Examples:
        >>> expected_error([{"pairs": 3, "score": 0.5, "matches": 0.75}, {"pairs": 1, "score": 1.0, "matches": 1.0}])
        0.1875
    """
    pairs = sum(b["pairs"] for b in curve)
    return sum(b["pairs"] * abs(b["score"] - b["matches"]) for b in curve) / pairs if pairs else None
