"""Cards: listings and pairs of listings as the report shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ensemble.explain.shown_titles import shown_differences
from ensemble.report.galleries import Gallery
from ensemble.report.pool import MatchedPool
from ensemble.report.thumbnails import Thumbnail, Thumbnails
from shared.metrics.matching import same_product
from shared.schema import pair_key

LONGEST_TITLE = 220  # characters; longer titles are cut off


@dataclass(frozen=True)
class TitlePart:
    """A part of a title.

    Args:
        text: As it is written.
        kind: `same`, `only`, `conflict`, `quantity_same`, `quantity_conflict`, or "" where nothing is compared.
    """

    text: str
    kind: str = ""


@dataclass(frozen=True)
class ListingCard:
    """A listing.

    Args:
        posting_id: Its id.
        parts: Its title; none where it has no title.
        characters: Number of characters of the title, where it was cut off; 0 where it was not.
        image: Its thumbnail.
    """

    posting_id: str
    parts: list[TitlePart]
    characters: int
    image: Thumbnail


@dataclass(frozen=True)
class Step:
    """What one family of features added to the score of a pair.

    Args:
        name: The family.
        log_odds: What it added to the logarithm of the odds.
    """

    name: str
    log_odds: float


@dataclass(frozen=True)
class Reasons:
    """Why a pair has its score: `base` and all steps sum up to the logarithm of the odds of the score.

    Args:
        base: The logarithm of the odds before any feature is looked at.
        steps: One for each family.
        features: The single features with their values, strongest first, as text.
    """

    base: float
    steps: list[Step]
    features: list[tuple[str, str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class PairCard:
    """A pair of listings.

    Args:
        left: The first listing.
        right: The second one.
        score: In [0, 1]; None where the pair was never scored.
        matched: Whether the two match.
        same: Whether they are of one product; None where that is not known.
        reasons: Why it has its score; None where that is not known.
    """

    left: ListingCard
    right: ListingCard
    score: float | None
    matched: bool
    same: bool | None
    reasons: Reasons | None = None


Explain = Callable[[Sequence[tuple[int, int]]], list[Reasons | None]]  # pairs of rows → reasons of each


def no_reasons(pairs: Sequence[tuple[int, int]]) -> list[Reasons | None]:
    """Return no reasons, for a pool whose features were not kept."""
    return [None] * len(pairs)


def pair_cards(
    pool: MatchedPool, gallery: Gallery, thumbnails: Thumbnails, explain: Explain = no_reasons
) -> list[PairCard]:
    """Return the pairs of a gallery as cards.

    Args:
        pool: The pool of the gallery.
        gallery: Its pairs.
        thumbnails: Of the pool's catalog.
        explain: Returns why pairs have their scores.
    """
    left, right = gallery.left, gallery.right
    score = pool.score_of(left, right)
    matched = np.isin(pair_key(left, right, len(pool)), pair_key(*pool.matched_pairs(), len(pool)))
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    reasons = explain(pairs)
    cards = []
    for place, (one, other) in enumerate(pairs):
        sides = listing_pair(pool, one, other, thumbnails)
        of_pair = None if math.isnan(score[place]) else float(score[place])
        why = reasons[place] if of_pair is not None and explains(reasons[place], of_pair) else None
        cards.append(PairCard(*sides, of_pair, bool(matched[place]), _same(pool, one, other), why))
    return cards


def explains(reasons: Reasons | None, score: float) -> bool:
    """Return whether reasons sum up to a score; they do not where people's answers have changed it since.

    Examples:
        >>> explains(Reasons(-1.0, [Step("titles", 1.0)]), 0.5), explains(Reasons(-1.0, []), 0.5)
        (True, False)
    """
    if reasons is None:
        return False
    log_odds = reasons.base + sum(step.log_odds for step in reasons.steps)
    return abs(1 / (1 + math.exp(-min(max(log_odds, -700.0), 700.0))) - score) < 1e-3


def _same(pool: MatchedPool, one: int, other: int) -> bool | None:
    if pool.codes is None or min(pool.codes[one], pool.codes[other]) < 0:
        return None
    return bool(same_product(np.array([one]), np.array([other]), pool.codes)[0])


def listing_pair(pool: MatchedPool, one: int, other: int, thumbnails: Thumbnails) -> tuple[ListingCard, ListingCard]:
    """Return two listings as cards, their titles with the differences marked."""
    left, right = _title(pool, one), _title(pool, other)
    spans = shown_differences(left, right)
    parts = [[TitlePart(span.text, span.kind) for span in each] for each in spans]
    return (
        _card(pool, one, left, parts[0], thumbnails.of(one)),
        _card(pool, other, right, parts[1], thumbnails.of(other)),
    )


def listing_card(pool: MatchedPool, row: int, image: Thumbnail) -> ListingCard:
    """Return one listing as a card."""
    title = _title(pool, row)
    return _card(pool, row, title, [TitlePart(title)] if title else [], image)


def _title(pool: MatchedPool, row: int) -> str:
    return pool.catalog.table.column("title")[row].as_py() or ""


def _card(pool: MatchedPool, row: int, title: str, parts: list[TitlePart], image: Thumbnail) -> ListingCard:
    posting_id = pool.catalog.table.column("posting_id")[row].as_py()
    shown = cut(parts, LONGEST_TITLE)
    return ListingCard(posting_id[:80], shown, len(title) if len(title) > LONGEST_TITLE else 0, image)


def cut(parts: Sequence[TitlePart], most: int) -> list[TitlePart]:
    """Return the first characters of a title, with an ellipsis where more follow.

    Examples:
        >>> cut([TitlePart("red "), TitlePart("mug", "same")], 5)
        [TitlePart(text='red ', kind=''), TitlePart(text='m…', kind='same')]
    """
    kept: list[TitlePart] = []
    for part in parts:
        if len(part.text) > most:
            return [*kept, TitlePart(part.text[:most] + "…", part.kind)]
        kept.append(part)
        most -= len(part.text)
    return kept
