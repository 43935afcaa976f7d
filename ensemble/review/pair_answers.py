"""The answers about candidate pairs of a pool, as arrays to learn from and to estimate by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ensemble.answers.answers import PoolAnswers
from ensemble.review.questions import Positions
from shared.schema import CandidatePairs, Flags, locate, pair_key


@dataclass(frozen=True)
class PairAnswers:
    """The answers yes and no about candidate pairs of a pool; nobody learns from `unsure`.

    Args:
        positions: Positions of the pairs, int64 [a].
        is_match: Whether the answer is yes, bool [a].
        stratum: The stratum that each question was drawn from, int64 [a]; -1 where it was not drawn by stratum.

    Examples:
        >>> PairAnswers(np.array([4]), np.array([True]), np.array([-1])).is_match.tolist()
        [True]
    """

    positions: Positions
    is_match: Flags
    stratum: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    @classmethod
    def of(cls, answers: PoolAnswers, pairs: CandidatePairs) -> Self:
        """Return the answers about pairs that some branch proposed; those about other pairs are left out.

        Args:
            answers: Of the n listings of the pool.
            pairs: Candidate pairs of the same pool.
        """
        position, is_candidate = locate(pair_key(answers.left, answers.right, pairs.n), pairs.key)
        verdict = answers.verdict
        used = np.asarray(is_candidate) & (verdict != "unsure")
        stratum = [-1 if answer.stratum is None else answer.stratum for answer in answers.answers]
        return cls(
            np.asarray(position)[used].astype(np.int64),
            (verdict == "yes")[used],
            np.array(stratum, dtype=np.int64)[used],
        )
