"""The start without any label: scores from the similarity of titles and images, and careful matches by them.

A pair's log odds are a fixed weighted sum of its evidence (`evidence.py`) and of its rank among the pool's pairs: in
most catalogs about as many pairs are true as there are listings. The scores rank pairs well in every catalog that was
measured and are of the right order; how many pairs are true in this one, only answers tell. So matches are decided
carefully until there are some.

The evidence says how a pair stands among those of its pool. In a pool with few true pairs the best of the others stand
high as well, so a pair whose titles have hardly anything in common has a low score wherever it stands.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.decision import Decision, decider
from ensemble.decision.guard import agreement, careful_threshold, is_unlike
from ensemble.features.conflicts import conflict_mask
from ensemble.review.evidence import Evidence
from shared.schema import Flags, PairFeatures, ScoredPairs

THRESHOLD = 0.4  # of careful matches, where two rules agree at it
LEAST_COSINE, UNLIKE = 0.2, 0.2  # of TF-IDF; the highest score of titles that are less alike
RANK_WEIGHT, KINK_WEIGHT = 0.4, 0.5  # log odds per e-fold of the rank, and what is added beyond rank n


def start_scores(described: PairFeatures) -> ScoredPairs:
    """Return scores of described pairs that need no label, with `conflict` if their features say it.

    Args:
        described: All candidate pairs of a pool of n listings.

    Examples:
        >>> import pandas as pd
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> table = pd.DataFrame({"tfidf_cosine": [0.25, 0.75]}, dtype=np.float32)
        >>> start_scores(PairFeatures(3, *rows, table)).score.astype(float).round(2).tolist()
        [0.39, 0.74]
    """
    log_odds = start_log_odds(Evidence.of(described), described.n)
    score = (1 / (1 + np.exp(-log_odds))).astype(np.float32)
    score = np.where(_are_unlike(described), np.minimum(score, np.float32(UNLIKE)), score)
    return ScoredPairs.of(described, score, conflict_mask(described))


def _are_unlike(described: PairFeatures) -> Flags:
    """Return which pairs have titles with hardly anything in common, and neither images nor near hashes, bool [p]."""
    nothing = np.full(len(described), np.nan)
    cosine, image, rank = (
        described.features.get(name, nothing) for name in ("tfidf_cosine", "image_cosine", "phash_rank_low")
    )
    return np.asarray((cosine < LEAST_COSINE) & ~np.isfinite(image) & ~(rank > 0))


def start_log_odds(evidence: Evidence, n: int) -> NDArray[np.float64]:
    """Return the log odds of the start, float64 [p], for the evidence on pairs of n listings."""
    fold = np.log(evidence.rank / max(n, 1))
    by_rank = -RANK_WEIGHT * fold - KINK_WEIGHT * np.maximum(fold, 0)
    total: NDArray[np.float64] = evidence.values.astype(np.float64) @ evidence.weights + by_rank
    return total


def careful_decision(pairs: ScoredPairs) -> Decision:
    """Return the decision to match by before anybody has answered: average link at a careful threshold.

    Where scores are right, `threshold` and `average_link` match nearly the same pairs. If they differ at the usual
    threshold, it is raised until they agree (`ensemble.decision.guard`).

    Args:
        pairs: Of the start, all of one pool.

    Examples:
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> careful_decision(ScoredPairs(3, *rows, np.array([0.9, 0.1], np.float32))).threshold
        0.4
    """
    by_link, by_pair = decider("average_link", pairs, 50), decider("threshold", pairs, 50)

    def agreement_at(threshold: float) -> float:
        return agreement(by_link(threshold), by_pair(threshold))

    threshold = THRESHOLD
    if is_unlike(agreement_at(threshold)):
        threshold = careful_threshold(threshold, agreement_at)
    return Decision("average_link", threshold, pool_size=pairs.n)
