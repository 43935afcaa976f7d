"""Why pairs have their scores: what each family of features added, from the features and the scorer of a run."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np

from ensemble.explain.contributions import Contributions, contributions
from ensemble.explain.families import feature_in_words, value_in_words
from ensemble.report.cards import Explain, Reasons, Step
from ensemble.scorer.model import StackedScorer
from shared.schema import PairFeatures, locate, pair_key

FEATURES = 6  # single features that are listed of a pair


def explainer(scorer: StackedScorer, described: PairFeatures, xp: ModuleType, threads: int) -> Explain:
    """Return a function that says why pairs of rows have their scores; None for those that were never scored.

        explainer(scorer, load_features(folder), np, threads=1)([(0, 7)])

    Args:
        scorer: The scorer.
        described: All candidate pairs of the pool with their features.
        xp: Array module to work with, numpy or CuPy.
        threads: Number of threads of LightGBM.
    """

    def explain(pairs: Sequence[tuple[int, int]]) -> list[Reasons | None]:
        ends = np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1)
        position, is_candidate = locate(pair_key(ends[:, 0], ends[:, 1], described.n), described.key)
        if not is_candidate.any():
            return [None] * len(pairs)
        added = contributions(scorer, described, position[is_candidate], xp, threads)
        number = np.cumsum(is_candidate) - 1
        return [reasons_of(added, number[place]) if is_candidate[place] else None for place in range(len(pairs))]

    return explain


def reasons_of(added: Contributions, position: int) -> Reasons:
    """Return why one of some pairs has its score: the families by falling effect, and the strongest features."""
    values = added.log_odds[position]
    steps = [Step(added.families[index], float(values[index])) for index in np.argsort(-np.abs(values), kind="stable")]
    features = [
        (feature_in_words(each.feature), value_in_words(each.value), each.log_odds)
        for each in added.first.strongest(position, FEATURES)
    ]
    return Reasons(float(added.base[position]), steps, features)
