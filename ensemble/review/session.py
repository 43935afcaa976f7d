"""The state of a review: which pairs to ask about, the answers, and what they are worth. Knows nothing of the web."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.decision import Decision, groups_of
from ensemble.review.groups import Group, Pair, proposed_groups
from ensemble.review.learner import Learner
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.quality import Estimate, estimate, is_matched
from ensemble.review.questions import Question, next_questions
from ensemble.review.review_answers import ReviewAnswers, Stamp
from shared.errors import MatcherError
from shared.schema import Catalog, Flags, Matches, PairFeatures, ScoredPairs, locate, pair_key

BATCH = 25  # answers after which the matches are made anew
AHEAD = 12  # questions that are left when the next batch is prepared
LEASE_S = 300.0  # seconds for which a question that one person got is not given to another


@dataclass(frozen=True)
class Matched:
    """The matches of the reviewed catalog.

    Args:
        matches: Of the n listings.
        line: What was decided, in words.
        pairs: The scored pairs that it was decided by.
        decision: The decision.
    """

    matches: Matches
    line: str
    pairs: ScoredPairs
    decision: Decision


@dataclass(frozen=True)
class Subject:
    """What is reviewed.

    Args:
        name: What it is called on the page.
        catalog: The n listings.
        described: Their candidate pairs.
        start: The scores of these before anybody answered.
        answers: The file of answers.
        match: Makes the matches anew with the answers in the file.
        matched: The matches as they are; None: made when the review begins.
        max_pixels: Larger images are not shown.
        original: The catalog as it was read, before something was set aside; None: nothing was.
    """

    name: str
    catalog: Catalog
    described: PairFeatures
    start: ScoredPairs
    answers: Path
    match: Callable[[], Matched]
    matched: Matched | None = None
    max_pixels: int = 50_000_000
    original: Catalog | None = None


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Args:
        answers: Number of pairs that have an answer.
        by: Who → number of answers.
        until_match: Answers until the matches are made anew.
        is_matching: Whether they are being made now.
        fault: Why that did not work the last time; "" if it did.
        line: What was decided last, in words; "" if nothing was.
        contradictions: Number of contradictions among the answers.
        quality: Estimate of precision and recall; None where there are too few answers.
        is_done: Whether there is nothing left to ask.
    """

    answers: int
    by: dict[str, int]
    until_match: int
    is_matching: bool
    fault: str
    line: str
    contradictions: int
    quality: Estimate | None
    is_done: bool


class Session:
    """A review by one or more people: their answers, the next questions, and the matches.

        session = Session(subject)
        session.prepare()
        session.answers.record("anna", [Reply((0, 7), "yes")])

    Several threads may call it. What takes long (`prepare` and `match`) holds up no answer.

    Args:
        subject: What is reviewed.
        seed: Of the questions; two servers on one file of answers should have different ones.

    Raises:
        MatcherError: The file of answers cannot be read.
    """

    def __init__(self, subject: Subject, seed: int = 0) -> None:
        self.subject, self.seed, self.scores = subject, seed, subject.start
        self.matched = subject.matched
        self._quality: Estimate | None = None
        self._learner: Learner | None = None
        original = subject.catalog if subject.original is None else subject.original
        self.answers = ReviewAnswers(subject.answers, subject.catalog, original)
        self._queue: list[Question] = []
        self._leases: dict[int, tuple[str, float]] = {}  # position of a pair → who has it, until when
        self._is_short = False  # whether somebody got no question, since others have all of them
        self._last_stamp: Stamp | None = None  # of the answers to which there was no new question
        self._matching, self._matched_answers, self._fault = False, 0, ""
        self._lock, self._key = Lock(), subject.start.key

    # --- questions ---------------------------------------------------------------------------------------------------

    def questions(self, by: str, have: Collection[int], count: int) -> list[Question]:
        """Return questions for a person, who is expected to answer them soon; others get different ones.

        Args:
            by: Who asks.
            have: Positions of the pairs that this person has already.
            count: The most that are returned.
        """
        time, taken = monotonic(), list[Question]()
        with self._lock:
            for question in self._queue:
                who, until = self._leases.get(question.position, (by, 0.0))
                is_free = who == by or until < time
                if is_free and question.position not in have and self._is_open(question):
                    self._leases[question.position] = by, time + LEASE_S
                    taken.append(question)
                if len(taken) == count:
                    break
            self._is_short |= not taken and not have
        return taken

    def pair(self, position: int) -> Pair:
        """Return the rows of the candidate pair at a position."""
        return int(self.scores.left[position]), int(self.scores.right[position])

    def score(self, pair: Pair) -> float | None:
        """Return the score of a pair; None where it is no candidate pair."""
        position, is_there = self._locate([pair])
        return float(self.scores.score[position[0]]) if is_there[0] else None

    def _locate(self, pairs: Collection[Pair]) -> tuple[NDArray[np.int64], Flags]:
        ends = np.array(list(pairs), dtype=np.int64).reshape(-1, 2)
        position, is_there = locate(pair_key(ends[:, 0], ends[:, 1], self.scores.n), self._key)
        return np.asarray(position), np.asarray(is_there)

    def _is_open(self, question: Question) -> bool:
        return self.answers.is_open(self.pair(question.position))

    @property
    def needs_questions(self) -> bool:
        """Return whether few questions without an answer are left, or somebody has none, and there may be more."""
        stamp = self.answers.file_stamp()
        with self._lock:
            is_short = self._is_short or sum(map(self._is_open, self._queue)) <= AHEAD
            return is_short and stamp != self._last_stamp

    def prepare(self) -> None:
        """Learn from the answers so far, estimate what they say, and choose the next questions if few wait."""
        self.answers.refresh()
        if self._learner is None:
            self._learner = Learner(self.subject.start, self.subject.described)
        stamp = self.answers.stamp  # first: if the answers are read again meanwhile, questions are due again
        answers = PairAnswers.of(self.answers.pool, self.subject.start)
        scores, quality = self._learner.learn(answers.positions, answers.is_match), None
        if self.matched is not None:
            pairs, matches = self.matched.pairs, self.matched.matches
            quality = estimate(pairs, is_matched(pairs, matches), answers, self.seed, decision=self.matched.decision)
        with self._lock:
            waiting, unsure = list(filter(self._is_open, self._queue)), self._unsure()
            is_short, self._is_short = self._is_short or len(waiting) <= AHEAD, False
        fresh = list[Question]()
        if is_short:
            skip = np.array([*unsure, *(question.position for question in waiting)], dtype=np.int64)
            fresh = next_questions(scores, answers.positions, answers.is_match, BATCH, self.seed, skip)
        with self._lock:
            self._queue, self.scores, self._quality = [*waiting, *fresh], scores, quality
            self._last_stamp = stamp if is_short and not fresh else None

    def _unsure(self) -> list[int]:
        """Return the positions of the candidate pairs about which everybody is unsure."""
        counted = self.answers.counted().items()
        position, is_there = self._locate([pair for pair, answer in counted if answer.verdict == "unsure"])
        unsure: list[int] = position[is_there].tolist()
        return unsure

    # --- matches -----------------------------------------------------------------------------------------------------

    def match(self) -> None:
        """Make the matches anew with all answers in the file; return at once if that is being done already."""
        with self._lock:
            if self._matching:
                return
            self._matching, count = True, len(self.answers)
        try:
            self.matched, self._fault = self.subject.match(), ""
        except Exception as error:  # a full disk, say: whoever answers has to know
            self._fault = str(error) or type(error).__name__
            if not isinstance(error, MatcherError):
                raise
        finally:
            self._matching, self._matched_answers = False, count

    @property
    def is_match_due(self) -> bool:
        """Return whether a batch of answers was given since the matches were made."""
        return not self._matching and len(self.answers) - self._matched_answers >= BATCH

    def groups(self) -> list[Group]:
        """Return the proposed groups, those in doubt first."""
        if self.matched is None:
            return []
        same = [pair for pair, answer in self.answers.counted().items() if answer.verdict == "yes"]
        return proposed_groups(groups_of(self.matched.matches), self.scores, same)

    def progress(self) -> Progress:
        """Return how far the review is."""
        with self._lock:
            is_done = self._last_stamp == self.answers.stamp and not any(map(self._is_open, self._queue))
        answers = len(self.answers)
        until = max(0, BATCH - (answers - self._matched_answers))
        line = self.matched.line if self.matched else ""
        by, counts = self.answers.by(), len(self.answers.contradicted)
        return Progress(answers, by, until, self._matching, self._fault, line, counts, self._quality, is_done)
