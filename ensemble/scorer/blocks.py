"""Scores a pool's pairs in blocks, of which one at a time is in memory with its features.

1. The first model scores each block. What the comparison with the training needs of it is kept: about one pair per
   listing.
2. The second model sees scores alone, so it needs no block a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Self

import numpy as np

from ensemble.scorer.experience import Experience, Unlikeness, compared_pairs
from ensemble.scorer.model import StackedScorer
from shared.schema import PairFeatures, ScoredPairs

SCORED, COMPARED = "scored.parquet", "compared.parquet"


@dataclass(frozen=True)
class FirstScores:
    """A part of a pool's pairs, scored by the first model.

        FirstScores.of(description.block(slice(0, 1000)), scorer, threads=1)

    Args:
        scored: The pairs with their first scores.
        compared: Those of them that are compared with the training, with their features.
    """

    scored: ScoredPairs
    compared: PairFeatures

    @classmethod
    def of(cls, block: PairFeatures, scorer: StackedScorer, threads: int = 0) -> Self:
        """Return the first scores of a block of described pairs; errors as for `Scorer.score`."""
        return cls(scorer.first.score(block, threads), compared_pairs(block, scorer.first.importance()))

    @classmethod
    def of_blocks(cls, blocks: Iterable[PairFeatures], scorer: StackedScorer, threads: int = 0) -> Self:
        """Return the first scores of described pairs, one or more blocks one after the other; errors as for `of`."""
        return cls.concat([cls.of(block, scorer, threads) for block in blocks])

    def save(self, folder: Path) -> None:
        """Write two Parquet files."""
        self.scored.save(folder / SCORED)
        self.compared.save(folder / COMPARED)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        return cls(ScoredPairs.load(folder / SCORED), PairFeatures.load(folder / COMPARED))

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Return the first scores of one or more parts, one after the other."""
        scored = ScoredPairs.concat([part.scored for part in parts])
        return cls(scored, PairFeatures.concat([part.compared for part in parts]))


def score_blocks(
    blocks: Iterable[PairFeatures],
    scorer: StackedScorer,
    experience: Experience,
    xp: ModuleType = np,
    threads: int = 0,
) -> tuple[ScoredPairs, Unlikeness]:
    """Return all pairs of a pool with their final scores, and how far the pool is from the training.

        score_blocks(Description(pool, pairs).blocks(), matcher.scorer, matcher.experience)

    Args:
        blocks: The described pairs of the whole pool, one part after the other; at least one.
        scorer: The scorer.
        experience: What it was trained on.
        xp: Array module to work with, numpy or CuPy.
        threads: Number of threads of LightGBM; 0: all cores.

    Raises:
        ArtifactError: A feature that the first model was trained on is missing.
    """
    return rescore(FirstScores.of_blocks(blocks, scorer, threads), scorer, experience, xp, threads)


def rescore(
    first: FirstScores, scorer: StackedScorer, experience: Experience, xp: ModuleType = np, threads: int = 0
) -> tuple[ScoredPairs, Unlikeness]:
    """Return what `score_blocks` does, from the first scores of all pairs of a pool.

    rescore(first, matcher.scorer, matcher.experience)
    """
    unlikeness = experience.compare(first.compared, scorer.first.importance())
    return scorer.rescore(first.scored, xp, threads), unlikeness
