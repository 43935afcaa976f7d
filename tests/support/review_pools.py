"""Pools to review, made from known parameters."""

from itertools import combinations

import numpy as np
import pandas as pd

from ensemble.review.simulation import PoolOfLabels
from ensemble.review.start import start_scores
from shared.schema import Flags, PairFeatures, ScoredPairs


def synthetic_pool(products: int = 60, size: int = 3, seed: int = 0, conflicts: float = 0.0) -> PoolOfLabels:
    """Return a pool of products of one size, each listing paired with its product's and with eight random others.

    Cosines are normal with mean .7 for true pairs and .35 for others. A share of the others is as similar as true pairs
    are, and differs in a number; that says nothing in a pool where the share is 0.
    """
    rng = np.random.default_rng(seed)
    n = products * size
    codes = np.arange(n) // size
    pairs = {
        pair for product in range(products) for pair in combinations(range(product * size, product * size + size), 2)
    }
    pairs |= {tuple(sorted(pair)) for pair in rng.integers(n, size=(8 * n, 2)).tolist() if pair[0] != pair[1]}
    ends = np.array(sorted(pairs), dtype=np.int32)
    left, right = ends[:, 0].copy(), ends[:, 1].copy()
    truth = codes[left] == codes[right]
    look_alike = ~truth & (rng.random(len(ends)) < conflicts)
    cosine = np.clip(rng.normal(np.where(truth | look_alike, 0.7, 0.35), 0.1), 0, 1)
    columns = {
        "tfidf_cosine": cosine,
        "number_shared": np.ones(len(ends)),
        "number_odd_low": look_alike,
        "number_odd_high": look_alike,
    }
    described = PairFeatures(n, left, right, pd.DataFrame(columns, dtype=np.float32))
    return PoolOfLabels(start_scores(described), described, codes)


def described(n: int, **columns: list[float]) -> PairFeatures:
    """Return all pairs of the first listing with each other one, described by columns of n - 1 values."""
    rows = np.zeros(n - 1, dtype=np.int32), np.arange(1, n, dtype=np.int32)
    return PairFeatures(n, *rows, pd.DataFrame(columns, dtype=np.float32, index=range(n - 1)))


def all_pairs(n: int, seed: int = 0) -> ScoredPairs:
    """Return all pairs of n listings with scores at random."""
    left, right = (rows.astype(np.int32) for rows in np.triu_indices(n, 1))
    return ScoredPairs(n, left, right, np.random.default_rng(seed).random(len(left), dtype=np.float32))


NO_POSITIONS = np.zeros(0, dtype=np.int64)
NO_ANSWERS: Flags = np.zeros(0, dtype=np.bool_)
