"""Decides the groups that changed pairs link, and leaves all others as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.config import VETO
from ensemble.decision.decision import Decision
from ensemble.decision.rules import ordered
from ensemble.index.pair_cache import CachedPairs
from shared.schema import Flags, Floats, Matches, Pairs


def decided(
    decision: Decision, ids: NDArray[Any], pairs: CachedPairs, previous: Floats, matches: Matches, changed: Flags
) -> Matches:
    """Return the matches of a pool whose pairs have other scores than when it was decided.

    What a rule makes of a listing depends on nobody that no chain of links or matches leads to. So the listings that a
    chain links to a changed one are decided again, as a pool by themselves at the threshold for the whole, and only
    they.

    Args:
        decision: The decision.
        ids: Posting ids [n].
        pairs: All pairs.
        previous: Their scores when the pool was decided, 0 where there was no such pair, float32 [p].
        matches: What was decided then, of listings that are still there.
        changed: Listings that are new or lost a match, bool [n].
    """
    n = len(ids)
    decision = decision.fixed(n)
    least = np.float32(decision.threshold)
    linked, moved = pairs.score >= least, pairs.score != previous
    if decision.rule == "min2":  # a listing's best pair counts, whatever its score
        linked |= _best(pairs)
    else:
        moved &= linked | (previous >= least)
    changed = changed.copy()
    changed[pairs.left[moved]] = changed[pairs.right[moved]] = True
    ends = np.append(pairs.left[linked], matches.listing), np.append(pairs.right[linked], matches.match)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(n, n))
    component = connected_components(graph, directed=False)[1]
    region = np.isin(component, component[changed])
    rows = np.flatnonzero(region).astype(np.int32)
    place = np.full(n, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    inside = pairs.only(region[pairs.left] & region[pairs.right])
    conflict = pd.DataFrame({VETO: inside.conflict.astype(np.float32)})
    again = decision.apply(Pairs(len(rows), place[inside.left], place[inside.right], conflict, inside.score), ids[rows])
    stays = ~region[matches.listing]
    return ordered(
        n,
        np.append(matches.listing[stays], rows[again.listing]),
        np.append(matches.match[stays], rows[again.match]),
        np.append(matches.score[stays], again.score),
    )


def _best(pairs: CachedPairs) -> Flags:
    """The pairs that are the best of one of their listings or tied with it, bool [p]."""
    best = np.zeros(pairs.n, dtype=np.float32)
    for ends in (pairs.left, pairs.right):
        np.maximum.at(best, ends, pairs.score)
    either: Flags = (pairs.score == best[pairs.left]) | (pairs.score == best[pairs.right])
    return either
