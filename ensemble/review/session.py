"""The state of a review: which pairs to ask about, the answers, and what they are worth. Knows nothing of the web."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from ensemble.answers.answer import Answer, Asked, Verdict, Withdrawal, now
from ensemble.answers.answers import Answers
from ensemble.answers.contradictions import Contradiction, effective
from ensemble.answers.file import AnswerFile
from ensemble.answers.tables import export
from ensemble.decision.decision import Decision, groups_of
from ensemble.review.groups import Group, Pair, proposed_groups
from ensemble.review.learner import Learner
from ensemble.review.pair_answers import PairAnswers
from ensemble.review.quality import Estimate, estimate, is_matched
from ensemble.review.questions import Positions, Question, next_questions
from shared.catalog.copies import content_digests
from shared.errors import MatcherError
from shared.schema import Catalog, Flags, Matches, PairFeatures, ScoredPairs, locate, pair_key

BATCH = 25  # answers after which the matches are made anew
AHEAD = 12  # questions that are left when the next batch is prepared
NO_FILE = (-1, -1)
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
    """

    name: str
    catalog: Catalog
    described: PairFeatures
    start: ScoredPairs
    answers: Path
    match: Callable[[], Matched]
    matched: Matched | None = None
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Reply:
    """What a person says about a pair.

    Args:
        pair: Rows of the two listings, the smaller one first.
        verdict: Whether they are the same product.
        asked: Why it was asked, see `ensemble.review.questions`; `chosen` if the person chose the pair.
        stratum: The stratum that it was drawn from, if any.
    """

    pair: Pair
    verdict: Verdict
    asked: Asked = "chosen"
    stratum: int | None = None


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
    """A review by one or more people, of which each answer is on the disk before `record` returns.

        session = Session(subject)
        session.prepare()
        session.record("anna", [Reply((0, 7), "yes")])

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
        self._file, self._stamp = AnswerFile(subject.answers), NO_FILE
        self._answers = Answers().on(subject.catalog)
        self._verdicts: dict[Pair, dict[str, Answer]] = {}  # pair → who → answer
        self._contradictions: list[Contradiction] = []
        self._queue: list[Question] = []
        self._leases: dict[int, tuple[str, float]] = {}  # position of a pair → who has it, until when
        self._is_short = False  # whether somebody got no question, since others have all of them
        self._last_stamp: tuple[int, int] | None = None  # of the answers to which there was no new question
        self._matching, self._matched_answers, self._fault = False, 0, ""
        self._lock, self._key = Lock(), subject.start.key
        self._ids = subject.catalog.ids
        self._row = {posting_id: row for row, posting_id in enumerate(self._ids.tolist())}
        self.refresh()

    # --- answers -----------------------------------------------------------------------------------------------------

    def record(self, by: str, replies: Sequence[Reply]) -> None:
        """Write the answers of a person, which one `undo` takes back; one that is as before is not written again.

        Raises:
            MatcherError: The file cannot be written.
        """
        rows = sorted({row for reply in replies for row in reply.pair})
        content = dict(zip(rows, content_digests(self.subject.catalog.take(np.array(rows))).tolist(), strict=True))
        with self._lock:
            time = self._file.next_time()
            fresh = [(reply, self._answer(reply, content, by, time)) for reply in replies if self._is_new(reply, by)]
            if fresh:
                self._file.append(*(answer for _, answer in fresh))
            for reply, answer in fresh:
                said = self._verdicts.setdefault(self._standing(reply.pair), {})
                said.pop(by, None)  # the latest answer comes last
                said[by] = answer

    def _is_new(self, reply: Reply, by: str) -> bool:
        earlier = self._verdicts.get(self._standing(reply.pair), {}).get(by)
        return earlier is None or earlier.verdict != reply.verdict

    def _standing(self, pair: Pair) -> Pair:
        """Return the pair that an answer about a pair is about: of listings of equal content, one stands for all."""
        low, high = sorted(self._answers.stands[list(pair)].tolist())
        return (low, high) if low < high else pair

    def _answer(self, reply: Reply, content: Mapping[int, str], by: str, time: str) -> Answer:
        left, right = reply.pair
        contents, why = (content[left], content[right]), (reply.asked, reply.stratum)
        if reply.stratum is None:  # a pair that was drawn by chance stays so, whoever answers it anew
            said = self._verdicts.get(self._standing(reply.pair), {}).values()
            why = next(((answer.asked, answer.stratum) for answer in said if answer.stratum is not None), why)
        return Answer(self._ids[left], self._ids[right], *contents, reply.verdict, by, time, *why)

    def undo(self, by: str) -> list[Reply]:
        """Withdraw the last answers of a person about this catalog, and return them; none where there are none.

        Raises:
            MatcherError: The file cannot be read or written.
        """
        with self._lock:  # so that two calls at a time take back two answers
            standing = self._file.read().standing
            own = [answer for answer in standing if answer.by == by and self._row.keys() >= set(answer.pair)]
            last = [answer for answer in own if answer.at == own[-1].at]
            if last:
                self._file.append(*(Withdrawal.of(answer, now()) for answer in last))
        self.refresh()
        return [Reply(self._pair_of(answer), answer.verdict, answer.asked, answer.stratum) for answer in last]

    def _pair_of(self, answer: Answer) -> Pair:
        left, right = sorted((self._row[answer.left], self._row[answer.right]))
        return left, right

    def refresh(self) -> None:
        """Read the answers again if any were written.

        Raises:
            MatcherError: They cannot be read.
        """
        while (stamp := self._file_stamp()) != self._stamp:
            answers = self._file.read().on(self.subject.catalog)
            with self._lock:  # which `record` holds while it writes, so that none of its answers is forgotten here
                if self._file_stamp() == stamp:
                    self._answers, self._stamp, self._contradictions = answers, stamp, answers.contradictions()
                    self._verdicts = {pair: dict(of_pair) for pair, of_pair in answers.verdicts.items()}

    def _file_stamp(self) -> tuple[int, int]:
        """Return size and time of the file of answers, which change with every answer."""
        try:
            status = self.subject.answers.stat()
        except FileNotFoundError:
            return NO_FILE
        return status.st_size, status.st_mtime_ns

    def verdicts(self, pair: Pair) -> dict[str, Verdict]:
        """Return who said what about a pair."""
        with self._lock:
            return {by: answer.verdict for by, answer in self._verdicts.get(self._standing(pair), {}).items()}

    def contradictions(self) -> list[list[Pair]]:
        """Return the pairs of each contradiction among the answers, the one that people said no about first."""
        self.refresh()
        pairs = [[self._pair_of(answer) for answer in (found.no, *found.yes)] for found in self._contradictions]
        return [list(dict.fromkeys(of_one)) for of_one in pairs]

    def table(self) -> str:
        """Return the latest answer of each person about each pair as CSV, see `ensemble.answers.tables`."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "answers.csv"
            export(self._file.read(), path)
            return path.read_text(encoding="utf-8")

    def _counted(self) -> dict[Pair, Answer]:
        """Return the answer that counts for each pair."""
        with self._lock:
            return {pair: effective(of_pair) for pair, of_pair in self._verdicts.items() if of_pair}

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
        return not self._verdicts.get(self.pair(question.position))

    @property
    def needs_questions(self) -> bool:
        """Return whether few questions without an answer are left, or somebody has none, and there may be more."""
        stamp = self._file_stamp()
        with self._lock:
            is_short = self._is_short or sum(map(self._is_open, self._queue)) <= AHEAD
            return is_short and stamp != self._last_stamp

    def prepare(self) -> None:
        """Learn from the answers so far, estimate what they say, and choose the next questions if few wait."""
        self.refresh()
        if self._learner is None:
            self._learner = Learner(self.subject.start, self.subject.described)
        answers = PairAnswers.of(self._answers, self.subject.start)
        scores, quality = self._learner.learn(answers.positions, answers.is_match), None
        if self.matched is not None:
            facts = answers.positions, answers.is_match, answers.stratum
            quality = _quality_of(self.matched, facts, self.seed)
        with self._lock:
            waiting, unsure, stamp = list(filter(self._is_open, self._queue)), self._unsure(), self._stamp
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
        of_pairs = ((pair, effective(said)) for pair, said in self._verdicts.items() if said)
        position, is_there = self._locate([pair for pair, answer in of_pairs if answer.verdict == "unsure"])
        unsure: list[int] = position[is_there].tolist()
        return unsure

    # --- matches -----------------------------------------------------------------------------------------------------

    def match(self) -> None:
        """Make the matches anew with all answers in the file; return at once if that is being done already."""
        with self._lock:
            if self._matching:
                return
            self._matching, count = True, len(self._verdicts)
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
        return not self._matching and len(self._verdicts) - self._matched_answers >= BATCH

    def groups(self) -> list[Group]:
        """Return the proposed groups, those in doubt first."""
        if self.matched is None:
            return []
        same = [pair for pair, answer in self._counted().items() if answer.verdict == "yes"]
        return proposed_groups(groups_of(self.matched.matches), self.scores, same)

    def progress(self) -> Progress:
        """Return how far the review is."""
        with self._lock:
            by = Counter(who for of_pair in self._verdicts.values() for who in of_pair)
            answers = sum(bool(of_pair) for of_pair in self._verdicts.values())
            is_done = self._last_stamp == self._stamp and not any(map(self._is_open, self._queue))
        until = max(0, BATCH - (answers - self._matched_answers))
        line = self.matched.line if self.matched else ""
        counts = len(self._contradictions)
        return Progress(answers, dict(by), until, self._matching, self._fault, line, counts, self._quality, is_done)


def _quality_of(matched: Matched, facts: tuple[Positions, Flags, NDArray[np.int64]], seed: int) -> Estimate | None:
    """Return how good matches are by answers (`PairAnswers`), over the scores that they were decided by."""
    pairs = matched.pairs
    return estimate(pairs, is_matched(pairs, matched.matches), *facts, seed, decision=matched.decision)
