"""Brings an index up to date with listings that are added, updated or removed; a query is one that is not written down.

1. The new listings are embedded and searched against all: one linear search per branch. Of a branch whose vectors
   depend on the pool (how rare a term is), all vectors and their similarities are as they are then; who is in whose
   list of neighbors stays.
2. The pairs of new listings are described and scored by the first model, and so are plausible pairs of others: a score
   follows who else is near and how rare words are, and hundreds of groups follow a change in the second decimal.
3. The second model scores again what it scores of these pairs and of those next to them.
4. The groups that changed scores link are decided again. All other pairs keep their scores, all other listings their
   matches, unless the threshold moved with the size of the pool.

A query looks no further than it must: vectors of old listings stay, of other pairs than its own those are scored again
of which both listings are near it, and only groups are decided again that two links lead to. A list of neighbors that
lost one is not filled up; a rebuild mends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from branches import registry
from branches.base import BranchConfig
from ensemble.candidate_pairs import union
from ensemble.decision.decision import groups_of
from ensemble.index.embeddings import Embedders
from ensemble.index.group_ids import changes, inherited
from ensemble.index.pair_cache import CachedPairs, conflicts
from ensemble.index.plan import Plan
from ensemble.index.region import decided
from ensemble.index.state import BranchState, State, places
from ensemble.index.subgraph import Whole
from ensemble.matcher import Matcher
from ensemble.pool_views import Words
from ensemble.scorer.model import second_model_mask
from shared.compute import ComputeConfig
from shared.schema import CandidatePairs, Catalog, Flags, Floats, Matches, PairFeatures, locate
from shared.search.incremental import PreviousSearch, nearest_since

PLAUSIBLE = 0.003  # a first score from which on a pair is described again ...
HOPS = 2  # a query decides again the groups that so many links lead to from its listing
PER_LISTING = 10  # ... but no more pairs per listing, on average over the pool: the best of them

Rows = NDArray[np.int64]


# --- all at once -----------------------------------------------------------------------------------------------------


def rebuilt(matcher: Matcher, embedders: Embedders, state: State, planned: Plan) -> State:
    """Match all listings at once, as `Matcher.match_catalog` does; what encoders made of them is kept.

    Args:
        matcher: The one that the index was made with.
        embedders: Embed new listings.
        state: What the index holds; its group ids and changes are handed on (`renamed`).
        planned: Which listings it is to hold.
    """
    catalog, branches = planned.catalog, {}
    for name in matcher.branches:
        if registry.get(name).learns and state.branches:
            embeddings = embedders.grown(name, state.branches[name].embeddings, catalog, planned.origin)
        else:
            embeddings = matcher.embed(catalog, [name])[name]
        candidates = matcher.candidates(name, embeddings)
        search = PreviousSearch.of(candidates, _config(matcher, name).neighbors)
        branches[name] = BranchState(embeddings, search)
    pool = matcher.pool(catalog, {name: branch.view for name, branch in branches.items()})
    described = matcher.describe(pool, matcher.proposed(pool))
    first = matcher.scorer.first.score(described, pool.threads)
    final = matcher.scorer.rescore(first, pool.xp, pool.threads).score
    pairs = CachedPairs(
        described.n,
        described.left,
        described.right,
        score=final,
        first=first.score,
        cosines=_cosines(described, branches),
        conflict=conflicts(described),
    )
    matches = matcher.decision.apply(pairs.scored(), catalog.ids)
    return replace(
        state,
        catalog=Catalog(catalog.table),
        branches=branches,
        pairs=pairs,
        matches=matches,
        built=len(catalog),
        changed=0,
    )


def _config(matcher: Matcher, name: str) -> BranchConfig:
    return matcher.settings[registry.get(name).Config]


# --- a region --------------------------------------------------------------------------------------------------------


def updated(
    matcher: Matcher, embedders: Embedders, state: State, words: Words, planned: Plan, *, locally: bool = False
) -> State:
    """Bring an index up to date.

    Args:
        matcher: The one that the index was made with.
        embedders: Embed new listings.
        state: What the index holds, at least one listing; its group ids and changes are handed on (`renamed`).
        words: How many of its listings hold each word.
        planned: Which listings it is to hold.
        locally: Whether only what the change touches is decided again, even if the threshold moved: enough to know
            about the new listings.
    """
    origin, n = planned.origin, len(planned.catalog)
    new, place = origin < 0, places(origin, len(state))
    branches = _branches(matcher, embedders, state, planned, locally)
    removed = state.catalog.take(np.flatnonzero(place < 0))
    words = words.changed(planned.added.normalized_titles, removed.normalized_titles)
    pairs = _pairs(state.pairs.placed(place, n), branches, new, locally)
    views = {name: branch.view for name, branch in branches.items()}
    whole = Whole(matcher, planned.catalog, views, words)
    scored = _scored(matcher, whole, pairs, new, locally)
    return replace(
        state,
        catalog=Catalog(planned.catalog.table),
        branches=branches,
        pairs=scored,
        matches=_matches(matcher, planned, scored, pairs.score, state.matches, place, locally),
        changed=state.changed + sum(count for name, count in planned.counts.items() if name != "unchanged"),
    )


def _branches(
    matcher: Matcher, embedders: Embedders, state: State, planned: Plan, locally: bool
) -> dict[str, BranchState]:
    xp, branches = matcher.settings[ComputeConfig].xp(), {}
    for name in matcher.branches:
        before, config = state.branches[name], _config(matcher, name)
        stays = locally or registry.get(name).learns
        if stays:
            embeddings = embedders.grown(name, before.embeddings, planned.catalog, planned.origin)
        else:
            embeddings = matcher.embed(planned.catalog, [name])[name]
        search = nearest_since(
            before.search, planned.origin, embeddings, config.neighbors, xp, minimum=config.minimum, moved=not stays
        )
        branches[name] = BranchState(embeddings, search)
    return branches


def _moved(pairs: CachedPairs, branches: Mapping[str, BranchState]) -> CachedPairs:
    """Pairs with the cosines, as they are now, of branches whose vectors depend on the pool."""
    cosines = pairs.cosines.copy()
    for at, (name, branch) in enumerate(branches.items()):
        if not registry.get(name).learns:
            cosines[:, at] = branch.embeddings.similarity(pairs.left, pairs.right)
    return replace(pairs, cosines=cosines)


def _cosines(described: PairFeatures, branches: Iterable[str]) -> Floats:
    """The cosines of described pairs, float32 [p, b]."""
    columns = [f"{name}_cosine" for name in branches]
    cosines: Floats = described.features[columns].to_numpy(dtype=np.float32)
    return cosines


def _pairs(known: CachedPairs, branches: Mapping[str, BranchState], new: Flags, locally: bool) -> CachedPairs:
    """The pairs that a branch proposes, with what is known of those among `known`; locally, all that are known stay."""
    candidates = [branch.search.candidates for branch in branches.values()]
    if not locally:
        proposed = union(candidates, known.n)
        known = _moved(known.only(locate(known.key, proposed.key)[1]), branches)
    added = union((some.only(new[some.left] | new[some.right]) for some in candidates), known.n)
    return known.joined(CachedPairs.unknown(CandidatePairs(added.n, added.left, added.right), len(branches)))


def _scored(matcher: Matcher, whole: Whole, pairs: CachedPairs, new: Flags, locally: bool) -> CachedPairs:
    """The pairs with new scores: those of new listings, and plausible ones among whom they may differ from before.

    Args:
        matcher: Scores them.
        whole: The pool that they are of.
        pairs: All pairs; those of new listings have no score yet.
        new: New listings, bool [n].
        locally: Whether only pairs of listings that both have a pair with a new one are looked at.
    """
    fresh = new[pairs.left] | new[pairs.right]
    pairs = _first_scored(matcher, whole, pairs, fresh)
    again = ~fresh & (pairs.first >= _least_plausible(pairs))
    if locally:
        near = _ends(pairs, fresh)
        again &= near[pairs.left] & near[pairs.right]
    pairs = _first_scored(matcher, whole, pairs, again)
    return _second_scored(matcher, pairs, fresh | again, locally)


def _least_plausible(pairs: CachedPairs) -> float:
    """The first score from which on pairs are described again."""
    most = PER_LISTING * pairs.n
    if len(pairs) <= most:
        return PLAUSIBLE
    return max(PLAUSIBLE, float(np.partition(pairs.first, len(pairs) - most)[len(pairs) - most]))


def _first_scored(matcher: Matcher, whole: Whole, pairs: CachedPairs, some: Flags) -> CachedPairs:
    """The pairs, some of them described and scored by the first model."""
    if not some.any():
        return pairs
    described = whole.described(pairs, some)
    first, cosines, conflict = pairs.first.copy(), pairs.cosines.copy(), pairs.conflict.copy()
    threads = matcher.settings[ComputeConfig].cpu_threads
    first[some] = matcher.scorer.first.score(described, threads).score
    cosines[some], conflict[some] = _cosines(described, matcher.branches), conflicts(described)
    return replace(pairs, first=first, cosines=cosines, conflict=conflict)


def _second_scored(matcher: Matcher, pairs: CachedPairs, described: Flags, locally: bool) -> CachedPairs:
    """The pairs, with final scores of those described and of those next to them."""
    doubt = second_model_mask(pairs.first_scored())
    touched = _ends(pairs, described & doubt)
    wanted = doubt & (described if locally else touched[pairs.left] | touched[pairs.right])
    ends = _ends(pairs, wanted)
    around = doubt & (ends[pairs.left] | ends[pairs.right])
    links = pairs.only(around)
    compute = matcher.settings[ComputeConfig]
    score = pairs.score.copy()
    score[described] = pairs.first[described]
    final = matcher.scorer.rescore(links.first_scored(), compute.xp(), compute.cpu_threads).score
    score[wanted] = final[wanted[around]]
    return replace(pairs, score=score)


def _ends(pairs: CachedPairs, some: Flags) -> Flags:
    """The listings of some of the pairs, bool [n]."""
    ends = np.zeros(pairs.n, dtype=np.bool_)
    ends[pairs.left[some]] = ends[pairs.right[some]] = True
    return ends


def _matches(
    matcher: Matcher,
    planned: Plan,
    pairs: CachedPairs,
    previous: Floats,
    before: Matches,
    place: NDArray[np.int32],
    locally: bool,
) -> Matches:
    """The matches, decided again where they may have changed."""
    listing, match = place[before.listing], place[before.match]
    both, bereft = (listing >= 0) & (match >= 0), (listing >= 0) & (match < 0)
    ids, n = planned.catalog.ids, len(planned.catalog)
    kept = Matches(n, listing[both], match[both], before.score[both])
    changed = planned.origin < 0
    if locally:
        return decided(matcher.decision, ids, pairs, previous, kept, changed, hops=HOPS)
    changed[listing[bereft]] = True
    if matcher.decision.threshold_for(len(place)) != matcher.decision.threshold_for(n):
        changed[:] = True
    return decided(matcher.decision, ids, pairs, previous, kept, changed)


# --- names -----------------------------------------------------------------------------------------------------------


def renamed(before: State, after: State, snapshot: int) -> State:
    """Name the groups of an index after those it had, and note every split and merge.

    Args:
        before: What the index held.
        after: What it holds now.
        snapshot: Number of the snapshot that this will be.
    """
    numbers = dict(zip(after.catalog.ids.tolist(), groups_of(after.matches).tolist(), strict=True))
    group_ids = inherited(numbers, before.group_ids, before.retired)
    return replace(
        after,
        group_ids=group_ids,
        retired=(before.retired | set(before.group_ids.values())) - set(group_ids.values()),
        changes=(*before.changes, *changes(snapshot, before.group_ids, group_ids)),
    )
