"""Reviews with answers that are simulated from labels: how good the matches are after so many answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ensemble.review.learner import Learner, learned_decision, with_answers
from ensemble.review.quality import Estimate, estimate, is_matched
from ensemble.review.questions import Positions, is_answered, next_questions
from ensemble.review.start import careful_decision
from shared.metrics.matching import row_f1, same_product
from shared.schema import Flags, PairFeatures, ScoredPairs

BATCH = 25  # answers between two fits
MOST_LABELS = 8  # labels per listing that the ceiling is learned from; hardly any other pair is true
Asking = Literal["review", "random"]


@dataclass(frozen=True)
class PoolOfLabels:
    """A pool to review, and the labels that the simulated person knows.

    Args:
        start: Scores of all its pairs before any answer.
        described: The same pairs with their features.
        codes: Label codes of its listings, int64 [n].

    Examples:
        >>> import pandas as pd
        >>> rows = np.array([0, 0], np.int32), np.array([1, 2], np.int32)
        >>> start = ScoredPairs(3, *rows, np.array([0.9, 0.1], np.float32))
        >>> described = PairFeatures(3, *rows, pd.DataFrame({"tfidf_cosine": [0.9, 0.1]}, dtype=np.float32))
        >>> PoolOfLabels(start, described, np.array([0, 0, 1])).truth.tolist()
        [True, False]
    """

    start: ScoredPairs
    described: PairFeatures
    codes: NDArray[np.int64]

    @property
    def truth(self) -> Flags:
        """Return which pairs are true, bool [p]."""
        return same_product(self.start.left, self.start.right, self.codes)


@dataclass(frozen=True)
class Checkpoint:
    """The state of a review after so many answers.

    Args:
        answers: Number of answers.
        row_f1: Mean row F1 of the whole pool.
        precision, recall: Of the candidate pairs that match.
        quality: What the answers say of both; None: not known.

    Examples:
        >>> Checkpoint(25, 0.8, 0.9, 0.7, None).answers
        25
    """

    answers: int
    row_f1: float
    precision: float
    recall: float
    quality: Estimate | None


@dataclass(frozen=True)
class _Answers:
    """The answers so far, [a] each: positions of the pairs, verdicts, strata that they were drawn from or -1."""

    positions: Positions = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    is_match: Flags = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    stratum: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.positions)


def simulate(
    pool: PoolOfLabels,
    answers: Sequence[int],
    seed: int,
    mistakes: float = 0.0,
    asking: Asking = "review",
) -> list[Checkpoint]:
    """Return a review's state at some numbers of answers, rising.

        simulate(pool, [0, 25, 50, 100], seed=0)

    Args:
        pool: The pool to review.
        answers: Numbers of answers. Where fewer pairs can be asked, the last states have fewer.
        seed: Of questions and mistakes.
        mistakes: Share of the answers that are wrong, in [0, 1].
        asking: `random` asks any pairs, each as likely, in place of those of `next_questions`.
    """
    learner, truth = Learner(pool.start, pool.described), pool.truth
    rng = np.random.default_rng([seed, 1])
    so_far, checkpoints = _Answers(), list[Checkpoint]()
    for count in sorted(set(answers)):
        while len(so_far) < count:
            number = min(BATCH, count - len(so_far))
            scored = learner.learn(so_far.positions, so_far.is_match)
            new = np.array(list(_asked(scored, so_far, number, seed, asking)), dtype=np.int64).reshape(-1, 2)
            if len(new) == 0:
                break
            verdicts = truth[new[:, 0]] ^ (rng.random(len(new)) < mistakes)
            so_far = _Answers(
                np.append(so_far.positions, new[:, 0]),
                np.append(so_far.is_match, verdicts),
                np.append(so_far.stratum, new[:, 1]),
            )
        checkpoints.append(_checkpoint(learner.learn(so_far.positions, so_far.is_match), pool, so_far))
    return checkpoints


def _asked(scored: ScoredPairs, so_far: _Answers, number: int, seed: int, asking: Asking) -> Iterator[tuple[int, int]]:
    """Yield position and stratum, or -1, of the pairs to ask about."""
    if asking == "random":
        open_pairs = np.flatnonzero(~is_answered(scored, so_far.positions, so_far.is_match))
        rng = np.random.default_rng([seed, len(so_far)])
        for position in rng.permutation(open_pairs)[:number].tolist():
            yield position, -1
        return
    for question in next_questions(scored, so_far.positions, so_far.is_match, number, seed):
        yield question.position, -1 if question.stratum is None else question.stratum


def _checkpoint(scored: ScoredPairs, pool: PoolOfLabels, answers: _Answers) -> Checkpoint:
    pinned = with_answers(scored, answers.positions, answers.is_match)
    decision = learned_decision(pinned) if len(answers) else careful_decision(scored)
    matches = decision.apply(pinned)
    matched, truth = is_matched(scored, matches), pool.truth
    hits = int((matched & truth).sum())
    quality = estimate(
        scored, matched, answers.positions, answers.is_match, answers.stratum, len(answers), decision=decision
    )
    return Checkpoint(
        len(answers),
        row_f1(matches, pool.codes),
        hits / matched.sum() if matched.any() else 1.0,
        hits / max(int(truth.sum()), 1),
        quality,
    )


def ceiling(pool: PoolOfLabels) -> float:
    """Return the row F1 by scores that are learned from the labels of all likely pairs, none of which is pinned.

        ceiling(pool)

    Args:
        pool: The pool to review.
    """
    best = np.sort(np.argsort(-pool.start.score, kind="stable")[: MOST_LABELS * pool.start.n])
    scored = Learner(pool.start, pool.described).learn(best, pool.truth[best])
    return row_f1(learned_decision(scored).apply(scored), pool.codes)
