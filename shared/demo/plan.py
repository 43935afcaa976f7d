"""How many listings each product of the demo marketplace has, which products are siblings, and what is missing.

The group sizes follow the Shopee competition's: two thirds pairs, 3.1 listings on average, at most 51.
"""

from dataclasses import dataclass

import numpy as np

from shared.errors import MatcherError

MIN_GROUP, MAX_GROUP = 2, 51
PAIR_SHARE = 0.65
SIZE_DECAY = 2.62  # of groups above two, those of size s are proportional to s^-2.62: 5.1 listings on average
FAMILY_SHARES = (0.73, 0.16, 0.07, 0.04)  # of families with one, two, three and four products
GAP_SHARES = {"no image": 0.005, "lost image": 0.005, "no title": 0.01}  # of the listings


@dataclass(frozen=True)
class FamilyPlan:
    """A family of products to make.

    Attributes:
        index: The family's number, which with the seed determines all that it contains.
        labels: A label group for each product.
        rows: For each product, the rows of its listings in the finished table.
        gaps: What a row lacks, for the few rows that lack something: a key of `GAP_SHARES`.
    """

    index: int
    labels: list[str]
    rows: list[list[int]]
    gaps: dict[int, str]


def plan_families(listings: int, seed: int) -> list[FamilyPlan]:
    """Share out the listings among families of products, in an order that tells nothing about them.

    Args:
        listings: The exact number of listings of all families together, at least 2.
        seed: Same seed, same plan.

    Raises:
        MatcherError: If there are fewer than two listings.
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
        own = {row: gaps[row] for group in rows[first:last] for row in group if row in gaps}
        families.append(FamilyPlan(len(families), labels[first:last], rows[first:last], own))
        first = last
    return families


def _group_sizes(listings: int, rng: np.random.Generator) -> list[int]:
    """Draw group sizes that add up to the number of listings; small marketplaces have no very large group."""
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
    """Cut what is left into pairs, with a triple where it is odd."""
    if left < MIN_GROUP:
        return []
    return [MIN_GROUP] * (left // 2 - 1) + [MIN_GROUP + left % 2]


def _gaps(listings: int, rng: np.random.Generator) -> dict[int, str]:
    wanted = [gap for gap, share in GAP_SHARES.items() for _ in range(_count(listings, share))]
    rows = rng.choice(listings, size=len(wanted), replace=False)
    return dict(zip(rows.tolist(), wanted, strict=True))


def _count(listings: int, share: float) -> int:
    """At least one of each in all but the tiniest marketplaces."""
    return round(listings * share) or int(listings >= 40)
