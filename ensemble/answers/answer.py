"""One answer of a person about a pair of listings, and the withdrawal of one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

from shared.schema.types import require

Verdict = Literal["yes", "no", "unsure"]
Asked = Literal["stratified", "uncertain", "chosen"]  # why a pair was asked: by a random draw, by doubt, or by a person
MAX_NAME = 200  # characters in the name of a person


def now() -> str:
    """Return the present time in UTC as answers hold it, to the microsecond.

    Examples:
        >>> time_of(now()).utcoffset().total_seconds()
        0.0
    """
    return datetime.now(UTC).isoformat(timespec="microseconds")


def time_after(latest: str | None) -> str:
    """Return the present time, or the moment after `latest` where the clock was set back behind it.

    Examples:
        >>> time_after("2999-12-31T12:00:00Z")
        '2999-12-31T12:00:00.000001+00:00'
    """
    present = now()
    if latest is None or time_of(present) > time_of(latest):
        return present
    return (time_of(latest) + timedelta(microseconds=1)).isoformat(timespec="microseconds")


def time_of(text: str) -> datetime:
    """Return the time that ISO 8601 names in UTC.

    Raises:
        ValueError: The text is no such time, or in another time zone.

    Examples:
        >>> time_of("2026-01-31T12:00:00Z").isoformat()
        '2026-01-31T12:00:00+00:00'
    """
    time = datetime.fromisoformat(text)
    require(time.utcoffset() == timedelta(0), f"the time {text!r} must be in UTC, such as 2026-01-31T12:00:00Z")
    return time


def _check(event: Answer | Withdrawal) -> None:
    for name in ("left", "right", "by"):
        value = getattr(event, name)
        require(isinstance(value, str) and value != "", f"{name} must be a text that is not empty")
    require(event.left != event.right, f"an answer is about two listings, not about {event.left!r} and itself")
    require(len(event.by) <= MAX_NAME and event.by.isprintable(), f"the name {event.by[:40]!r} … is no name")
    time_of(event.at)


@dataclass(frozen=True)
class Answer:
    """A person's verdict on whether two listings sell the same product.

    Args:
        left: Posting id of one listing.
        right: Posting id of the other one.
        left_content: Digest of the content of `left` when it was shown (`shared.catalog.copies.content_digests`).
        right_content: The same of `right`.
        verdict: `yes`, `no` or `unsure`.
        by: Name of the person.
        at: When, ISO 8601 in UTC.
        asked: Why the pair was asked; only `stratified` ones are a random sample.
        stratum: Number of the stratum that the pair was drawn from; None where it was not drawn.

    Raises:
        ValueError: One of the values is not allowed.

    Examples:
        >>> Answer("b", "a", "12", "ef", "yes", by="Ann", at="2026-01-31T12:00:00Z").pair
        ('a', 'b')
    """

    left: str
    right: str
    left_content: str
    right_content: str
    verdict: Verdict
    by: str
    at: str
    asked: Asked = "chosen"
    stratum: int | None = None

    def __post_init__(self) -> None:
        _check(self)
        for name in ("left_content", "right_content"):
            require(isinstance(getattr(self, name), str), f"{name} must be a text")
        require(self.verdict in get_args(Verdict), f"a verdict is yes, no or unsure, not {self.verdict!r}")
        require(self.asked in get_args(Asked), f"asked is one of {', '.join(get_args(Asked))}, not {self.asked!r}")
        is_number = isinstance(self.stratum, int) and not isinstance(self.stratum, bool)
        require(self.stratum is None or is_number, f"a stratum is a whole number, not {self.stratum!r}")

    @property
    def pair(self) -> tuple[str, str]:
        """Return both posting ids, the smaller one first."""
        return (self.left, self.right) if self.left < self.right else (self.right, self.left)

    @property
    def identity(self) -> tuple[str, str, str, datetime]:
        """Return what tells the answer from all others: the pair, the person and the time."""
        return (*self.pair, self.by, time_of(self.at))


@dataclass(frozen=True)
class Withdrawal:
    """The withdrawal of one answer; what the person answered before about the same pair counts again.

    Args:
        left: As in the answer.
        right: As in the answer.
        by: As in the answer.
        answered: The time of the answer.
        at: The time of the withdrawal.

    Raises:
        ValueError: One of the values is not allowed.

    Examples:
        >>> answer = Answer("a", "b", "12", "ef", "yes", by="Ann", at="2026-01-31T12:00:00Z")
        >>> Withdrawal.of(answer, at="2026-01-31T12:00:05Z").identity == answer.identity
        True
    """

    left: str
    right: str
    by: str
    answered: str
    at: str

    def __post_init__(self) -> None:
        _check(self)
        time_of(self.answered)

    @classmethod
    def of(cls, answer: Answer, at: str) -> Withdrawal:
        """Return the withdrawal of an answer."""
        return cls(answer.left, answer.right, answer.by, answer.at, at)

    @property
    def identity(self) -> tuple[str, str, str, datetime]:
        """Return the identity of the answer."""
        low, high = sorted((self.left, self.right))
        return (low, high, self.by, time_of(self.answered))


Event = Answer | Withdrawal
