"""How good matches are: the ensemble, each branch alone, and the scores as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.candidate_pairs import missed, recall
from ensemble.config import TuneConfig
from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.tuning import ScoredPool, best_threshold
from ensemble.evaluation.calibration import calibration
from shared.metrics.matching import measure, same_product
from shared.schema import CandidatePairs, Candidates, Matches, ScoredPairs


def evaluate_matches(matches: Matches, pairs: CandidatePairs, codes: NDArray[np.integer]) -> dict[str, Any]:
    """Return the metrics of what was decided; true pairs that were missed are told apart by whether they were proposed.

    Args:
        matches: Of a pool of n listings.
        pairs: All candidate pairs of the pool.
        codes: Label codes of the listings, int [n].
    """
    metrics = measure(matches, groups_of(matches), codes).to_json()
    proposed = recall(pairs.left, pairs.right, codes)
    return metrics | {"recall_of_candidates": proposed} | missed(proposed, metrics["pair_recall"])


def evaluate_calibration(pools: Sequence[ScoredPool]) -> dict[str, Any]:
    """Return how well the out-of-fold scores of fold pools do as probabilities, over all their candidate pairs."""
    match = [same_product(pairs.left, pairs.right, codes) for pairs, codes in pools]
    return calibration(np.concatenate([pairs.score for pairs, _ in pools]), np.concatenate(match))


def evaluate_branch(
    folds: Sequence[Candidates],
    fold_codes: Sequence[NDArray[np.integer]],
    holdout: Candidates,
    codes: NDArray[np.integer],
    config: TuneConfig,
) -> dict[str, Any]:
    """Return the metrics of one branch alone on the holdout, at the threshold of its similarity that is best elsewhere.

    Args:
        folds: Its candidates in every fold pool.
        fold_codes: Label codes of the listings of these pools.
        holdout: Its candidates in the holdout.
        codes: Label codes of the holdout's listings.
        config: Section `tune`: how many thresholds are tried, and how many matches a listing may have.
    """
    pools = list(zip(map(similarity_as_score, folds), fold_codes, strict=True))
    best = best_threshold(pools, "threshold", count=config.thresholds, max_matches=config.max_matches)
    pairs = similarity_as_score(holdout)
    matches = Decision("threshold", best.threshold, config.max_matches).apply(pairs)
    return evaluate_matches(matches, pairs, codes) | {"threshold": best.threshold}


def similarity_as_score(candidates: Candidates) -> ScoredPairs:
    """Return a branch's candidates with their cosine, clipped to [0, 1], as score."""
    return ScoredPairs.of(candidates, np.clip(candidates.similarity, 0, 1))
