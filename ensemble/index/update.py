"""Updates an index with listings that are added, updated or removed; a query is an update that is not written.

1. The new listings are embedded and searched against all: one linear search per branch. For a branch whose vectors
   depend on the pool (on how rare a term is), all vectors and their similarities are computed again; each list of
   neighbors keeps its members.
2. The pairs of new listings are described and scored by the first model, and so are plausible pairs of other listings:
   a score depends on which other listings are near and on how rare words are, and a change in its second decimal
   changes hundreds of groups.
3. The second model scores these pairs and the pairs next to them again.
4. The groups that changed scores link are decided again. All other pairs keep their scores and all other listings their
   matches, unless the threshold changed with the size of the pool.

A query does less: vectors of old listings stay, other pairs than its own are scored again only if both listings are
near it, and only groups that two links lead to are decided again. A list of neighbors that lost one is not filled up;
a rebuild does that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from branches import registry
from branches.base import BranchConfig
from branches.candidates import without_copies
from ensemble.answers.answers import Answers
from ensemble.candidate_pairs import union
from ensemble.decision.copies import with_copies, without_forced
from ensemble.decision.decision import Decision, groups_of
from ensemble.decision.guard import expected_share
from ensemble.decision.pins import Pins, told_apart
from ensemble.decision.rules import sort_matches
from ensemble.index.embeddings import Embedders
from ensemble.index.group_ids import changes, inherited
from ensemble.index.pair_cache import CachedPairs, conflicts
from ensemble.index.pins import newly_pinned, pins_on
from ensemble.index.plan import Plan, classes
from ensemble.index.region import decided
from ensemble.index.state import BranchState, State, places
from ensemble.index.subgraph import Whole
from ensemble.matcher import Matcher
from ensemble.pool_views import Words
from ensemble.scorer.model import second_model_mask
from shared.catalog.copies import class_sizes, copy_of
from shared.compute import ComputeConfig
from shared.schema import CandidatePairs, Catalog, Flags, Floats, Matches, PairFeatures, ScoredPairs, locate
from shared.search.incremental import PreviousSearch, nearest_since

PLAUSIBLE = 0.003  # least first score of a pair that is described again ...
PER_LISTING = 10  # ... but on average over the pool at most so many pairs per listing, the best of them
HOPS = 2  # a query decides again the groups that so many links lead to from its listing

Rows = NDArray[np.int64]


# --- all at once -----------------------------------------------------------------------------------------------------


def rebuilt(
    matcher: Matcher, embedders: Embedders, state: State, planned: Plan, answers: Answers | None = None
) -> State:
    """Return an index all of whose listings are matched at once, as by `Matcher.match_catalog`.

        state = rebuilt(matcher, Embedders(matcher, state.catalog), state, plan(state.catalog, additions, []))

    Embeddings by trained encoders are kept.

    Args:
        matcher: The one that the index was made with.
        embedders: Embed new listings.
        state: What the index holds; its group ids and changes stay as they are (see `renamed`).
        planned: Which listings it is to hold.
        answers: All answers about pairs of them; None: those that the index holds.
    """
    answers = state.answers if answers is None else answers
    catalog, branches = planned.catalog, {}
    copies = copy_of(catalog)
    for name in matcher.branches:
        if registry.get(name).learns and state.branches:
            embeddings = embedders.grown(name, state.branches[name].embeddings, planned)
        else:
            embeddings = matcher.embed(catalog, [name])[name]
        candidates = matcher.candidates(name, embeddings, copies)
        search = PreviousSearch.of(candidates, _config(matcher, name).neighbors)
        branches[name] = BranchState(embeddings, search)
    pool = matcher.pool(catalog, {name: branch.view for name, branch in branches.items()})
    blocks = [
        (matcher.scorer.first.score(block, pool.threads), _cosines(block, branches), conflicts(block))
        for block in matcher.description(pool, matcher.proposed(pool)).blocks()
    ]
    scored, cosines, conflict = zip(*blocks, strict=True)
    first = ScoredPairs.concat(scored)
    pairs = CachedPairs(
        first.n,
        first.left,
        first.right,
        score=matcher.scorer.rescore(first, pool.xp, pool.threads).score,
        first=first.score,
        cosines=np.concatenate(cosines),
        conflict=np.concatenate(conflict),
    )
    pins = pins_on(planned, answers)
    outcome = matcher.decision.decide(pairs.scored().with_copies(copies), catalog.ids, pins=pins)
    return replace(
        state,
        catalog=Catalog(catalog.table),
        originals=Catalog(planned.originals.table),
        branches=branches,
        pairs=pairs,
        matches=outcome.matches,
        built=len(catalog),
        changed=0,
        split_groups=outcome.split_groups,
        threshold=outcome.threshold,
        agreement=outcome.agreement,
        used=None,
        answers=answers,
    )


def _config(matcher: Matcher, name: str) -> BranchConfig:
    return matcher.settings[registry.get(name).Config]


# --- a region --------------------------------------------------------------------------------------------------------


def updated(
    matcher: Matcher,
    embedders: Embedders,
    state: State,
    words: Words,
    planned: Plan,
    answers: Answers | None = None,
    *,
    locally: bool = False,
) -> State:
    """Return an index brought up to date with the listings that it is to hold.

        planned = plan(state.catalog, additions, removed=["p7"])
        state = updated(matcher, embedders, state, Words.of(state.catalog.normalized_titles), planned)

    Args:
        matcher: The one that the index was made with.
        embedders: Embed new listings.
        state: What the index holds, at least one listing; its group ids and changes stay (see `renamed`).
        words: The number of its listings that hold each word.
        planned: Which listings it is to hold.
        answers: All answers about pairs of them; None: those that the index holds.
        locally: Whether to decide again only near the new listings, even if the threshold changed; this is enough for
            a query about them.
    """
    answers = state.answers if answers is None else answers
    n, copies = len(planned.catalog), copy_of(planned.catalog)
    origin = classes(planned.origin, state.copies, copies)
    new, place = origin < 0, places(origin, len(state))
    branches, pairs, pairs_with_scores = state.branches, state.pairs, state.pairs
    if n != len(state) or (planned.origin < 0).any():  # else only answers changed
        branches = _branches(matcher, embedders, state, planned, origin, locally)
        removed = state.catalog.take(np.flatnonzero(places(planned.origin, len(state)) < 0))
        words = words.changed(planned.added.normalized_titles, removed.normalized_titles)
        pairs = _pairs(state.pairs.placed(place, n), branches, new, locally)
        views = {name: branch.view for name, branch in branches.items()}
        pairs_with_scores = _scored(matcher, Whole(matcher, planned.catalog, views, words), pairs, new, locally)
    pins = pins_on(planned, answers)
    changed = newly_pinned(state, planned, pins)
    return replace(
        state,
        catalog=Catalog(planned.catalog.table),
        originals=Catalog(planned.originals.table),
        branches=branches,
        pairs=pairs_with_scores,
        matches=_matches(
            matcher, planned, pairs_with_scores, pairs.score, state, place, copies, pins, changed, locally
        ),
        changed=state.changed + sum(count for name, count in planned.counts.items() if name != "unchanged"),
        used=matcher.decision.applied(_decision_for(matcher, state, pairs_with_scores, copies).threshold),
        answers=answers,
    )


def _branches(
    matcher: Matcher, embedders: Embedders, state: State, planned: Plan, origin: Rows, locally: bool
) -> dict[str, BranchState]:
    """Return the embeddings of all listings, and the neighbors of those that stand for others or themselves.

    Args:
        matcher: The one that the index was made with.
        embedders: Embed new listings.
        state: What the index holds.
        planned: Which listings it is to hold.
        origin: From `classes`.
        locally: Whether the vectors of listings that stay are what they were.
    """
    xp, branches = matcher.settings[ComputeConfig].xp(), {}
    copies = copy_of(planned.catalog)
    for name in matcher.branches:
        previous, config = state.branches[name], _config(matcher, name)
        stays = locally or registry.get(name).learns
        if stays:
            embeddings = embedders.grown(name, previous.embeddings, planned)
        else:
            embeddings = matcher.embed(planned.catalog, [name])[name]
        search = nearest_since(
            previous.search,
            origin,
            without_copies(embeddings, copies),
            config.neighbors,
            xp,
            minimum=config.minimum,
            vectors_changed=not stays,
        )
        branches[name] = BranchState(embeddings, search)
    return branches


def _with_new_cosines(pairs: CachedPairs, branches: Mapping[str, BranchState]) -> CachedPairs:
    """Return pairs with new cosines by the branches whose vectors depend on the pool."""
    cosines = pairs.cosines.copy()
    for column, (name, branch) in enumerate(branches.items()):
        if not registry.get(name).learns:
            cosines[:, column] = branch.embeddings.similarity(pairs.left, pairs.right)
    return replace(pairs, cosines=cosines)


def _cosines(pairs: PairFeatures, branches: Iterable[str]) -> Floats:
    """Return the cosines of described pairs, float32 [p, b]."""
    columns = [f"{name}_cosine" for name in branches]
    cosines: Floats = pairs.features[columns].to_numpy(dtype=np.float32)
    return cosines


def _pairs(previous: CachedPairs, branches: Mapping[str, BranchState], new: Flags, locally: bool) -> CachedPairs:
    """Return the pairs that a branch proposes, with their previous values; locally, all previous pairs stay."""
    candidates = [branch.search.candidates for branch in branches.values()]
    if not locally:
        previous = _with_new_cosines(
            previous.only(locate(previous.key, union(candidates, previous.n).key)[1]), branches
        )
    added = union((pairs.only(new[pairs.left] | new[pairs.right]) for pairs in candidates), previous.n)
    return previous.joined(CachedPairs.unknown(CandidatePairs(added.n, added.left, added.right), len(branches)))


def _scored(matcher: Matcher, whole: Whole, pairs: CachedPairs, new: Flags, locally: bool) -> CachedPairs:
    """Return the pairs with new scores for those of new listings, and for plausible pairs whose scores may change.

    Args:
        matcher: Scores them.
        whole: The pool of the pairs.
        pairs: All pairs; those of new listings have no score yet.
        new: New listings, bool [n].
        locally: Whether only pairs of listings that both have a pair with a new one are looked at.
    """
    fresh = new[pairs.left] | new[pairs.right]
    pairs = _first_scored(matcher, whole, pairs, fresh)
    stale = ~fresh & (pairs.first >= _least_plausible(pairs))
    if locally:
        neighbors = _ends(pairs, fresh)
        stale &= neighbors[pairs.left] & neighbors[pairs.right]
    pairs = _first_scored(matcher, whole, pairs, stale)
    return _second_scored(matcher, pairs, fresh | stale, locally)


def _least_plausible(pairs: CachedPairs) -> float:
    """Return the least first score of pairs that are described again."""
    most = PER_LISTING * pairs.n
    if len(pairs) <= most:
        return PLAUSIBLE
    return max(PLAUSIBLE, float(np.partition(pairs.first, len(pairs) - most)[len(pairs) - most]))


def _first_scored(matcher: Matcher, whole: Whole, pairs: CachedPairs, mask: Flags) -> CachedPairs:
    """Return the pairs, those in `mask` described again and scored by the first model."""
    if not mask.any():
        return pairs
    features = whole.described(pairs, mask)
    first, cosines, conflict = pairs.first.copy(), pairs.cosines.copy(), pairs.conflict.copy()
    threads = matcher.settings[ComputeConfig].cpu_threads
    first[mask] = matcher.scorer.first.score(features, threads).score
    cosines[mask], conflict[mask] = _cosines(features, matcher.branches), conflicts(features)
    return replace(pairs, first=first, cosines=cosines, conflict=conflict)


def _second_scored(matcher: Matcher, pairs: CachedPairs, mask: Flags, locally: bool) -> CachedPairs:
    """Return the pairs, with new final scores for those in `mask` and those next to them."""
    doubt = second_model_mask(pairs.first_scored())
    neighbors = _ends(pairs, mask & doubt)
    stale = doubt & (mask if locally else neighbors[pairs.left] | neighbors[pairs.right])
    ends = _ends(pairs, stale)
    context = doubt & (ends[pairs.left] | ends[pairs.right])
    links = pairs.only(context)
    compute = matcher.settings[ComputeConfig]
    score = pairs.score.copy()
    score[mask] = pairs.first[mask]
    final = matcher.scorer.rescore(links.first_scored(), compute.xp(), compute.cpu_threads).score
    score[stale] = final[stale[context]]
    return replace(pairs, score=score)


def _ends(pairs: CachedPairs, mask: Flags) -> Flags:
    """Return the listings of the pairs in `mask`, bool [n]."""
    ends = np.zeros(pairs.n, dtype=np.bool_)
    ends[pairs.left[mask]] = ends[pairs.right[mask]] = True
    return ends


def _matches(
    matcher: Matcher,
    planned: Plan,
    pairs: CachedPairs,
    previous_scores: Floats,
    state: State,
    place: NDArray[np.int32],
    copies: NDArray[np.int32],
    pins: Pins,
    newly_pinned: Flags,
    locally: bool,
) -> Matches:
    """Return the matches, decided again where they may change, first of listings that stand for others or themselves.

    Args:
        matcher: The one that the index was made with.
        planned: Which listings the index is to hold.
        pairs: All pairs, scored.
        previous_scores: Their scores before.
        state: What the index held.
        place: For each listing that it held the present row of its class, if it stood for it; else -1.
        copies: For each listing the row of the one that stands for it.
        pins: Pairs whose match people decided.
        newly_pinned: Listings of pairs that were not decided so before, bool [n].
        locally: Whether to decide again only near the new listings.
    """
    ids, n, previous = planned.catalog.ids, len(planned.catalog), state.matches
    decision = _decision_for(matcher, state, pairs, copies)
    copies, all_copies = told_apart(copies, pins), copies
    stood = state.copies == np.arange(len(state))
    inside = stood[previous.listing] & stood[previous.match]
    listing, match = place[previous.listing], place[previous.match]
    both, lost_match = inside & (listing >= 0) & (match >= 0), inside & (listing >= 0) & (match < 0)
    remaining = sort_matches(n, listing[both], match[both], previous.score[both])
    size, size_before = class_sizes(copies), np.zeros(n, dtype=np.int32)
    size_before[place[place >= 0]] = class_sizes(state.copies)[place >= 0]
    changed = (size > 0) & ((size_before == 0) | ((size_before > 1) != (size > 1)))
    changed[copies[(planned.origin < 0) | newly_pinned]] = True
    changed[all_copies[copies != all_copies]] = True  # beside those told apart from them, which are new to the rule
    if not locally:
        changed[listing[lost_match]] = True
        if decision.threshold != _decision_for(matcher, state, state.pairs, state.copies).threshold:
            changed[:] = True
    hops = HOPS if locally else None
    matches = decided(decision, ids, pairs, previous_scores, remaining, changed, hops=hops, pins=pins.standing(copies))
    if decision.rule == "min2":
        matches = without_forced(matches, decision.threshold, copies)
    return with_copies(matches, copies, decision.max_matches)


def _decision_for(matcher: Matcher, state: State, pairs: CachedPairs, copies: NDArray[np.int32]) -> Decision:
    """Return the decision with the threshold for the pool of these pairs, no lower than that of the last rebuild."""
    decision = replace(matcher.decision, guard=False, least=state.least_threshold)
    return decision.fix_kind(pairs.n, expected_share(pairs.scored().with_copies(copies)))


# --- names -----------------------------------------------------------------------------------------------------------


def renamed(previous: State, current: State, snapshot: int) -> State:
    """Return a state whose groups keep their previous ids where they can, with every split and merge added.

        state = renamed(previous, updated(matcher, embedders, previous, words, planned), snapshot=8)

    Args:
        previous: What the index held.
        current: What it holds now.
        snapshot: Number of the snapshot that will hold `current`.
    """
    numbers = dict(zip(current.catalog.ids.tolist(), groups_of(current.matches).tolist(), strict=True))
    group_ids = inherited(numbers, previous.group_ids, previous.retired)
    return replace(
        current,
        group_ids=group_ids,
        retired=(previous.retired | set(previous.group_ids.values())) - set(group_ids.values()),
        changes=(*previous.changes, *changes(snapshot, previous.group_ids, group_ids)),
    )
