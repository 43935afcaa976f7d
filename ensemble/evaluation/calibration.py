"""Whether scores can be read as probabilities: of the pairs that score .7, are seven in ten matches?

Reliability curve and expected calibration error as in Guo et al. 2017 (arXiv 1706.04599, section 2), for the
probability of a match: 15 bins of equal width. Bins of equal mass would tell little here, since nearly all candidate
pairs score close to 0 and every score of interest would share one bin. For the same reason the error over all pairs is
small whatever the scorer does; beside it stands the error over the open pairs, that score neither near 0 nor near 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.schema import Flags, Floats

BINS = 15
OPEN = (0.05, 0.95)  # a pair that scores between these is open


def calibration(score: Floats, match: Flags) -> dict[str, Any]:
    """Judge scores as probabilities; every candidate pair counts once, whatever its row weight.

    Args:
        score: Out-of-fold scores of candidate pairs, float32 [p] in [0, 1].
        match: Whether the two listings are labeled as the same product, bool [p].

    Returns:
        `pairs`; `ece`, the expected calibration error over them in [0, 1]; `open_pairs` and `open_ece`, the same over
        the open pairs; `reliability`, the curve over all pairs. An error is None where there is no pair.
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
    """Mean score and share of matches in every bin (m/bins, (m + 1)/bins] that holds a pair; the first one holds 0 too.

    Returns:
        By rising score, of each bin: `pairs`, mean `score`, share of `matches`.
    """
    inner = np.arange(1, bins) / bins
    at = np.searchsorted(inner, score.astype(np.float64), side="left")
    pairs = np.bincount(at, minlength=bins)
    scores = np.bincount(at, weights=score, minlength=bins)
    matches = np.bincount(at, weights=match, minlength=bins)
    return [
        {"pairs": int(pairs[b]), "score": float(scores[b] / pairs[b]), "matches": float(matches[b] / pairs[b])}
        for b in np.flatnonzero(pairs)
    ]


def expected_error(curve: list[dict[str, float]]) -> float | None:
    """Mean over pairs of the gap between their bin's mean score and its share of matches; None without a pair."""
    pairs = sum(b["pairs"] for b in curve)
    return sum(b["pairs"] * abs(b["score"] - b["matches"]) for b in curve) / pairs if pairs else None
