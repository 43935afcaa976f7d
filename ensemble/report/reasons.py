"""Why pairs have their scores: what each family of features added, from the features and the scorer of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from ensemble.explain.contributions import Contributions, contributions, near_pairs
from ensemble.explain.families import feature_in_words, value_in_words
from ensemble.features.assemble import joined
from ensemble.features.files import read_blocks, read_rows
from ensemble.report.cards import Explain, Reasons, Step
from ensemble.scorer.model import StackedScorer
from shared.schema import Flags, PairFeatures, locate, pair_key

FEATURES = 6  # single features that are listed of a pair


def explainer(scorer: StackedScorer, described: Path, xp: ModuleType, threads: int) -> Explain:
    """Return a function that says why pairs of rows have their scores; None for those that were never scored.

        explainer(scorer, run.open(features_name("catalog")), np, threads=1)([(0, 7)])

    Each call reads all files once, but keeps only what the scores of its pairs depend on: a pool of a million listings
    has more features than fit into memory.

    Args:
        scorer: The scorer.
        described: Folder with all candidate pairs of the pool and their features.
        xp: Array module to work with, numpy or CuPy.
        threads: Number of threads of LightGBM.
    """

    def explain(pairs: Sequence[tuple[int, int]]) -> list[Reasons | None]:
        every = read_rows(described)
        ends = np.sort(np.array(pairs, dtype=np.int64).reshape(-1, 2), axis=1)
        position, is_candidate = locate(pair_key(ends[:, 0], ends[:, 1], every.n), every.key)
        if not is_candidate.any():
            return [None] * len(pairs)
        rows = position[is_candidate]
        is_near = near_pairs(every, rows)
        near = joined(_kept(read_blocks(described), is_near), every.only(is_near))
        added = contributions(scorer, near, np.cumsum(is_near)[rows] - 1, xp, threads)
        number = np.cumsum(is_candidate) - 1
        return [reasons_of(added, number[place]) if is_candidate[place] else None for place in range(len(pairs))]

    return explain


def _kept(blocks: Iterable[PairFeatures], keep: Flags) -> Iterator[PairFeatures]:
    """Yield of each block the pairs that are kept; `keep` is of all blocks, one after the other, bool [p]."""
    start = 0
    for block in blocks:
        yield block.only(keep[start : start + len(block)])
        start += len(block)


def reasons_of(added: Contributions, position: int) -> Reasons:
    """Return why one of some pairs has its score: the families by falling effect, and the strongest features."""
    values = added.log_odds[position]
    steps = [Step(added.families[index], float(values[index])) for index in np.argsort(-np.abs(values), kind="stable")]
    features = [
        (feature_in_words(each.feature), value_in_words(each.value), each.log_odds)
        for each in added.first.strongest(position, FEATURES)
    ]
    return Reasons(float(added.base[position]), steps, features)
