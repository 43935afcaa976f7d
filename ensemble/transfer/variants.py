"""The pools that are made of a holdout: with few duplicates, and of several sizes.

Products and listings are drawn once, so of two pools of one kind the smaller one lies in the larger one, and what
differs between them is not the choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensemble.decision.bootstrap import product_codes
from ensemble.thinning import keep_listings

WHOLE = "all listings"
TWICE = {  # row of the table → share of the products that have two listings
    "every product once": 0.0,
    "a tenth of the products twice": 0.1,
    "three tenths of the products twice": 0.3,
}
SIZES = {"a tenth of the products": 0.1, "three tenths of the products": 0.3}  # row → share that stays, whole


def variants(codes: NDArray[np.integer], seed: int) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the holdout that each pool to measure on has, rising, by the name of its row in the table.

    Args:
        codes: Label code of each listing of the holdout, int [n]; -1 where there is no label: a product of its own.
        seed: Seed of the choice of products and listings.

    Examples:
        >>> {name: len(rows) for name, rows in variants(np.arange(30) // 3, seed=0).items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'all listings': 30, 'every product once': 10, 'a tenth of the products twice': 11,
         'three tenths of the products twice': 13, 'a tenth of the products': 3, 'three tenths of the products': 9}
    """
    product = product_codes([codes])
    pools = {WHOLE: np.arange(len(product))}
    pools |= {name: twice(product, share, seed) for name, share in TWICE.items()}
    return pools | {name: whole_products(product, share, seed) for name, share in SIZES.items()}


def twice(product: NDArray[np.integer], share: float, seed: int) -> NDArray[np.int64]:
    """Return the rows of a pool in which a share of the products have two listings and all others one, rising.

    Where fewer products than that have two listings, these all keep two.

    Args:
        product: Number of each listing's product, from 0, int [n].
        share: Share of the products, in [0, 1].
        seed: Seed of the choice of products and listings.

    Examples:
        >>> product = np.array([0, 0, 0, 1, 1, 2])
        >>> product[twice(product, 1, seed=0)].tolist()
        [0, 0, 1, 1, 2]
    """
    rng = np.random.default_rng(seed)
    sizes = np.bincount(product)
    several = rng.permutation(np.flatnonzero(sizes > 1))
    most = np.ones(len(sizes), dtype=np.int64)
    most[several[: round(share * len(sizes))]] = 2
    return keep_listings(product, most, rng)


def whole_products(product: NDArray[np.integer], share: float, seed: int) -> NDArray[np.int64]:
    """Return the rows of a share of the products, at least one, with all their listings; rising.

    Args:
        product: Number of each listing's product, from 0, int [n].
        share: Share of the products, in [0, 1].
        seed: Seed of the choice of products.

    Examples:
        >>> len(whole_products(np.array([0, 0, 1, 1]), 0.5, seed=0))
        2
    """
    products = int(product.max(initial=-1)) + 1
    chosen = np.random.default_rng(seed).permutation(products)[: max(round(share * products), 1)]
    return np.flatnonzero(np.isin(product, chosen))
