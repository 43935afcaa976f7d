"""Reliability of the scores: of the pairs that score .7, are seven in ten matches?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ensemble.decision.bootstrap import wilson


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
