"""The answers about the listings of a review: written, taken back, and read again when others have answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np

from ensemble.answers.answer import Answer, Asked, Verdict, Withdrawal, now, time_after
from ensemble.answers.answers import Answers
from ensemble.answers.contradictions import Contradiction, effective
from ensemble.answers.file import AnswerFile
from ensemble.answers.tables import export
from ensemble.review.groups import Pair
from shared.catalog.copies import content_digests
from shared.schema import Catalog

NO_FILE = (-1, -1)
Stamp = tuple[int, int]  # size and time of the file, which change with every answer


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


class ReviewAnswers:
    """The answers about a catalog, of which each is on the disk before `record` returns.

        answers = ReviewAnswers(Path("answers.jsonl"), catalog, original)
        answers.record("anna", [Reply((0, 7), "yes")])

    Several threads may call it.

    Args:
        path: File of answers; made when the first one is given.
        catalog: The n listings that are reviewed.
        original: The same listings as they were read, before something was set aside; an answer is about these.

    Raises:
        MatcherError: The file of answers cannot be read.
    """

    def __init__(self, path: Path, catalog: Catalog, original: Catalog) -> None:
        self.path, self.pool = path, Answers().on(catalog)
        self._catalog, self._original = catalog, original
        self._file, self.stamp = AnswerFile(path), NO_FILE
        self.contradicted: list[Contradiction] = []
        self._verdicts: dict[Pair, dict[str, Answer]] = {}  # pair → who → answer
        self._latest_time: str | None = None  # of the answers, so that later ones count even if the clock was set back
        self._lock, self._ids = Lock(), catalog.ids
        self._row = {posting_id: row for row, posting_id in enumerate(self._ids.tolist())}
        self.refresh()

    def __len__(self) -> int:
        """Return the number of pairs that have an answer."""
        with self._lock:
            return sum(map(bool, self._verdicts.values()))

    def record(self, by: str, replies: Sequence[Reply]) -> None:
        """Write the answers of a person, which one `undo` takes back; one that is as before is not written again.

        Raises:
            MatcherError: The file cannot be written.
        """
        rows = sorted({row for reply in replies for row in reply.pair})
        content = dict(zip(rows, content_digests(self._original.take(np.array(rows))).tolist(), strict=True))
        with self._lock:
            time = time_after(self._latest_time)
            fresh = [(reply, self._answer(reply, content, by, time)) for reply in replies if self._is_new(reply, by)]
            if fresh:
                self._file.append(*(answer for _, answer in fresh))
                self._latest_time = time
            for reply, answer in fresh:
                said = self._verdicts.setdefault(self._standing(reply.pair), {})
                said.pop(by, None)  # the latest answer comes last
                said[by] = answer

    def _is_new(self, reply: Reply, by: str) -> bool:
        earlier = self._verdicts.get(self._standing(reply.pair), {}).get(by)
        return earlier is None or earlier.verdict != reply.verdict

    def _standing(self, pair: Pair) -> Pair:
        """Return the pair that an answer about a pair is about: of listings of equal content, one stands for all."""
        low, high = sorted(self.pool.stands[list(pair)].tolist())
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
        while (stamp := self.file_stamp()) != self.stamp:
            given = self._file.read()
            answers = given.on(self._catalog, self._original)
            with self._lock:  # which `record` holds while it writes, so that none of its answers is forgotten here
                if self.file_stamp() == stamp:
                    self.pool, self.stamp, self.contradicted = answers, stamp, answers.contradictions()
                    self._latest_time = given.latest_time
                    self._verdicts = {pair: dict(of_pair) for pair, of_pair in answers.verdicts.items()}

    def file_stamp(self) -> Stamp:
        """Return size and time of the file of answers, which change with every answer."""
        try:
            status = self.path.stat()
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
        pairs = [[self._pair_of(answer) for answer in (found.no, *found.yes)] for found in self.contradicted]
        return [list(dict.fromkeys(of_one)) for of_one in pairs]

    def table(self) -> str:
        """Return the latest answer of each person about each pair as CSV, see `ensemble.answers.tables`."""
        with TemporaryDirectory() as folder:
            path = Path(folder) / "answers.csv"
            export(self._file.read(), path)
            return path.read_text(encoding="utf-8")

    def counted(self) -> dict[Pair, Answer]:
        """Return the answer that counts for each pair."""
        with self._lock:
            return {pair: effective(of_pair) for pair, of_pair in self._verdicts.items() if of_pair}

    def is_open(self, pair: Pair) -> bool:
        """Return whether nobody has answered about a pair."""
        return not self._verdicts.get(pair)

    def by(self) -> dict[str, int]:
        """Return who → number of answers."""
        with self._lock:
            return dict(Counter(who for of_pair in self._verdicts.values() for who in of_pair))
