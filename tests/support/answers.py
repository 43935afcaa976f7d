"""Answers about pairs of listings, made in memory."""

from datetime import UTC, datetime, timedelta

from ensemble.answers.answer import Answer, Verdict
from shared.catalog.copies import content_digests
from shared.schema import Catalog

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def answer(
    left: str, right: str, verdict: Verdict = "yes", *, by: str = "Ann", at: float = 0, catalog: Catalog | None = None
) -> Answer:
    """Return the answer of a person about listings as a catalog has them, so many seconds after noon."""
    content = {} if catalog is None else dict(zip(catalog.ids, content_digests(catalog), strict=True))
    time = (NOON + timedelta(seconds=at)).isoformat()
    return Answer(left, right, content.get(left, ""), content.get(right, ""), verdict, by, time)
