"""Reviews with answers that are simulated from labels: how good the matches are after so many answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ensemble.review.learner import Learner, learned_decision, with_answers
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.quality import Estimate, estimate, is_matched
from ensemble.review.questions import Positions, Question, is_answered, next_questions
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
class Reviewer:
    """A simulated person.

    Args:
        mistakes: Share of the answers yes and no that are wrong, in [0, 1].
        unsure: Share of the pairs about which the person is unsure, in [0, 1]; with `hard`, of the hardest ones.
        hard: Whether the person is the more often unsure the harder a pair is to tell; else about any pair.

    Examples:
        >>> Reviewer().verdicts(np.array([True, False]), np.ones(2), np.random.default_rng(0)).tolist()
        ['yes', 'no']
    """

    mistakes: float = 0.0
    unsure: float = 0.0
    hard: bool = False

    def verdicts(self, truth: Flags, hardness: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.str_]:
        """Return verdicts about some pairs, str [k].

        Args:
            truth: Whether they are true, bool [k].
            hardness: How hard each one is to tell, in [0, 1], float64 [k].
            rng: Of mistakes and doubts.
        """
        is_yes = truth ^ (rng.random(len(truth)) < self.mistakes)
        verdicts = np.where(is_yes, "yes", "no")
        if self.unsure:
            chance = self.unsure * hardness if self.hard else self.unsure
            verdicts = np.where(rng.random(len(truth)) < chance, "unsure", verdicts)
        return verdicts


def simulate(
    pool: PoolOfLabels,
    answers: Sequence[int],
    seed: int,
    reviewer: Reviewer = Reviewer(),
    asking: Asking = "review",
) -> list[Checkpoint]:
    """Return a review's state at some numbers of answers, rising; `unsure` is an answer, too.

        simulate(pool, [0, 25, 50, 100], seed=0)

    Args:
        pool: The pool to review.
        answers: Numbers of answers. Where fewer pairs can be asked, the last states have fewer.
        seed: Of questions, mistakes and doubts.
        reviewer: Who answers.
        asking: `random` asks any pairs, each as likely, in place of those of `next_questions`.
    """
    learner, truth, so_far = Learner(pool.start, pool.described), pool.truth, PairAnswers()
    hardness = _hardness(pool, learner) if reviewer.hard else np.ones(len(truth))
    rng, checkpoints = np.random.default_rng([seed, 1]), list[Checkpoint]()
    for count in sorted(set(answers)):
        while (left := count - len(so_far) - len(so_far.unsure)) > 0:
            number = min(BATCH, left)
            if asking == "random":
                asked = _random_pairs(pool.start, so_far, number, seed)
            else:
                scored = learner.learn(so_far.positions, so_far.is_match)
                asked = next_questions(scored, so_far.positions, so_far.is_match, number, seed, so_far.unsure)
            if not asked:
                break
            at = np.array([question.position for question in asked], dtype=np.int64)
            stratum = np.array([-1 if question.stratum is None else question.stratum for question in asked])
            so_far = so_far.joined(at, reviewer.verdicts(truth[at], hardness[at], rng), stratum)
        checkpoints.append(_checkpoint(learner.learn(so_far.positions, so_far.is_match), pool, so_far))
    return checkpoints


def _hardness(pool: PoolOfLabels, learner: Learner) -> NDArray[np.float64]:
    """Return how hard each pair is to tell, in [0, 1]: 1 where all labels together leave it at one half."""
    known = _likely(pool.start)
    p = learner.learn(known, pool.truth[known]).score.astype(np.float64)
    return 4 * p * (1 - p)


def _random_pairs(pairs: ScoredPairs, so_far: PairAnswers, number: int, seed: int) -> list[Question]:
    """Return pairs that answers leave open, each as likely; none of them belongs to a stratum."""
    is_open = ~is_answered(pairs, so_far.positions, so_far.is_match)
    is_open[so_far.unsure] = False
    asked = len(so_far) + len(so_far.unsure)
    drawn = np.random.default_rng([seed, asked]).permutation(np.flatnonzero(is_open))[:number]
    return [Question(position, "uncertain") for position in drawn.tolist()]


def _checkpoint(scored: ScoredPairs, pool: PoolOfLabels, answers: PairAnswers) -> Checkpoint:
    pinned = with_answers(scored, answers.positions, answers.is_match)
    decision = learned_decision(pinned) if len(answers) else careful_decision(scored)
    matches = decision.apply(pinned)
    matched, truth = is_matched(scored, matches), pool.truth
    hits = int((matched & truth).sum())
    count = len(answers) + len(answers.unsure)
    quality = estimate(scored, matched, answers, count, decision=decision)
    return Checkpoint(
        count,
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
    best = _likely(pool.start)
    scored = Learner(pool.start, pool.described).learn(best, pool.truth[best])
    return row_f1(learned_decision(scored).apply(scored), pool.codes)


def _likely(start: ScoredPairs) -> Positions:
    """Return the positions of the pairs that score best, `MOST_LABELS` per listing; rising."""
    return np.sort(np.argsort(-start.score, kind="stable")[: MOST_LABELS * start.n])
