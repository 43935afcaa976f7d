"""What the page shows of listings, pairs, groups and progress, as JSON; titles are text and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from ensemble.explain.shown_titles import shown_differences, shown_title
from ensemble.explain.title_differences import Span
from ensemble.features.quantities import quantities
from ensemble.review.groups import Group, Pair
from ensemble.review.quality import FEW
from ensemble.review.questions import Question
from ensemble.review.review_answers import Reply
from ensemble.review.session import Session
from shared.units import BASES

COUNT = "count"  # the dimension of pieces, which has no unit


class Views:
    """The views of a review.

        Views(session).pair((0, 7), by="anna")

    Args:
        session: The review.
    """

    def __init__(self, session: Session) -> None:
        catalog = session.subject.catalog
        self._session, self._ids = session, catalog.ids
        self._titles, self._paths = catalog.titles, catalog.image_paths()
        self._named, self._faults = catalog.column("image"), catalog.column("image_fault")

    def listing(self, row: int, spans: Sequence[Span] | None = None) -> dict[str, Any]:
        """Return a listing; its title in pieces, each with what it is beside the title of another listing."""
        title = shown_title(self._titles[row])
        pieces = [[title, "same"]] if spans is None else [[span.text, span.kind] for span in spans]
        return {
            "row": row,
            "id": self._ids[row],
            "title": pieces if title.strip() else [],
            "quantities": _quantities(title),
            "image": self._paths[row] is not None,
            "fault": self._fault(row),
        }

    def _fault(self, row: int) -> str:
        if self._paths[row] is not None:
            return ""
        return f"image: {self._faults[row]}" if self._faults[row] else "no image"

    def pair(self, pair: Pair, by: str, asked: str = "chosen", stratum: int | None = None) -> dict[str, Any]:
        """Return a pair of listings with the differences of their titles, its score, and who said what about it."""
        marked = shown_differences(*(self._titles[row] for row in pair))
        verdicts = self._session.answers.verdicts(pair)
        return {
            "pair": list(pair),
            "listings": [self.listing(row, spans) for row, spans in zip(pair, marked, strict=True)],
            "score": self._session.score(pair),
            "asked": asked,
            "stratum": stratum,
            "verdict": verdicts.get(by),
            "said": [[who, verdict] for who, verdict in sorted(verdicts.items())],
        }

    def question(self, question: Question, by: str) -> dict[str, Any]:
        """Return the pair of a question."""
        pair = self._session.pair(question.position)
        return {"position": question.position} | self.pair(pair, by, question.asked, question.stratum)

    def group(self, group: Group, rows: Sequence[int]) -> dict[str, Any]:
        """Return some listings of a proposed group; titles are marked where they differ from the first one."""
        first = self._titles[rows[0]]
        listings = [
            self.listing(row, None if row == rows[0] else shown_differences(first, self._titles[row])[1])
            for row in rows
        ]
        return {"listings": listings, "weakest": group.weakest, "settled": group.is_settled}

    def contradiction(self, pairs: Sequence[Pair]) -> dict[str, Any]:
        """Return the listings and the answers of a contradiction."""
        rows = sorted({row for pair in pairs for row in pair})
        said = [{"pair": list(pair), "said": sorted(self._session.answers.verdicts(pair).items())} for pair in pairs]
        return {"listings": [self.listing(row) for row in rows], "answers": said}

    def reply(self, reply: Reply, by: str) -> dict[str, Any]:
        """Return the pair of an answer that was taken back."""
        return self.pair(reply.pair, by, reply.asked, reply.stratum)

    def progress(self) -> dict[str, Any]:
        """Return how far the review is."""
        progress = self._session.progress()
        quality = progress.quality
        return asdict(progress) | {"is_rough": quality is not None and quality.answers < FEW}


@lru_cache(maxsize=10_000)
def _quantities(title: str) -> str:
    """Return the quantities of a title in words, such as `500 ml · 2 pieces`.

    Examples:
        >>> _quantities("cola 6x330ml")
        '6 pieces · 330 ml'
    """
    parts = (value.partition(":") for value in sorted(quantities(title)))
    return " · ".join(f"{amount} {BASES[of][1] if of in BASES else 'pieces'}" for of, _, amount in parts)
