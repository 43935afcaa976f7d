"""The ways in which the systems of an ablation score pairs, and the measurement of a system.

A baseline scores by the branches' similarities. Whatever the scores are, the decision is tuned on the fold pools and
applied to the pool to be measured on as in a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensemble.candidate_pairs import union
from ensemble.config import TuneConfig
from ensemble.decision.curves import ScoredPool, best_threshold
from ensemble.decision.decision import Decision
from ensemble.decision.tuning import tune
from ensemble.evaluation.holdout import evaluate_matches, similarity_as_score
from shared.metrics.matching import label_codes, row_scores
from shared.schema import CandidatePairs, Candidates, Catalog, Floats, PairFeatures, ScoredPairs, locate

SWEEPS = 5  # times that the threshold of every branch is tuned with those of the others fixed


@dataclass(frozen=True)
class Material:
    """The data that a system may score pairs by; lists have one entry per pool, the fold pools first, the holdout last.

        Material(scores, features, {"tfidf": candidates}, codes, TuneConfig())

    Args:
        scores: The scorer's scores, out of fold in the fold pools, with the copies of the listings.
        features: The described pairs.
        candidates: Branch → its candidates of each pool.
        codes: Label codes of the fold pools' listings.
        tuning: Section `tune`.
        thinned: Of each fold pool those thinned from it, with the scorer's out-of-fold scores.
    """

    scores: list[ScoredPairs]
    features: list[PairFeatures]
    candidates: Mapping[str, list[Candidates]]
    codes: list[NDArray[np.integer]]
    tuning: TuneConfig
    thinned: list[list[ScoredPool]] = field(default_factory=list)


By = Literal["scorer", "similarity", "mean", "any"]  # how pairs are scored; see `SCORES`


def by_scorer(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Return all pairs with the scores of the scorer, which are out of fold in the fold pools."""
    return material.scores


def by_similarity(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Return the candidates of the one branch with their similarity as score."""
    return [similarity_as_score(candidates) for candidates in material.candidates[branches[0]]]


def by_mean(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Return all pairs with the mean cosine of the branches that have evidence of both listings as score."""
    return [_scored(p, np.nan_to_num(p.features["all_cosine"].to_numpy())) for p in material.features]


def by_any(material: Material, branches: Sequence[str]) -> list[ScoredPairs]:
    """Return the pairs that any of some branches proposes, scored by the branch that is farthest above its threshold.

    The thresholds are tuned on the fold pools: one at a time with the others fixed, until row F1 no longer rises. A
    score of .5 stands for a branch's threshold; a pair has the best score of any branch.
    """
    views = list(zip(*(material.candidates[name] for name in branches), strict=True))
    pairs = [union(candidates, candidates[0].n) for candidates in views]
    similarity = [np.stack([_spread(p, c) for c in candidates]) for p, candidates in zip(pairs, views, strict=True)]
    thresholds = any_thresholds([*zip(pairs, similarity, material.codes, strict=False)], material.tuning)
    return [_scored(p, best_scaled(s, thresholds)) for p, s in zip(pairs, similarity, strict=True)]


SCORES: Mapping[By, Callable[[Material, Sequence[str]], list[ScoredPairs]]] = {
    "scorer": by_scorer,
    "similarity": by_similarity,
    "mean": by_mean,
    "any": by_any,
}


def any_thresholds(
    pools: Sequence[tuple[CandidatePairs, Floats, NDArray[np.integer]]], tuning: TuneConfig
) -> NDArray[np.float64]:
    """Return the thresholds at which the union of branches has the best row F1, float64 [branches].

    Args:
        pools: Of each fold pool the pairs, their similarities [branches, p] in [0, 1], and label codes.
        tuning: Section `tune`.
    """
    thresholds = np.full(len(pools[0][1]), 2.0)  # no similarity reaches it: every branch begins without a match
    plain, best = Decision("threshold", 0.5, tuning.max_matches), -1.0
    for _ in range(SWEEPS):
        previous_best = best
        for branch in range(len(thresholds)):
            others = np.delete(np.arange(len(thresholds)), branch)
            reached = [(s[others] >= thresholds[others, None]).any(axis=0) for _, s, _ in pools]
            scores = [_scored(p, np.where(f, 1, s[branch])) for (p, s, _), f in zip(pools, reached, strict=True)]
            scored_pools = [(p, codes) for p, (_, _, codes) in zip(scores, pools, strict=True)]
            tuned = best_threshold(scored_pools, plain, count=tuning.thresholds)
            if tuned.row_f1 > best:
                best, thresholds[branch] = tuned.row_f1, tuned.threshold
        if best <= previous_best:
            break
    return thresholds


def best_scaled(similarity: Floats, thresholds: NDArray[np.float64]) -> Floats:
    """Return the best score of any branch, .5 at its threshold, float32 [p] in [0, 1].

    Args:
        similarity: float32 [branches, p] in [0, 1].
        thresholds: float64 [branches], none of them 0 or 1.

    Examples:
        >>> best_scaled(np.array([[0.5, 0.25], [0.5, 1.0]], np.float32), np.array([0.5, 0.8])).tolist()
        [0.5, 1.0]
    """
    t = thresholds[:, None]
    above = 0.5 + 0.5 * (similarity - t) / (1 - t)
    scaled: Floats = np.where(similarity >= t, above, 0.5 * similarity / t).max(axis=0).astype(np.float32)
    return scaled


def _spread(pairs: CandidatePairs, candidates: Candidates) -> Floats:
    """Return a branch's similarity of each pair, float32 [p]; 0 for a pair that it did not propose."""
    positions, is_candidate = locate(pairs.key, candidates.key)
    out = np.zeros(len(pairs), dtype=np.float32)
    out[is_candidate] = np.clip(candidates.similarity, 0, 1)[positions[is_candidate]]
    return out


def _scored(pairs: CandidatePairs, score: NDArray[Any]) -> ScoredPairs:
    return ScoredPairs.of(pairs, np.clip(score, 0, 1).astype(np.float32))


def judge(
    by: By, branches: Sequence[str], material: Material, catalog: Catalog
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Tune the decision of a system, match by it, and return its metrics.

        metrics, row_f1 = judge("similarity", ["tfidf"], material, catalog)

    Args:
        by: The way in which its pairs are scored.
        branches: The branches that it scores by, if it scores by their similarities.
        material: The data that it may score by.
        catalog: The n labeled listings to measure it on.

    Returns:
        The metrics, with rule, threshold and `at_best`: row F1 at the best threshold on the same pairs; and
        the row F1 of each listing, float64 [n].
    """
    tuning = material.tuning
    copies = [scored.copy_of for scored in material.scores]
    scored = SCORES[by](material, branches)
    *of_folds, pairs = (pairs.with_copies(of_pool) for pairs, of_pool in zip(scored, copies, strict=True))
    thinned = material.thinned if by == "scorer" else ()
    decision = tune([*zip(of_folds, material.codes, strict=True)], tuning, thinned=thinned).decision
    codes = label_codes(catalog.labels)
    outcome = decision.decide(pairs, catalog.ids)
    metrics = evaluate_matches(outcome.matches, pairs, codes)
    metrics |= {"rule": decision.rule, "threshold": outcome.threshold}
    metrics["at_best"] = max(metrics["row_f1"], _best(decision, pairs, codes, tuning))
    return metrics, row_scores(outcome.matches, codes)[:, 2]


def _best(decision: Decision, pairs: ScoredPairs, codes: NDArray[np.integer], tuning: TuneConfig) -> float:
    """Return the row F1 of the decision's rule at the best threshold on the same pairs."""
    raw = replace(decision, prior_shift=0.0, singles_shift=0.0)
    best = best_threshold([(pairs, codes)], raw, count=tuning.thresholds)
    return best.row_f1
