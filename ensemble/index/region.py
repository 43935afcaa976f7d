"""Decides the groups that changed pairs link, and leaves all others as they are.

What a rule decides about a listing depends only on listings that a chain of links or matches leads to. So only the
listings that a chain leads to from a changed one are decided again, as a pool by themselves at the threshold for the
whole. Most of them are in groups in which every pair is a link: every rule leaves those as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.pins import Pins
from ensemble.decision.rules import AverageLink, both_directions, sort_matches
from ensemble.features.conflicts import in_conflict
from ensemble.index.pair_cache import CachedPairs
from shared.schema import Flags, Floats, Matches, ScoredPairs, pair_key

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
    pins: Pins | None = None,
) -> Matches:
    """Return the matches of a pool after some of its scores changed.

    Args:
        decision: The decision.
        ids: Posting ids [n].
        pairs: All pairs.
        previous: Their scores when the pool was decided last, float32 [p]; 0 where there was no such pair.
        matches: The matches of that time between listings that are still there.
        changed: Listings that are new or lost a match, bool [n].
        hops: Decide again only groups that so many links lead to from the listings `changed`; None: all that any chain
            leads to from these and from pairs with other scores, which is exact.
        pins: Pairs whose match people decided, of listings that stand for others or themselves; `changed` holds those
            of pairs that were not decided so before. None: there are none.

    Examples:
        >>> rows = np.array([[0, 1], [1, 2]], np.int32)
        >>> score, no = np.array([0.9, 0.2], np.float32), np.zeros(2, dtype=np.uint8)
        >>> pairs = CachedPairs(3, *rows, score=score, first=score, cosines=score[:, None], conflict=no)
        >>> before = Matches(3, rows[0][:0], rows[0][:0], score[:0])
        >>> ids, new = np.array(["a", "b", "c"], dtype=object), np.ones(3, dtype=bool)
        >>> matches = decided(Decision("threshold", 0.5), ids, pairs, np.zeros(2, np.float32), before, new)
        >>> matches.listing.tolist(), matches.match.tolist()
        ([0, 1], [1, 0])
    """
    decision, pins = decision.fix_size(len(ids)), pins or Pins()
    is_link, has_new_score = pairs.score >= decision.threshold - ROUNDING, pairs.score != previous
    if decision.rule == "min2":  # a listing's best pair counts, whatever its score
        is_link |= _best(pairs, _rule_scores(decision, pairs, pins))
    else:
        has_new_score &= is_link | (previous >= decision.threshold - ROUNDING)
    component = _components(pairs, is_link, matches, pins)
    if hops is None:
        changed = changed.copy()
        changed[pairs.left[has_new_score]] = changed[pairs.right[has_new_score]] = True
        region = np.isin(component, component[changed])
    else:
        region = _near(pairs.only(is_link), matches, changed, hops)
        component = _components(pairs, is_link & region[pairs.left] & region[pairs.right], matches, pins)
    pinned = np.unique(component[np.concatenate([pins.must, pins.never])])
    plain = region & _cliques(decision, pairs, component) & ~np.isin(component, pinned)
    inside = pairs.only(plain[pairs.left] & plain[pairs.right] & (component[pairs.left] == component[pairs.right]))
    stays = ~region[matches.listing]
    remaining = Matches(len(ids), matches.listing[stays], matches.match[stays], matches.score[stays])
    of_cliques = both_directions(len(ids), inside.left, inside.right, inside.score)
    return _joined(remaining, of_cliques, _apply(decision, ids, pairs, region & ~plain, pins))


def _rule_scores(decision: Decision, pairs: CachedPairs, pins: Pins) -> Floats:
    """Return the scores by which a rule decides, float32 [p]."""
    score = np.where(in_conflict(pairs.conflict, decision.forbid), np.float32(0), pairs.score)
    for rows, value in ((pins.must, 1), (pins.never, 0)):
        score[np.isin(pairs.key, pair_key(rows[:, 0], rows[:, 1], pairs.n))] = value
    return score


def _components(pairs: CachedPairs, is_link: Flags, matches: Matches, pins: Pins) -> NDArray[np.int32]:
    """Return the number of the component that links, matches and answers put each listing in, int32 [n]."""
    columns = zip((pairs.left, pairs.right), (matches.listing, matches.match), pins.must.T, strict=True)
    ends = tuple(np.concatenate([of_pairs[is_link], of_matches, of_pins]) for of_pairs, of_matches, of_pins in columns)
    graph = coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(pairs.n, pairs.n))
    component: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return component


def _near(links: CachedPairs, matches: Matches, changed: Flags, hops: int) -> Flags:
    """Return the listings in groups that so many links lead to from changed listings, bool [n]."""
    group = groups_of(matches)
    region = changed.copy()
    for _ in range(hops):
        neighbors = region.copy()
        neighbors[links.left[region[links.right]]] = neighbors[links.right[region[links.left]]] = True
        region = np.isin(group, group[neighbors])
    return region


def _best(pairs: CachedPairs, score: Floats) -> Flags:
    """Return the pairs that are the best of one of their listings or tied with it, bool [p]."""
    best = np.zeros(pairs.n, dtype=np.float32)
    for ends in (pairs.left, pairs.right):
        np.maximum.at(best, ends, score)
    either: Flags = (score == best[pairs.left]) | (score == best[pairs.right])
    return either


def _cliques(decision: Decision, pairs: CachedPairs, component: NDArray[np.int32]) -> Flags:
    """Return the listings of components in which every rule makes every pair a match, none too many; bool [n]."""
    strong = pairs.score >= np.float64(max(decision.threshold, AverageLink.MIN_THRESHOLD))
    strong &= ~in_conflict(pairs.conflict, decision.forbid)
    size = np.bincount(component)
    links = np.bincount(component[pairs.left[strong]], minlength=len(size))
    most = min(decision.max_matches + 1, decision.max_group or pairs.n)
    complete = (links == size * (size - 1) // 2) & (size <= most)
    of_listing: Flags = complete[component]
    return of_listing


def _apply(decision: Decision, ids: NDArray[Any], pairs: CachedPairs, region: Flags, pins: Pins) -> Matches:
    """Return the matches of the listings in `region`, decided as a pool by themselves."""
    rows = np.flatnonzero(region).astype(np.int32)
    place = np.full(len(ids), -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    inside = pairs.only(region[pairs.left] & region[pairs.right])
    pool = ScoredPairs(len(rows), place[inside.left], place[inside.right], inside.score, inside.conflict)
    matches = decision.decide(pool, ids[rows], pins=pins.placed(place)).matches
    return Matches(len(ids), rows[matches.listing], rows[matches.match], matches.score)


def _joined(*parts: Matches) -> Matches:
    """Return the matches of all parts; all matches of one listing are in the same part."""
    columns = ([getattr(part, name) for part in parts] for name in ("listing", "match", "score"))
    return sort_matches(parts[0].n, *map(np.concatenate, columns))
