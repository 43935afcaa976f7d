"""Why two listings of a matched pool match, or why they do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ensemble.answers.contradictions import effective
from ensemble.decision.decision import Decision
from ensemble.explain.contributions import Contributions, contributions
from ensemble.explain.explained_pool import ExplainedPool
from ensemble.explain.reasons import reasons
from ensemble.features.conflicts import IN_WORDS, KINDS
from shared.schema import locate, pair_key
from shared.search.lists import DECIMALS


@dataclass(frozen=True)
class BranchSimilarity:
    """How alike a branch finds two listings.

    Args:
        branch: Name of the branch.
        cosine: In [-1, 1]; NaN where it has no evidence of one of them.
        ranks: Rank of each listing among the nearest of the other, from 1; None where `cosine` is NaN.
        is_proposed: Whether the branch proposed the pair.
        neighbors: The number of nearest that a listing proposes.
        minimum: The least similarity that the branch proposes.

    Examples:
        >>> BranchSimilarity("tfidf", 0.31, (120, 88), is_proposed=False, neighbors=50, minimum=0.0).in_words()
        'tfidf 0.31, rank 88 and 120, beyond the 50 nearest'
    """

    branch: str
    cosine: float
    ranks: tuple[int, int] | None
    is_proposed: bool
    neighbors: int
    minimum: float

    def in_words(self) -> str:
        """Return the similarity, the ranks, and why the branch did not propose the pair if that is known."""
        if self.ranks is None:
            return f"{self.branch} cannot compare them"
        low, high = sorted(self.ranks)
        text = f"{self.branch} {self.cosine:.2f}, rank {low:,}" + (f" and {high:,}" if high != low else "")
        if self.is_proposed:
            return text
        if round(self.cosine, DECIMALS) <= 0:
            return f"{text}, not alike at all"
        if self.cosine < self.minimum:
            return f"{text}, below the least similarity {self.minimum:.2f}"
        return f"{text}, beyond the {self.neighbors:,} nearest" if low > self.neighbors else text


@dataclass(frozen=True)
class PairExplanation:
    """Two listings, whether they match, and why.

        explain_pair(pool, pool.row("train_1"), pool.row("train_2")).verdict

    Args:
        ids: Their posting ids.
        titles: Their titles as written; "" where there is none, or where it was set aside.
        images: Names of their image files; "" where there is none.
        score: Probability that both sell the same product, in [0, 1]; None if no branch proposed the pair.
        threshold: The threshold that was used; None if it is unknown.
        matches: Whether the decision takes them for the same product.
        verdict: Whether they match and by what, in a sentence.
        contributions: What added to the score, of this one pair; None where it has none.
        similarities: How alike each branch finds them.
        reasons: What they have in common and where they differ, in words.
    """

    ids: tuple[str, str]
    titles: tuple[str, str]
    images: tuple[str, str]
    score: float | None
    threshold: float | None
    matches: bool
    verdict: str
    contributions: Contributions | None
    similarities: list[BranchSimilarity]
    reasons: str


def explain_pair(pool: ExplainedPool, one: int, other: int) -> PairExplanation:
    """Return why two listings match or do not.

        explain_pair(pool, pool.row("train_1"), pool.row("train_2")).verdict

    Listings with equal content are compared once, so the scores are those of the two that stand for them.

    Args:
        pool: A matched pool.
        one: Row of a listing.
        other: Row of another one.
    """
    catalog, pairs, copies = pool.views.catalog, pool.result.scored_pairs, pool.copies
    low, high = sorted((int(copies[one]), int(copies[other])))
    key = pair_key(np.array([low]), np.array([high]), pairs.n)
    position, is_pair = locate(key, pairs.key)
    score: float | None = 1.0 if low == high else None
    added: Contributions | None = None
    if is_pair[0]:
        score = float(pairs.score[position[0]])
        if pool.scorer is not None:
            added = contributions(pool.scorer, pool.described, position, pool.views.xp, pool.views.threads)
    conflict = pairs.conflict[position[0]] if is_pair[0] and pairs.conflict is not None else 0
    forbidden = [
        IN_WORDS[kind] for bit, kind in enumerate(KINDS) if kind in pool.decision.forbid and conflict >> bit & 1
    ]
    matches = is_match(pool, one, other)
    images = catalog.column("image")
    return PairExplanation(
        (catalog.ids[one], catalog.ids[other]),
        (catalog.titles[one], catalog.titles[other]),
        (images[one] or "", images[other] or ""),
        score,
        pool.result.threshold,
        matches,
        EQUAL if low == high and matches else verdict(pool, one, other, score, matches, forbidden),
        added,
        list(_similarities(pool, low, high)) if low != high else [],
        reasons(pool.views, one, other),
    )


EQUAL = "They match: their titles and images are equal, so they count as one listing."
SAME = "They match: people answered that they sell the same product."
DIFFERENT = "They do not match: people answered that they sell different products."
OUTVOTED = (
    "They do not match although people answered yes: an answer no about listings linked with them wins over it, or the "
    "largest number of matches of a listing does."
)


def answered(pool: ExplainedPool, one: int, other: int) -> str | None:
    """Return what people answered about two listings, named by row: `yes`, `no` or `unsure`; None where nobody did."""
    answers = pool.result.answers
    if answers is None:
        return None
    low, high = sorted((int(answers.stands[one]), int(answers.stands[other])))
    of_pair = answers.verdicts.get((low, high))
    return effective(of_pair).verdict if of_pair else None


def is_match(pool: ExplainedPool, one: int, other: int) -> bool:
    """Return whether the decision takes two listings, named by row, for the same product."""
    matches = pool.result.match_rows
    return any(bool((matches.match[matches.listing == a] == b).any()) for a, b in ((one, other), (other, one)))


def verdict(pool: ExplainedPool, one: int, other: int, score: float | None, matches: bool, forbidden: list[str]) -> str:
    """Return in a sentence whether two listings match, and whether by their own score or by their group.

    Args:
        pool: A matched pool.
        one: Row of a listing.
        other: Row of another one.
        score: Of the pair; None if no branch proposed it.
        matches: Whether they match.
        forbidden: Attributes, in words, in which their titles contradict each other and that forbid a match.
    """
    groups = pool.result.group_numbers
    threshold = pool.result.threshold or 0.0
    size = int((groups == groups[one]).sum())
    is_high = score is not None and score >= threshold
    said = answered(pool, one, other)
    if said == "yes":
        return SAME if matches else OUTVOTED
    if said == "no" and not matches:
        return DIFFERENT
    own = "no branch proposed the pair" if score is None else f"their own score is below the threshold {threshold:.3f}"
    if matches and is_high:
        return f"They match: their own score is at or above the threshold {threshold:.3f}."
    if matches and size > 2:
        return f"They match by their group of {size:,} listings; {own}."
    if matches:
        return f"They match as the best pair of a listing that must have a match; {own}."
    if forbidden:
        return f"They do not match: their titles contradict each other ({', '.join(forbidden)}), which forbids it."
    if not is_high:
        end = ", though both match a third listing" if groups[one] == groups[other] else ""
        return f"They do not match: {own}{end}."
    answers = pool.result.answers
    apart = _apart(pool.decision) + (", or an answer no keeps their groups apart" if answers else "")
    return f"They do not match although their own score is at or above {threshold:.3f}: {apart}."


def _apart(decision: Decision) -> str:
    """Return in words what can keep two listings apart whose score is high enough."""
    if decision.rule == "average_link":
        return "the mean score between their groups is below it, or the group would be too large"
    return "one of them has better matches, or the group would be too large"


def _similarities(pool: ExplainedPool, one: int, other: int) -> Iterator[BranchSimilarity]:
    """Yield how alike each branch finds two listings, the lower row first."""
    ends = np.array([one], dtype=np.int32), np.array([other], dtype=np.int32)
    for name, view in pool.views.branches.items():
        config, cosine = pool.configs[name], float(view.embeddings.similarity(*ends)[0])
        (position,), (is_proposed,) = locate(pair_key(*ends, len(pool)), view.candidates.key)
        candidates, ranks = view.candidates, None
        if not np.isnan(cosine):
            near = (candidates.rank_left[position], candidates.rank_right[position]) if is_proposed else (0, 0)
            ranks = int(near[0]) or _rank(pool, name, one, other), int(near[1]) or _rank(pool, name, other, one)
        yield BranchSimilarity(name, cosine, ranks, bool(is_proposed), config.neighbors, config.minimum)


def _rank(pool: ExplainedPool, branch: str, one: int, other: int) -> int:
    """Return the rank of a listing that is not among the nearest of another one by a branch.

    Of listings of equal content, only the one that stands for all has a rank.
    """
    rows = np.flatnonzero((pool.copies == np.arange(len(pool))) & (np.arange(len(pool)) != one)).astype(np.int32)
    cosine = pool.views.branches[branch].embeddings.similarity(np.full(len(rows), one, dtype=np.int32), rows)
    return int((cosine > cosine[rows == other]).sum()) + 1
