"""Reviews with answers that are simulated from labels: how good the matches are after so many answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ensemble.review.learner import Learner, learned_decision, with_answers
from ensemble.review.quality import Estimate, estimate
from ensemble.review.questions import Positions, is_answered, next_questions
from ensemble.review.start import careful_decision
from shared.metrics.matching import row_f1, same_product
from shared.schema import Flags, Matches, PairFeatures, ScoredPairs, pair_key

BATCH = 25  # answers between two fits
Asking = Literal["review", "random"]


@dataclass(frozen=True)
class Checkpoint:
    """The state of a review after so many answers.

    Args:
        answers: Number of answers.
        row_f1: Mean row F1 of the whole pool.
        precision, recall: Of the matched pairs between listings of different content.
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


def simulate(
    start: ScoredPairs,
    described: PairFeatures,
    codes: NDArray[np.int64],
    answers: Sequence[int],
    seed: int,
    mistakes: float = 0.0,
    asking: Asking = "review",
) -> list[Checkpoint]:
    """Return a review's state at some numbers of answers, rising.

    Args:
        start: Scores of all pairs of a pool before any answer.
        described: The same pairs with their features.
        codes: Label codes of the pool's listings, int64 [n]: what the person knows.
        answers: Numbers of answers, rising.
        seed: Of the questions and mistakes.
        mistakes: Share of the answers that are wrong, in [0, 1].
        asking: `random` asks any pairs, each as likely.
    """
    learner, truth = Learner(start, described), same_product(start.left, start.right, codes)
    rng = np.random.default_rng([seed, 1])
    positions, stratum = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    verdicts = np.zeros(0, dtype=np.bool_)
    checkpoints = []
    for count in sorted(set(answers)):
        while len(positions) < count:
            number = min(BATCH, count - len(positions))
            if asking == "random":
                open_pairs = np.flatnonzero(~is_answered(start, positions, verdicts))
                new, new_stratum = rng.permutation(open_pairs)[:number], np.full(number, -1)
            else:
                scored = learner.learn(positions, verdicts)
                questions = next_questions(scored, positions, verdicts, number, seed)
                new = np.array([question.position for question in questions], dtype=np.int64)
                new_stratum = np.array([-1 if q.stratum is None else q.stratum for q in questions], dtype=np.int64)
            if len(new) == 0:
                break
            positions, stratum = np.append(positions, new), np.append(stratum, new_stratum[: len(new)])
            verdicts = np.append(verdicts, truth[new] ^ (rng.random(len(new)) < mistakes))
        scored = learner.learn(positions, verdicts)
        checkpoints.append(_checkpoint(scored, codes, positions, verdicts, stratum, seed))
    return checkpoints


def _checkpoint(
    scored: ScoredPairs,
    codes: NDArray[np.int64],
    positions: Positions,
    verdicts: Flags,
    stratum: NDArray[np.int64],
    seed: int,
) -> Checkpoint:
    pinned = with_answers(scored, positions, verdicts)
    decision = learned_decision(pinned) if len(positions) else careful_decision(scored)
    matches = decision.apply(pinned)
    matched = np.isin(scored.key, match_keys(matches))
    truth = same_product(scored.left, scored.right, codes)
    hits = int((matched & truth).sum())
    quality = estimate(scored, matched, positions, verdicts, stratum, seed)
    return Checkpoint(
        len(positions),
        row_f1(matches, codes),
        hits / max(int(matched.sum()), 1),
        hits / max(int(truth.sum()), 1),
        quality,
    )


def match_keys(matches: Matches) -> NDArray[np.int64]:
    """Return the keys of matched pairs, each twice."""
    low, high = np.minimum(matches.listing, matches.match), np.maximum(matches.listing, matches.match)
    return pair_key(low, high, matches.n)
