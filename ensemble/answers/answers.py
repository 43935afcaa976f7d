"""All answers of a file, and those that hold for the listings of one catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ensemble.answers.answer import Answer, Event, Withdrawal, time_of
from ensemble.answers.contradictions import Contradiction, Verdicts, by_pair, contradictions, effective
from ensemble.decision.pins import Pins
from shared.catalog.copies import content_digests, copy_of
from shared.catalog.tables import printable
from shared.schema import Catalog, Rows

UNKNOWN, CHANGED = "of listings that are not in the catalog", "of listings that have changed since"
SAME = "of listings of equal content, which match anyway"


@dataclass(frozen=True)
class Answers:
    """Answers and withdrawals, as a file holds them.

    Args:
        events: The oldest line first.
        torn: Where lines are that were cut off while they were written, and hold no event.

    Examples:
        >>> yes = Answer("a", "b", "", "", "yes", by="Ann", at="2026-01-31T12:00:00Z")
        >>> no = Answer("a", "b", "", "", "no", by="Ann", at="2026-01-31T12:00:01Z")
        >>> answers = Answers((yes, no))
        >>> [answer.verdict for answer in answers.latest]
        ['no']
        >>> withdrawal = Withdrawal.of(no, at="2026-01-31T12:00:02Z")
        >>> [answer.verdict for answer in Answers((*answers.events, withdrawal)).latest]
        ['yes']
    """

    events: tuple[Event, ...] = ()
    torn: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pairs that have an answer."""
        return len(self.verdicts)

    @cached_property
    def standing(self) -> tuple[Answer, ...]:
        """Return all answers that were not withdrawn, also those that later ones replace, by time."""
        withdrawn = {event.identity for event in self.events if isinstance(event, Withdrawal)}
        answers = {event.identity: event for event in self.events if isinstance(event, Answer)}
        kept = [answer for identity, answer in answers.items() if identity not in withdrawn]
        return tuple(sorted(kept, key=lambda answer: time_of(answer.at)))

    @cached_property
    def verdicts(self) -> Verdicts:
        """Return the latest answer of each person about each pair of posting ids."""
        return by_pair(self.standing, lambda answer: answer.pair)

    @property
    def latest(self) -> list[Answer]:
        """Return the answer that counts for each pair, sorted by the pair: the latest yes or no of anybody."""
        return [effective(of_pair) for of_pair in self.verdicts.values()]

    @property
    def latest_time(self) -> str | None:
        """Return the time of the latest answer, which may be withdrawn; None where there is no answer."""
        return max((event.at for event in self.events if isinstance(event, Answer)), key=time_of, default=None)

    def contradictions(self) -> list[Contradiction]:
        """Return the answers that contradict each other, whatever catalog their listings are in."""
        return contradictions(self.verdicts)

    def joined(self, other: Answers) -> Answers:
        """Return these events, and those of another file that are not among them."""
        present = set(self.events)
        added = [event for event in dict.fromkeys(other.events) if event not in present]
        return Answers((*self.events, *added), (*self.torn, *other.torn))

    def on(self, catalog: Catalog, *versions: Catalog) -> PoolAnswers:
        """Return the answers that hold for the listings of a catalog.

        An answer holds as long as both listings are in the catalog and have the content that the person saw. It is
        one about all listings of equal content (`shared.catalog.copies`), unless somebody told these apart.

        Args:
            catalog: n listings.
            versions: The same listings by id, before something was set aside, say; content as in one of them counts.
        """
        answers = [answer for of_pair in self.verdicts.values() for answer in of_pair.values()]
        answers.sort(key=lambda answer: time_of(answer.at))
        row = {posting_id: place for place, posting_id in enumerate(catalog.ids.tolist())}
        digests = [_digests(each, answers) for each in (catalog, *versions)]
        holding: list[Answer] = []
        left_out: dict[str, list[Answer]] = {}
        for answer in answers:
            ends = ((answer.left, answer.left_content), (answer.right, answer.right_content))
            if any(posting_id not in row for posting_id, _ in ends):
                left_out.setdefault(UNKNOWN, []).append(answer)
            elif all(any(of.get(posting_id) == content for of in digests) for posting_id, content in ends):
                holding.append(answer)
            else:
                left_out.setdefault(CHANGED, []).append(answer)
        rows = np.array([(row[a.left], row[a.right]) for a in holding], dtype=np.int64).reshape(-1, 2)
        return PoolAnswers.of(catalog, holding, rows, left_out, self.torn)


def _digests(catalog: Catalog, answers: Sequence[Answer]) -> dict[str, str]:
    """Return the digest of the content of each listing that answers name, by posting id."""
    named = {posting_id for answer in answers for posting_id in answer.pair}
    rows = np.flatnonzero([posting_id in named for posting_id in catalog.ids.tolist()])
    part = catalog.take(rows)
    return dict(zip(part.ids.tolist(), content_digests(part).tolist(), strict=True))


@dataclass(frozen=True)
class PoolAnswers:
    """The answers that hold for the listings of a pool.

        pool = AnswerFile(path).read().on(catalog)
        pool.left, pool.right, pool.verdict == "yes"

    Args:
        left: Row of one listing of each answered pair, int32 [k]; of listings with equal content the one that stands
            for all.
        right: Row of the other one, int32 [k]; left < right, sorted, each pair once.
        answers: The answer that counts for each pair.
        verdicts: Pair of rows → person → their latest answer.
        stands: For each listing the row of the one that answers about it are about, int32 [n].
        left_out: Reason → answers that do not hold.
        torn: As for `Answers`.
    """

    left: Rows
    right: Rows
    answers: tuple[Answer, ...]
    verdicts: Verdicts = field(repr=False)
    stands: Rows = field(repr=False)
    left_out: Mapping[str, Sequence[Answer]] = field(default_factory=dict)
    torn: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        answers: Sequence[Answer],
        rows: NDArray[np.int64],
        left_out: Mapping[str, Sequence[Answer]],
        torn: tuple[str, ...],
    ) -> PoolAnswers:
        """Return answers about listings at `rows`, int64 [a, 2], of a catalog; the oldest answer first."""
        stands = _stands(catalog, answers, rows)
        ends = np.sort(stands[rows])
        pair_of = dict(zip(answers, map(tuple, ends.tolist()), strict=True))
        same = [answer for answer, (low, high) in pair_of.items() if low == high]
        left_out = {**left_out, SAME: same} if same else left_out
        verdicts = by_pair((answer for answer, (low, high) in pair_of.items() if low < high), pair_of.__getitem__)
        pairs = np.array(list(verdicts), dtype=np.int32).reshape(-1, 2)
        counted = tuple(map(effective, verdicts.values()))
        return cls(pairs[:, 0].copy(), pairs[:, 1].copy(), counted, verdicts, stands, left_out, torn)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def verdict(self) -> NDArray[np.str_]:
        """Return the verdict on each pair, str [k]: `yes`, `no` or `unsure`."""
        return np.array([answer.verdict for answer in self.answers], dtype=np.str_)

    @property
    def pins(self) -> Pins:
        """Return the pairs that must match and those that must not, for a decision."""
        rows = np.stack([self.left, self.right], axis=1).astype(np.int64)
        return Pins(rows[self.verdict == "yes"], rows[self.verdict == "no"])

    def contradictions(self) -> list[Contradiction]:
        """Return the answers that contradict each other; listings of equal content are one here."""
        return contradictions(self.verdicts)

    @property
    def metrics(self) -> dict[str, str]:
        """Return what the progress line of a stage says; empty where there is no answer at all."""
        return summary([self])

    @property
    def line(self) -> str | None:
        """Return one line about the answers; None where there is none."""
        return next((f"answers {text}" for text in self.metrics.values()), None)


def summary(pools: Sequence[PoolAnswers]) -> dict[str, str]:
    """Return in words how many answers hold in some catalogs and how many in none, under the name `answers`.

    Examples:
        >>> nothing = Answers().on(Catalog.from_columns({"posting_id": ["a"]}))
        >>> summary([nothing])
        {}
        >>> answer = Answer("a", "b", "", "", "yes", by="Ann", at="2026-01-31T12:00:00Z")
        >>> summary([Answers((answer,)).on(Catalog.from_columns({"posting_id": ["a"]}))])
        {'answers': '0 (1 left out: of listings that are not in the catalog, such as a and b)'}
    """
    total = sum(len(pool) for pool in pools)
    everywhere = Counter(answer for pool in pools for of in pool.left_out.values() for answer in of)
    reasons = {
        answer: reason
        for reason in (UNKNOWN, CHANGED, SAME)
        for pool in pools
        for answer in pool.left_out.get(reason, ())
    }
    left_out: dict[str, list[Answer]] = {}
    for answer, count in everywhere.items():
        if count == len(pools):
            left_out.setdefault(reasons[answer], []).append(answer)
    words = [f"{len(of)} left out: {reason}, {_example(of)}" for reason, of in left_out.items() if of]
    if torn := next((pool.torn for pool in pools), ()):
        words.append(f"{len(torn)} cut off while written: {torn[0]}")
    if contradicting := [each for pool in pools for each in pool.contradictions()]:
        words.append(f"{len(contradicting)} contradicted: {printable(contradicting[0].line)}")
    if not total and not words:
        return {}
    return {"answers": f"{total:,}" + (f" ({'; '.join(words)})" if words else "")}


def _example(answers: Sequence[Answer]) -> str:
    left, right = map(printable, answers[0].pair)
    return f"such as {left} and {right}"


def _stands(catalog: Catalog, answers: Sequence[Answer], rows: NDArray[np.int64]) -> Rows:
    """Return for each listing the row of the one that answers about it are about, int32 [n].

    That is the one that stands for all of equal content. But where people told two of them apart, each stands for
    itself.
    """
    own = np.arange(len(catalog), dtype=np.int32)
    if not answers:
        return own
    copies = copy_of(catalog)
    is_same = copies[rows[:, 0]] == copies[rows[:, 1]]
    same = {answers[place]: tuple(sorted(rows[place].tolist())) for place in np.flatnonzero(is_same).tolist()}
    apart = [low for (low, _), of in by_pair(same, same.__getitem__).items() if effective(of).verdict == "no"]
    return np.where(np.isin(copies, copies[np.array(apart, dtype=np.int64)]), own, copies)
