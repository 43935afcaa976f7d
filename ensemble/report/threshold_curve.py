"""Metrics against the threshold: what a stricter or a looser decision would have done."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.decision import Decision, decider, groups_of, known_duplicates
from ensemble.decision.pins import pinned
from ensemble.report.pool import MatchedPool
from shared.metrics.matching import measure

GRID = tuple(step / 50 for step in range(1, 50))  # thresholds at which a pool is decided anew


@dataclass(frozen=True)
class CurvePoint:
    """A pool decided at one threshold.

    Args:
        threshold: The threshold in this pool.
        groups: Number of groups of two or more listings.
        matched: Number of listings with a match.
        row_f1: Mean row F1; None where labels are not known, and so for the others.
        row_precision: Mean row precision.
        row_recall: Mean row recall.
        pair_precision: Share of the matched pairs that are true.
        pair_recall: Share of the true pairs that are matched.
    """

    threshold: float
    groups: int
    matched: int
    row_f1: float | None = None
    row_precision: float | None = None
    row_recall: float | None = None
    pair_precision: float | None = None
    pair_recall: float | None = None


@dataclass(frozen=True)
class ThresholdCurve:
    """A pool at all thresholds, and the same decisions in the catalog that was matched.

    Args:
        points: By rising threshold.
        chosen: Index of the point that was used.
        catalog: The catalog at the thresholds that are as strict in a pool of its size, point by point; [] where there
            is no other pool.
        rule: Name of the rule.
    """

    points: list[CurvePoint]
    chosen: int
    catalog: list[CurvePoint]
    rule: str


def threshold_curve(judged: MatchedPool, decision: Decision, catalog: MatchedPool | None = None) -> ThresholdCurve:
    """Return the metrics of a pool against the threshold, and the groups of the catalog at the same strictness.

    The correction for the size of a pool multiplies the odds of the threshold by a constant, and so does the ratio of
    the thresholds that were used in the two pools.

    Args:
        judged: The pool, with labels if they are known; its `facts` name the threshold that was used.
        decision: Rule and limits.
        catalog: The catalog that was matched, if it is another pool.

    Examples:
        >>> from ensemble.match_result import MatchResult
        >>> from shared.schema import Catalog, ScoredPairs
        >>> rows = np.array([0], np.int32), np.array([1], np.int32)
        >>> pairs, decision = ScoredPairs(2, *rows, np.array([0.7], np.float32)), Decision("threshold", 0.5)
        >>> catalog = Catalog.from_columns({"posting_id": ["a", "b"]})
        >>> pool = MatchedPool.of_result(MatchResult.from_scores(decision, catalog, pairs), np.array([0, 0]))
        >>> curve = threshold_curve(pool, decision)
        >>> curve.points[curve.chosen].row_f1, round(curve.points[-1].row_f1, 3)
        (1.0, 0.667)
    """
    used = decision.threshold if judged.facts.threshold is None else judged.facts.threshold
    thresholds = sorted({*GRID, used})
    chosen = thresholds.index(used)
    points = _points(judged, decision, thresholds, chosen)
    if catalog is None or catalog.facts.threshold is None:
        return ThresholdCurve(points, chosen, [], decision.rule)
    shift = _logit(catalog.facts.threshold) - _logit(used)
    shifted = [1 / (1 + math.exp(-_logit(threshold) - shift)) for threshold in thresholds]
    shifted[chosen] = catalog.facts.threshold
    return ThresholdCurve(points, chosen, _points(catalog, decision, shifted, chosen), decision.rule)


def _points(pool: MatchedPool, decision: Decision, thresholds: Sequence[float], chosen: int) -> list[CurvePoint]:
    """Return a pool at each of some thresholds, which rise; at the chosen one it is as it was matched.

    People's answers hold at all of them, and so does what the user knew of the pool.
    """
    pairs, pins = pinned(pool.pairs, pool.pins) if len(pool.pins) else (pool.pairs, None)
    duplicates = pool.facts.duplicates
    decide = decider(decision.rule, pairs, *decision.limits(duplicates), pins)
    known = known_duplicates(decision, pairs, duplicates, pins)
    points = []
    for place, threshold in enumerate(thresholds):
        matches = pool.matches if place == chosen else known(decide(threshold))
        groups = groups_of(matches)
        counts = int((np.bincount(groups) > 1).sum()), len(np.unique(matches.listing))
        if not is_labeled(pool.codes):
            points.append(CurvePoint(threshold, *counts))
            continue
        assert pool.codes is not None
        metrics = measure(matches, groups, pool.codes)
        rows = metrics.row_f1, metrics.row_precision, metrics.row_recall
        points.append(CurvePoint(threshold, *counts, *rows, metrics.pair_precision, metrics.pair_recall))
    return points


def is_labeled(codes: NDArray[np.integer] | None) -> bool:
    """Return whether any listing has a label.

    Examples:
        >>> is_labeled(None), is_labeled(np.array([-1, -1])), is_labeled(np.array([-1, 0]))
        (False, False, True)
    """
    return codes is not None and bool((codes >= 0).any())


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))
