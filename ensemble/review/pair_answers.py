"""The answers about candidate pairs of a pool, as arrays to learn from and to estimate by."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ensemble.answers.answers import PoolAnswers
from ensemble.review.questions import Positions
from shared.schema import CandidatePairs, Flags, locate, pair_key


def _nothing() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class PairAnswers:
    """The answers about candidate pairs of a pool; nobody learns from `unsure`, but an estimate has to know of it.

    Args:
        positions: Positions of the pairs with the answer yes or no, int64 [a].
        is_match: Whether the answer is yes, bool [a].
        stratum: The stratum that each question was drawn from, int64 [a]; -1 where it was not drawn by stratum.
        unsure: Positions of the pairs about which everybody is unsure, int64 [u].
        unsure_stratum: The stratum that each of those was drawn from, int64 [u], or -1.

    Examples:
        >>> PairAnswers(np.array([4]), np.array([True]), np.array([-1])).is_match.tolist()
        [True]
    """

    positions: Positions = field(default_factory=_nothing)
    is_match: Flags = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    stratum: NDArray[np.int64] = field(default_factory=_nothing)
    unsure: Positions = field(default_factory=_nothing)
    unsure_stratum: NDArray[np.int64] = field(default_factory=_nothing)

    def __len__(self) -> int:
        """Return the number of answers yes and no."""
        return len(self.positions)

    @classmethod
    def of(cls, answers: PoolAnswers, pairs: CandidatePairs) -> Self:
        """Return the answers about pairs that some branch proposed; those about other pairs are left out.

        Args:
            answers: Of the n listings of the pool.
            pairs: Candidate pairs of the same pool.
        """
        position, is_candidate = locate(pair_key(answers.left, answers.right, pairs.n), pairs.key)
        verdict, stratum = answers.verdict, [-1 if each.stratum is None else each.stratum for each in answers.answers]
        return cls._split(np.asarray(position), np.asarray(is_candidate), verdict, np.array(stratum, dtype=np.int64))

    @classmethod
    def _split(cls, position: Positions, used: Flags, verdict: NDArray[np.str_], stratum: NDArray[np.int64]) -> Self:
        """Return the answers that are `used`, those that say something apart from the others."""
        sure, unsure = used & (verdict != "unsure"), used & (verdict == "unsure")
        position = position.astype(np.int64)
        return cls(position[sure], (verdict == "yes")[sure], stratum[sure], position[unsure], stratum[unsure])

    def joined(self, position: Positions, verdict: NDArray[np.str_], stratum: NDArray[np.int64]) -> Self:
        """Return these answers and further ones about other pairs.

        Args:
            position: Positions of the pairs, int64 [k].
            verdict: `yes`, `no` or `unsure`, str [k].
            stratum: The stratum that each question was drawn from, int64 [k]; -1 where it was not drawn by stratum.
        """
        added = self._split(position, np.ones(len(position), dtype=np.bool_), verdict, stratum)
        names = (each.name for each in fields(self))
        return type(self)(*(np.append(getattr(self, name), getattr(added, name)) for name in names))
