"""Metrics of matches: by the ensemble, by each branch alone, and of the scores as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensemble.candidate_pairs import missed, recall
from ensemble.config import TuneConfig
from ensemble.decision.curves import ScoredPool, best_threshold
from ensemble.decision.decision import Decision, groups_of
from ensemble.evaluation.calibration import calibration
from shared.metrics.matching import measure, same_product
from shared.schema import Candidates, Matches, Rows, ScoredPairs


def evaluate_matches(matches: Matches, pairs: ScoredPairs, codes: NDArray[np.integer]) -> dict[str, Any]:
    """Return the metrics of matches, with missed true pairs counted by whether they were candidates.

    Args:
        matches: Of a pool of n listings.
        pairs: All candidate pairs of the pool, with its copies.
        codes: Label codes of the listings, int [n].

    Examples:
        >>> pairs = ScoredPairs(3, np.array([0], np.int32), np.array([1], np.int32), np.ones(1, np.float32))
        >>> rows = np.array([0, 1], np.int32)
        >>> matches = Matches(3, rows, rows[::-1].copy(), np.ones(2, np.float32))
        >>> metrics = evaluate_matches(matches, pairs, np.array([5, 5, 5]))
        >>> round(metrics["recall_of_candidates"], 3), round(metrics["missed_never_proposed"], 3)
        (0.333, 0.667)
    """
    metrics = measure(matches, groups_of(matches), codes).to_json()
    candidate_recall = recall(pairs.left, pairs.right, codes, pairs.copy_of)
    return metrics | {"recall_of_candidates": candidate_recall} | missed(candidate_recall, metrics["pair_recall"])


def evaluate_calibration(pools: Sequence[ScoredPool]) -> dict[str, Any]:
    """Return the calibration of the out-of-fold scores of fold pools, over all their candidate pairs."""
    match = [same_product(pairs.left, pairs.right, codes) for pairs, codes in pools]
    return calibration(np.concatenate([pairs.score for pairs, _ in pools]), np.concatenate(match))


def branch_threshold(
    folds: Sequence[Candidates],
    codes: Sequence[NDArray[np.integer]],
    copies: Sequence[Rows | None],
    config: TuneConfig,
) -> float:
    """Return the threshold at which one branch alone is best on the fold pools.

        branch_threshold([fold0, fold1], [codes0, codes1], [copies0, copies1], TuneConfig())

    Args:
        folds: Its candidates in every fold pool.
        codes: Label codes of the listings of these pools.
        copies: For each listing of these pools the row of the one of equal content that stands for it.
        config: Section `tune`: how many thresholds are tried, and how many matches a listing may have.
    """
    scored = [similarity_as_score(*fold) for fold in zip(folds, copies, strict=True)]
    pools = list(zip(scored, codes, strict=True))
    alone = Decision("threshold", 0.5, config.max_matches)
    return best_threshold(pools, alone, count=config.thresholds).threshold


def evaluate_branch(
    holdout: Candidates, codes: NDArray[np.integer], threshold: float, config: TuneConfig, copies: Rows | None = None
) -> dict[str, Any]:
    """Return the metrics of one branch alone on a holdout pool.

        evaluate_branch(holdout, codes, 0.8, TuneConfig())["row_f1"]

    Args:
        holdout: Its candidates in the holdout.
        codes: Label codes of the holdout's listings.
        threshold: The least similarity of a match, as by `branch_threshold`.
        config: Section `tune`: how many matches a listing may have.
        copies: For each listing the row of the one of equal content that stands for it.
    """
    pairs = similarity_as_score(holdout, copies)
    matches = Decision("threshold", threshold, config.max_matches).apply(pairs)
    return evaluate_matches(matches, pairs, codes) | {"threshold": threshold}


def mean_metrics(values: Sequence[Any]) -> Any:
    """Return the mean of metrics, number by number; of sizes, which are whole numbers, the nearest whole number.

    Args:
        values: The metrics of one or more pools: numbers, or lists or dictionaries of them, all alike.

    Examples:
        >>> mean_metrics([{"row_f1": 0.5, "pool_size": 3}, {"row_f1": 1.0, "pool_size": 6}])
        {'row_f1': 0.75, 'pool_size': 4}
    """
    first = values[0]
    if len(values) == 1:
        return first
    if isinstance(first, dict):
        return {name: mean_metrics([value[name] for value in values]) for name in first}
    if isinstance(first, list):
        return [mean_metrics(each) for each in zip(*values, strict=True)]
    mean = sum(values) / len(values)
    return round(mean) if isinstance(first, int) else mean


def similarity_as_score(candidates: Candidates, copies: Rows | None = None) -> ScoredPairs:
    """Return a branch's candidates with their cosine, clipped to [0, 1], as score.

    Examples:
        >>> row, rank = np.array([0], np.int32), np.array([1], np.int32)
        >>> similarity_as_score(Candidates(2, row, row + 1, np.array([0.5], np.float32), rank, rank)).score.tolist()
        [0.5]
    """
    return ScoredPairs.of(candidates, np.clip(candidates.similarity, 0, 1)).with_copies(copies)
