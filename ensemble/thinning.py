"""Thinned pools: parts of the fold pools in which fewer products have several listings.

Listings are mostly labeled because they have a match, so a scorer learns from them that the nearest neighbor is one.
Most catalogs are not like that. So the scorer also learns from smaller pools in which only a share of the products keep
more than one listing, some of them of a part of the products alone: how few have a match must not be taken from the
size of a pool. What depends on the pool (neighbors, ranks, densities, how rare a word is) is computed again in
each of them; the embeddings of trained encoders are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from branches import registry
from branches.base import BranchConfig
from branches.candidates import propose
from ensemble.candidate_pairs import union
from ensemble.config import Family
from ensemble.features.assemble import pair_features
from ensemble.pool_views import BranchView, PoolViews
from shared.catalog.copies import copy_of
from shared.compute import ComputeConfig
from shared.schema import Catalog, Embeddings, PairFeatures

PARTS = (1.0, 1 / 3)  # shares of the products of a fold pool that thinned pools are made of


def kinds_of(shares: Sequence[float]) -> list[tuple[float, float]]:
    """Return for each thinned pool the share of its products with several listings, and which part of all these are.

    Examples:
        >>> [(share, round(part, 2)) for share, part in kinds_of([0, 0.1])]
        [(0, 1.0), (0.1, 1.0), (0, 0.33), (0.1, 0.33)]
    """
    return [(share, part) for part in PARTS for share in shares]


def thin(codes: NDArray[np.integer], share: float, seed: int, part: float = 1.0) -> NDArray[np.int64]:
    """Return the rows that a thinned pool keeps, rising.

    Args:
        codes: Label code of each listing, int [n]; -1 where there is no label: such a listing stays.
        share: Share of the products that keep more than one listing, in [0, 1], or all that have several if these are
            fewer: every other one keeps two, the rest keep all.
        seed: Seed of the choice of products and listings.
        part: Share of the products, and of the listings without a label, that are kept at all, in (0, 1].

    Examples:
        >>> codes = np.array([0, 0, 0, 1, 1, 2])
        >>> codes[thin(codes, share=0, seed=1)].tolist()
        [0, 1, 2]
    """
    rng = np.random.default_rng(seed)
    if part < 1:
        products = np.where(codes >= 0, codes, codes.max(initial=-1) + 1 + np.arange(len(codes)))
        rows = np.flatnonzero((rng.random(products.max(initial=-1) + 1) < part)[products])
        return rows[thin(codes[rows], share, seed)]
    sizes = np.bincount(codes[codes >= 0], minlength=int(codes.max(initial=-1)) + 1)
    several = rng.permutation(np.flatnonzero(sizes > 1))[: round(share * int((sizes > 0).sum()))]
    most = np.ones(len(sizes), dtype=np.int64)
    most[several[::2]], most[several[1::2]] = 2, len(codes)
    return keep_listings(codes, most, rng)


def keep_listings(codes: NDArray[np.integer], most: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the rows of a random choice of listings, at most so many of each product, rising.

    Args:
        codes: Label code of each listing, int [n]; -1 where there is no label: such a listing stays.
        most: Number of listings that each product keeps at most, by label code, int [products].
        rng: Source of randomness. In the same state it gives choices of which the smaller ones lie in the larger ones.

    Examples:
        >>> codes = np.array([0, 1, 0, 0, -1])
        >>> sorted(codes[keep_listings(codes, np.array([2, 1]), np.random.default_rng(0))].tolist())
        [-1, 0, 0, 1]
    """
    order = rng.permutation(len(codes))
    order = order[np.argsort(codes[order], kind="stable")]  # the listings of a product together, in random order
    code = codes[order]
    place = np.arange(len(code)) - np.searchsorted(code, code)  # among the listings of the product, from 0
    return np.sort(order[(code < 0) | (place < np.append(most, 0)[code])])


def described_pool(
    catalog: Catalog,
    learned: Mapping[str, Embeddings],
    configs: Mapping[str, BranchConfig],
    families: Sequence[Family],
    compute: ComputeConfig,
) -> PairFeatures:
    """Return the candidate pairs of listings that are searched as a pool of their own, with their features.

        described_pool(catalog.take(rows), {"image": embeddings.take(rows)}, configs, ["branches", "titles"], compute)

    Args:
        catalog: n listings.
        learned: The embeddings by each branch with an encoder, n rows each.
        configs: The settings of every branch, in order.
        families: Families of features.
        compute: Where the work runs.
    """
    views, copies = {}, copy_of(catalog)
    for name, config in configs.items():
        embeddings = learned.get(name)
        if embeddings is None:
            embeddings = registry.get(name).fit(catalog, None, config, compute).transform(catalog)
        views[name] = BranchView(embeddings, propose(embeddings, config, compute, copies))
    pool = PoolViews(catalog, views, compute.xp(), compute.cpu_threads)
    return pair_features(pool, union((view.candidates for view in views.values()), len(catalog)), families)


def score_files(pool: str, thinned: int) -> list[str]:
    """Return the names of the files with the out-of-fold scores of a fold pool and of those thinned from it.

    Examples:
        >>> score_files("fold0", 1)
        ['fold0.parquet', 'fold0-thinned0.parquet']
    """
    return [f"{pool}.parquet", *(f"{pool}-thinned{number}.parquet" for number in range(thinned))]
