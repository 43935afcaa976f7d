"""Plan the demo marketplace: how many listings each product has, which are siblings, which lack an image or title.

The group sizes follow the Shopee competition's: two thirds pairs, 3.1 listings on average, at most 51.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from shared.errors import MatcherError

MIN_GROUP, MAX_GROUP = 2, 51
PAIR_SHARE = 0.65
SIZE_DECAY = 2.62  # above two, the share of groups of size s is proportional to s^-2.62: 5.1 listings on average
FAMILY_SHARES = (0.73, 0.16, 0.07, 0.04)  # of families with one, two, three and four products
GAP_SHARES = {"no image": 0.005, "lost image": 0.005, "no title": 0.01}  # shares of the listings


@dataclass(frozen=True)
class FamilyPlan:
    """A family of sibling products and their listings.

    Attributes:
        index: Number of the family; it and the seed determine everything in it.
        labels: A label group for each product.
        rows: For each product, the rows of its listings in the finished table.
        gaps: What a row lacks, a key of `GAP_SHARES`, for the few rows that lack something.
    """

    index: int
    labels: list[str]
    rows: list[list[int]]
    gaps: dict[int, str]

    def with_rows(self, numbers: Sequence[int]) -> "FamilyPlan":
        """Return the plan for a larger table, of which row `numbers[i]` takes the place of row i."""
        rows = [[numbers[row] for row in group] for group in self.rows]
        return replace(self, rows=rows, gaps={numbers[row]: gap for row, gap in self.gaps.items()})


def plan_families(listings: int, seed: int) -> list[FamilyPlan]:
    """Return a plan of all families; the order of the rows reveals nothing about groups or families.

    Args:
        listings: Number of listings of all families together, at least 2.
        seed: The same seed gives the same plan.

    Raises:
        MatcherError: There are fewer than two listings.
    """
    if listings < MIN_GROUP:
        raise MatcherError(f"a demo marketplace needs at least {MIN_GROUP} listings, not {listings:,}")
    rng = np.random.default_rng([seed, 0])
    sizes = _group_sizes(listings, rng)
    labels = [str(label) for label in 10**8 + rng.choice(4 * 10**9, size=len(sizes), replace=False)]
    rows = [part.tolist() for part in np.split(rng.permutation(listings), np.cumsum(sizes)[:-1])]
    gaps = _gaps(listings, rng)
    families: list[FamilyPlan] = []
    first = 0
    while first < len(sizes):
        last = first + 1 + int(rng.choice(len(FAMILY_SHARES), p=FAMILY_SHARES))
        family_gaps = {row: gaps[row] for group in rows[first:last] for row in group if row in gaps}
        families.append(FamilyPlan(len(families), labels[first:last], rows[first:last], family_gaps))
        first = last
    return families


def _group_sizes(listings: int, rng: np.random.Generator) -> list[int]:
    """Return random group sizes that add up to the number of listings; small marketplaces have no very large group."""
    largest = min(MAX_GROUP, max(MIN_GROUP + 1, listings // 15))
    above = np.arange(MIN_GROUP + 1, largest + 1)
    weights = above**-SIZE_DECAY
    sizes: list[int] = []
    left = listings
    while left > largest + 1:
        is_pair = rng.random() < PAIR_SHARE
        sizes.append(MIN_GROUP if is_pair else int(rng.choice(above, p=weights / weights.sum())))
        left -= sizes[-1]
    return sizes + _cut(left)


def _cut(left: int) -> list[int]:
    """Return group sizes for the rest: pairs, and one triple where the rest is odd."""
    if left < MIN_GROUP:
        return []
    return [MIN_GROUP] * (left // 2 - 1) + [MIN_GROUP + left % 2]


def _gaps(listings: int, rng: np.random.Generator) -> dict[int, str]:
    kinds = [gap for gap, share in GAP_SHARES.items() for _ in range(_count(listings, share))]
    rows = rng.choice(listings, size=len(kinds), replace=False)
    return dict(zip(rows.tolist(), kinds, strict=True))


def _count(listings: int, share: float) -> int:
    """Return a share of the listings, at least one except in the tiniest marketplaces."""
    return round(listings * share) or int(listings >= 40)
