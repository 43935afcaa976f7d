"""Scored pairs from a dictionary."""

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from ensemble.decision.curves import ScoredPool
from ensemble.features.conflicts import KINDS
from shared.schema import Matches, ScoredPairs

Edges = dict[tuple[int, int], float]


def scored(n: int, edges: Edges) -> ScoredPairs:
    """Return the pairs of n listings that have these scores."""
    ends = np.array(sorted(edges), dtype=np.int32).reshape(-1, 2)
    score = np.array([edges[i, j] for i, j in sorted(edges)], dtype=np.float32)
    return ScoredPairs(n, ends[:, 0].copy(), ends[:, 1].copy(), score)


def attribute_columns(count: int, **conflicts: Any) -> pd.DataFrame:
    """Return the features of attributes of so many pairs, which state nothing but the conflicts that are given."""
    names = [f"{kind}_{name}" for kind in KINDS for name in ("shared", "odd_low")]
    table = pd.DataFrame(dict.fromkeys([*names, "quantity_conflict"], np.full(count, np.nan, dtype=np.float32)))
    for kind, conflict in conflicts.items():
        if kind == "quantity":
            table["quantity_conflict"] = np.asarray(conflict, dtype=np.float32)
        else:
            table[f"{kind}_shared"] = 1 - np.asarray(conflict, dtype=np.float32)
            table[f"{kind}_odd_low"] = np.ones(count, dtype=np.float32)
    return table


def lists_of(matches: Matches) -> dict[int, list[int]]:
    """Return the matches of each listing, best first."""
    return {row: matches.tolist() for row, matches in enumerate(matches.lists())}


def pool(n: int, edges: Edges, codes: list[int]) -> ScoredPool:
    """Return the pairs of n listings that have these scores, and the label code of each listing."""
    return scored(n, edges), np.array(codes)


def random_pool(n: int, seed: int) -> ScoredPool:
    """Pairs of one group score beta(5, 2), others beta(2, 5); one listing in four is of a group of its own."""
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random(n) < 0.25, np.arange(n) + n, rng.integers(0, n // 4, n))
    pairs = [pair for pair in combinations(range(n), 2) if codes[pair[0]] == codes[pair[1]] or rng.random() < 0.1]
    same = [codes[i] == codes[j] for i, j in pairs]
    scores = np.where(same, rng.beta(5, 2, len(pairs)), rng.beta(2, 5, len(pairs)))
    _, codes = np.unique(codes, return_inverse=True)
    return pool(n, dict(zip(pairs, scores.tolist(), strict=True)), codes.tolist())
