"""The content of a report: plain values, from which `page.py` makes HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ensemble.decision.decision import Decision
from ensemble.report.branches import Contribution
from ensemble.report.cards import Explain, ListingCard, PairCard, listing_card, no_reasons, pair_cards
from ensemble.report.galleries import CATALOG_GALLERIES, Gallery, false_merges, missed_pairs
from ensemble.report.group_graphs import GroupGraph, largest_groups
from ensemble.report.group_sizes import SizeClass, group_size_classes
from ensemble.report.intervals import Estimate, estimates
from ensemble.report.pool import MatchedPool
from ensemble.report.reliability import ReliabilityBin
from ensemble.report.threshold_curve import ThresholdCurve, is_labeled, threshold_curve
from ensemble.report.thumbnails import SMALL, Thumbnails

PAIRS, GROUPS = 12, 4  # that are shown of a gallery and of the largest groups, in a report of one catalog


@dataclass(frozen=True)
class Sample:
    """How much of a catalog is shown.

    Args:
        pairs: Pairs of a gallery at most.
        groups: Of the largest groups at most.
        seed: Of all samples and resamples.

    Examples:
        >>> Sample.of_catalogs(3, seed=0)
        Sample(pairs=4, groups=2, seed=0)
    """

    pairs: int
    groups: int
    seed: int

    @classmethod
    def of_catalogs(cls, count: int, seed: int) -> Sample:
        """Return how much is shown of each of some catalogs; the more catalogs, the less of each."""
        return cls(max(PAIRS // count, 2), max(GROUPS // count, 1 + (count < 8)), seed)


@dataclass(frozen=True)
class Quality:
    """How good the matches are, by labels.

    Args:
        pool: The pool in words, such as `a holdout of 5,502 listings`.
        pool_size: Its number of listings.
        labeled: Number of those with a label.
        judged_pairs: Number of matched pairs of which both listings have a label.
        estimates: Each metric with its interval.
        metrics: All metrics by name.
    """

    pool: str
    pool_size: int
    labeled: int
    judged_pairs: int
    estimates: Mapping[str, Estimate]
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """A pool with labels and its metrics.

    Args:
        pool: The pool.
        metrics: Its metrics by name.
        words: What it is, such as `a holdout of 5,502 listings`.
        explain: Returns why pairs of the pool have their scores.
        branches: What each branch contributes; None where that is not known.
    """

    pool: MatchedPool
    metrics: Mapping[str, Any]
    words: str
    explain: Explain = no_reasons
    branches: Contribution | None = None


@dataclass(frozen=True)
class ShownGallery:
    """A gallery and its pairs as cards."""

    gallery: Gallery
    cards: list[PairCard]
    pool: str
    threshold: float | None


@dataclass(frozen=True)
class ShownGroup:
    """A group and its listings as cards."""

    graph: GroupGraph
    cards: list[ListingCard]


@dataclass(frozen=True)
class Fault:
    """Why images cannot be used.

    Args:
        reason: In a few words.
        listings: Number of listings.
        example: The posting id of one.
    """

    reason: str
    listings: int
    example: str


@dataclass(frozen=True)
class CatalogContent:
    """What the report says of one catalog.

    Args:
        name: Of the catalog; "" where there is one.
        pool: The catalog that was matched.
        quality: Of its matches; None where it is not known.
        branches: What each branch contributes.
        curve: Metrics against the threshold; None where the decision is not known.
        sizes: Sizes of the groups of the catalog.
        judged_sizes: Sizes of the groups and of the products of the pool with labels.
        galleries: Pairs.
        groups: The largest groups.
        faults: Why images cannot be used.
    """

    name: str
    pool: MatchedPool
    quality: Quality | None
    branches: Contribution | None
    curve: ThresholdCurve | None
    sizes: list[SizeClass]
    judged_sizes: list[SizeClass]
    galleries: list[ShownGallery]
    groups: list[ShownGroup]
    faults: list[Fault]

    @property
    def group_count(self) -> int:
        """Return the number of groups of two or more listings."""
        return int((np.bincount(self.pool.groups) > 1).sum())

    @property
    def has_labels(self) -> bool:
        """Return whether the products of the catalog's listings are known."""
        return is_labeled(self.pool.codes)

    @property
    def alone(self) -> int:
        """Return the number of listings without a match."""
        return len(self.pool) - len(np.unique(self.pool.matches.listing))


@dataclass(frozen=True)
class StageCost:
    """What a stage of a run took: seconds, and MB at most."""

    name: str
    seconds: float
    memory: float


@dataclass(frozen=True)
class Answered:
    """How good matches are by people's answers, where there are no labels.

    Args:
        answers: Number of answers about pairs that were drawn at random.
        precision: Share of the matched pairs that are right.
        recall: Share of the true pairs that are matched.
        f1: Harmonic mean of the two.
    """

    answers: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class Report:
    """The content of a report.

    Args:
        title: What it is about.
        catalogs: Each catalog.
        sample: How much of each is shown.
        reliability: Of the out-of-fold scores; [] where there are none.
        calibration: Their expected calibration errors by name.
        ablation: What each part of the system is worth, by name; empty where that was not measured.
        decision: The decision in words; "" where it is not known.
        siblings: A sentence about siblings; "" where they were not counted.
        settings: Settings that differ from the default: name, value, default.
        stages: The cost of each stage.
        answered: How good the matches of a run without labels are by answers; None where that is not known.
        has_earlier_ablation: Whether an ablation was measured before settings, code or listings changed.
    """

    title: str
    catalogs: list[CatalogContent]
    sample: Sample
    reliability: list[ReliabilityBin] = field(default_factory=list)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    ablation: Mapping[str, Any] = field(default_factory=dict)
    decision: str = ""
    siblings: str = ""
    settings: Sequence[tuple[str, str, str]] = ()
    stages: Sequence[StageCost] = ()
    answered: Answered | None = None
    has_earlier_ablation: bool = False

    @property
    def has_marks(self) -> bool:
        """Return whether titles have their differences marked."""
        cards = (card for catalog in self.catalogs for shown in catalog.galleries for card in shown.cards)
        return any(part.kind for card in cards for part in (*card.left.parts, *card.right.parts))


def catalog_content(
    name: str,
    pool: MatchedPool,
    judged: Judged | None,
    decision: Decision | None,
    sample: Sample,
    max_pixels: int,
    explain: Explain = no_reasons,
) -> CatalogContent:
    """Return what the report says of one catalog.

    Args:
        name: Of the catalog; "" where there is one.
        pool: The catalog that was matched.
        judged: The pool with labels; the same one where the catalog itself has them. None where there are no labels.
        decision: The decision; None where it is not known.
        sample: How much is shown.
        max_pixels: Larger images are not shown.
        explain: Returns why pairs of the catalog have their scores.
    """
    thumbnails = Thumbnails(pool.catalog, max_pixels)
    galleries = [gallery(pool, sample.pairs, sample.seed) for gallery in CATALOG_GALLERIES]
    words = f"the catalog of {len(pool):,} listings"
    shown = _shown(pool, galleries, thumbnails, explain, words)
    if judged is not None:
        of_judged = Thumbnails(judged.pool.catalog, max_pixels)
        request = judged.pool, sample.pairs, sample.seed
        wrong = [false_merges(*request), *missed_pairs(*request)]
        shown += _shown(judged.pool, wrong, of_judged, judged.explain, judged.words)
    return CatalogContent(
        name,
        pool,
        None if judged is None else _quality(judged, sample.seed),
        None if judged is None else judged.branches,
        _curve(pool, judged, decision),
        group_size_classes(pool.groups),
        [] if judged is None else group_size_classes(judged.pool.groups, judged.pool.codes),
        [each for each in shown if each.cards],
        [
            ShownGroup(graph, [listing_card(pool, row, thumbnails.of(row, SMALL)) for row in graph.rows.tolist()])
            for graph in largest_groups(pool, sample.groups, sample.seed)
        ],
        _faults(pool),
    )


def _shown(
    pool: MatchedPool, galleries: Sequence[Gallery], thumbnails: Thumbnails, explain: Explain, words: str
) -> list[ShownGallery]:
    """Return the galleries of a pool; the pairs of all are explained at once, which reads its features once."""
    pairs = [pair for of in galleries for pair in zip(of.left.tolist(), of.right.tolist(), strict=True)]
    reasons = dict(zip(pairs, explain(pairs), strict=True))
    cards = [pair_cards(pool, of, thumbnails, lambda pairs: [reasons[pair] for pair in pairs]) for of in galleries]
    return [ShownGallery(of, own, words, pool.facts.threshold) for of, own in zip(galleries, cards, strict=True)]


def _quality(judged: Judged, seed: int) -> Quality:
    pool, metrics = judged.pool, judged.metrics
    assert pool.codes is not None
    values = estimates(metrics, pool.matches, pool.groups, pool.codes, seed)
    is_labeled_pair = np.stack([pool.codes[rows] >= 0 for rows in pool.matched_pairs()]).all(axis=0)
    counts = len(pool), int((pool.codes >= 0).sum()), int(is_labeled_pair.sum())
    return Quality(judged.words, *counts, values, metrics)


def _curve(pool: MatchedPool, judged: Judged | None, decision: Decision | None) -> ThresholdCurve | None:
    if decision is None or len(pool) == 0:
        return None
    if judged is None or not is_labeled(judged.pool.codes):
        return threshold_curve(pool, decision)
    return threshold_curve(judged.pool, decision, None if judged.pool is pool else pool)


def _faults(pool: MatchedPool) -> list[Fault]:
    reasons = pool.catalog.column("image_fault")
    ids, first = pool.catalog.ids, {reason: row for row, reason in reversed(list(enumerate(reasons))) if reason}
    counts = Counter(reason for reason in reasons if reason)
    return [Fault(reason, count, ids[first[reason]]) for reason, count in counts.most_common(10)]
