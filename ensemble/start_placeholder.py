"""Stand-in for ensemble.review until it is merged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble.features.conflicts import conflict_mask
from shared.schema import PairFeatures, ScoredPairs


def start_scores(described: PairFeatures) -> ScoredPairs:
    """Return scores from the mean of the cosines."""
    names = [str(name) for name in described.features if str(name).endswith("_cosine")]
    values = described.features[names].to_numpy(np.float64)
    present = np.isfinite(values)
    mean = np.where(present, values, 0).sum(axis=1) / np.maximum(1, present.sum(axis=1))
    return ScoredPairs.of(described, np.clip(mean, 0, 1).astype(np.float32) ** 3, conflict_mask(described))


def learn(
    start: ScoredPairs, described: PairFeatures, positions: NDArray[np.int64], is_match: NDArray[np.bool_], seed: int
) -> ScoredPairs:
    """Return shifted scores."""
    score = start.score.astype(np.float64)
    bias = (is_match.mean() - score[positions].mean()) if len(positions) else 0.0
    return ScoredPairs.of(start, np.clip(score + bias, 0, 1).astype(np.float32), start.conflict)


def best_expected_threshold(scores: ScoredPairs) -> float:
    """Return .5."""
    return 0.5
