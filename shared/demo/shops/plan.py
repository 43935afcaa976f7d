"""Plan the shops' lists: how many of the shops list each product, and which products are siblings.

Nearly half of the products stand in one list only, as in price lists of electronics; none is twice in one list.
"""

import numpy as np

from shared.demo.plan import FamilyPlan
from shared.errors import MatcherError

GROUP_SHARES = (0.45, 0.40, 0.09, 0.04, 0.02)  # of products with one to five listings: 1.8 listings on average
FAMILY_SHARES = (0.54, 0.24, 0.12, 0.06, 0.04)  # of families with one to five products
MAX_FAMILY = len(FAMILY_SHARES)
FIRST_LABEL = 5 * 10**9  # above those of the marketplace


def plan_families(listings: int, seed: int) -> list[FamilyPlan]:
    """Return a plan of all families; the order of the rows reveals nothing about groups or families.

    Args:
        listings: Number of listings of all families together, at least 2.
        seed: The same seed gives the same plan.

    Raises:
        MatcherError: There are fewer than two listings.
    """
    if listings < 2:
        raise MatcherError(f"a demo of shops needs at least 2 listings, not {listings:,}")
    rng = np.random.default_rng([seed, 11])
    sizes = _group_sizes(listings, rng)
    labels = [str(FIRST_LABEL + number) for number in rng.choice(4 * 10**9, size=len(sizes), replace=False)]
    rows = [part.tolist() for part in np.split(rng.permutation(listings), np.cumsum(sizes)[:-1])]
    families: list[FamilyPlan] = []
    first = 0
    while first < len(sizes):
        last = first + 1 + int(rng.choice(MAX_FAMILY, p=FAMILY_SHARES))
        families.append(FamilyPlan(len(families), labels[first:last], rows[first:last], {}))
        first = last
    return families


def _group_sizes(listings: int, rng: np.random.Generator) -> list[int]:
    """Return random group sizes that add up to the number of listings."""
    sizes: list[int] = []
    left = listings
    while left:
        sizes.append(min(left, 1 + int(rng.choice(len(GROUP_SHARES), p=GROUP_SHARES))))
        left -= sizes[-1]
    if max(sizes) == 1:  # in the tiniest catalogs: at least one product has a match
        sizes = [2, *[1] * (listings - 2)]
    return sizes
