"""Reliability of the scores: of the pairs that score .7, are seven in ten matches?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Z = 1.6448536269514722  # of a 90 % interval


@dataclass(frozen=True)
class ReliabilityBin:
    """Pairs of about the same score.

    Args:
        score: Their mean score, in [0, 1].
        matches: Share of them that are matches, in [0, 1].
        low: Lower end of the 90 % interval of that share.
        high: Upper end of it.
        pairs: Number of pairs.
    """

    score: float
    matches: float
    low: float
    high: float
    pairs: int


def reliability_bins(curve: Sequence[Mapping[str, float]]) -> list[ReliabilityBin]:
    """Return the bins of a reliability curve with the intervals of Wilson (1927) of their shares of matches.

    Args:
        curve: As `ensemble.evaluation.calibration.reliability` returns it.

    Examples:
        >>> reliability_bins([{"pairs": 4, "score": 0.5, "matches": 0.5}])[0].low < 0.25
        True
    """
    return [
        ReliabilityBin(each["score"], each["matches"], *wilson(each["matches"], int(each["pairs"])), int(each["pairs"]))
        for each in curve
    ]


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 90 % score interval of a share of `count` independent cases; all of [0, 1] if there is none.

    Examples:
        >>> [round(end, 3) for end in wilson(0.5, 100)]
        [0.419, 0.581]
    """
    if count == 0:
        return 0.0, 1.0
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count)) / (1 + Z * Z / count)
    return max(middle - half, 0.0), min(middle + half, 1.0)
