"""How good matches are: the ensemble, each branch alone, and the scores as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.candidate_pairs import missed, recall
from ensemble.config import TuneConfig
from ensemble.decision.decision import groups_of
from ensemble.decision.tuning import ScoredPool, tune
from ensemble.evaluation.calibration import calibration
from ensemble.scorer.training import is_match
from shared.metrics.matching import measure
from shared.schema import Candidates, Matches, Pairs


def evaluate_matches(matches: Matches, pairs: Pairs, codes: NDArray[np.integer]) -> dict[str, Any]:
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
    match = [is_match(pairs, codes) for pairs, codes in pools]
    return calibration(
        np.concatenate([pairs.score for pairs, _ in pools if pairs.score is not None]), np.concatenate(match)
    )


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
    alone = {"rules": ["threshold"], "objective": "row_f1", "veto": False, "pool_size": None, "drift": 0.0}
    rule = config.model_copy(update=alone | {"resamples": 2, "smoothing": 0.0})
    pools = list(zip(map(similarity_as_score, folds), fold_codes, strict=True))
    decision = tune(pools, rule).decision
    pairs = similarity_as_score(holdout)
    metrics = evaluate_matches(decision.apply(pairs), pairs, codes)
    return metrics | {"threshold": decision.threshold}


def similarity_as_score(candidates: Candidates) -> Pairs:
    """Return a branch's candidates, scored by nothing but their similarity."""
    score = np.clip(candidates.similarity, 0, 1)
    return Pairs(candidates.n, candidates.left, candidates.right, score=score)
