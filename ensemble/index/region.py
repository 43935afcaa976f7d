"""Decides the groups that changed pairs link, and leaves all others as they are.

What a rule makes of a listing depends on nobody that no chain of links or matches leads to. So the listings that a
chain links to a changed one are decided again, as a pool by themselves at the threshold for the whole, and only they.
Most of them are in groups of which every pair is a link: every rule takes those as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.rules import AverageLink, both_directions, sort_matches
from ensemble.index.pair_cache import CachedPairs
from shared.schema import Flags, Floats, Matches, ScoredPairs

ROUNDING = 1e-6  # more than a threshold and a score of float32 differ by where they are equal


def decided(
    decision: Decision,
    ids: NDArray[Any],
    pairs: CachedPairs,
    previous: Floats,
    matches: Matches,
    changed: Flags,
    *,
    hops: int | None = None,
) -> Matches:
    """Return the matches of a pool whose pairs have other scores than when it was decided.

    Args:
        decision: The decision.
        ids: Posting ids [n].
        pairs: All pairs.
        previous: Their scores when the pool was decided, 0 where there was no such pair, float32 [p].
        matches: What was decided then, of listings that are still there.
        changed: Listings that are new or lost a match, bool [n].
        hops: Decide again only groups that so many links lead to from the listings `changed`; None: all that any chain
            leads to from these and from pairs with other scores, which is exact.
    """
    decision = decision.fix_size(len(ids))
    linked, moved = pairs.score >= decision.threshold - ROUNDING, pairs.score != previous
    if decision.rule == "min2":  # a listing's best pair counts, whatever its score
        linked |= _best(pairs, np.where(decision.quantity_veto & pairs.conflict, np.float32(0), pairs.score))
    else:
        moved &= linked | (previous >= decision.threshold - ROUNDING)
    component = _components(pairs, linked, matches)
    if hops is None:
        changed = changed.copy()
        changed[pairs.left[moved]] = changed[pairs.right[moved]] = True
        region = np.isin(component, component[changed])
    else:
        region = _near(pairs.only(linked), matches, changed, hops)
        component = _components(pairs, linked & region[pairs.left] & region[pairs.right], matches)
    plain = region & _cliques(decision, pairs, component)
    inside = pairs.only(plain[pairs.left] & plain[pairs.right] & (component[pairs.left] == component[pairs.right]))
    stays = ~region[matches.listing]
    kept = Matches(len(ids), matches.listing[stays], matches.match[stays], matches.score[stays])
    of_cliques = both_directions(len(ids), inside.left, inside.right, inside.score)
    return _joined(kept, of_cliques, _apply(decision, ids, pairs, region & ~plain))


def _components(pairs: CachedPairs, linked: Flags, matches: Matches) -> NDArray[np.int32]:
    """Number of the component that links and matches put each listing in, [n]."""
    ends = np.append(pairs.left[linked], matches.listing), np.append(pairs.right[linked], matches.match)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(pairs.n, pairs.n))
    component: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return component


def _near(links: CachedPairs, matches: Matches, changed: Flags, hops: int) -> Flags:
    """The listings in groups that so many links lead to from changed listings, bool [n]."""
    group = groups_of(matches)
    region = changed.copy()
    for _ in range(hops):
        reached = region.copy()
        reached[links.left[region[links.right]]] = reached[links.right[region[links.left]]] = True
        region = np.isin(group, group[reached])
    return region


def _best(pairs: CachedPairs, score: Floats) -> Flags:
    """The pairs that are the best of one of their listings or tied with it, bool [p]."""
    best = np.zeros(pairs.n, dtype=np.float32)
    for ends in (pairs.left, pairs.right):
        np.maximum.at(best, ends, score)
    either: Flags = (score == best[pairs.left]) | (score == best[pairs.right])
    return either


def _cliques(decision: Decision, pairs: CachedPairs, component: NDArray[np.int32]) -> Flags:
    """The listings of components in which every pair is a link whatever the rule, and none has too many; bool [n]."""
    strong = pairs.score >= np.float64(max(decision.threshold, AverageLink.MIN_THRESHOLD))
    if decision.quantity_veto:
        strong &= ~pairs.conflict
    size = np.bincount(component)
    links = np.bincount(component[pairs.left[strong]], minlength=len(size))
    complete = (links == size * (size - 1) // 2) & (size - 1 <= decision.max_matches)
    of_listing: Flags = complete[component]
    return of_listing


def _apply(decision: Decision, ids: NDArray[Any], pairs: CachedPairs, region: Flags) -> Matches:
    """The matches of the listings in `region`, decided as a pool by themselves."""
    rows = np.flatnonzero(region).astype(np.int32)
    place = np.full(len(ids), -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    inside = pairs.only(region[pairs.left] & region[pairs.right])
    pool = ScoredPairs(len(rows), place[inside.left], place[inside.right], inside.score, inside.conflict)
    found = decision.apply(pool, ids[rows])
    return Matches(len(ids), rows[found.listing], rows[found.match], found.score)


def _joined(*parts: Matches) -> Matches:
    """The matches of listings of which each has all of its own in one part."""
    columns = ([getattr(part, name) for part in parts] for name in ("listing", "match", "score"))
    return sort_matches(parts[0].n, *map(np.concatenate, columns))
